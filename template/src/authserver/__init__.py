"""An OAuth 2.1 authorization server for a FastMCP server, in the same process.

Kept current by `copier update`: changes of yours belong in `app`. README.md beside this file is the map.
"""

from typing import TYPE_CHECKING

from authserver.folders import let_fastmcp_read_ours

let_fastmcp_read_ours()

if TYPE_CHECKING:
    from authserver.model.scopes import Scope, requires
    from authserver.server import AuthorizationServer
else:

    def __getattr__(name: str) -> object:
        """Import these when `app` asks for them: the command comes by here too, and works mostly without."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from authserver import server  # noqa: PLC0415
        from authserver.model import scopes  # noqa: PLC0415

        return getattr(server if name == "AuthorizationServer" else scopes, name)


__all__ = ["AuthorizationServer", "Scope", "requires"]
