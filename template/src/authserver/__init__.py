"""An OAuth 2.1 authorization server for a FastMCP server, in the same process.

Kept current by `copier update`: changes of yours belong in `app`. README.md beside this file is the map.
"""

from authserver.provider import AuthorizationServer
from authserver.scopes import Scope, requires

__all__ = ["AuthorizationServer", "Scope", "requires"]
