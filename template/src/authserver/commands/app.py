"""The server of `app`, for commands; what is wrong with it in one line."""
# ruff: noqa: PLC0415

import importlib.util
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from authserver.errors import OperatorError

if TYPE_CHECKING:
    from fastmcp import FastMCP

    from authserver.server import AuthorizationServer


class AppError(OperatorError):
    """`app` has no server. The text is one line: the file, the line in it, and what is wrong there."""


def load_app() -> tuple["FastMCP[Any]", "AuthorizationServer"]:
    """Import `app.server`; return its FastMCP server and the authorization server. Raises AppError."""
    from fastmcp import FastMCP

    from authserver.server import AuthorizationServer

    try:
        from app.server import mcp
    except OperatorError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  # it is somebody's own code
        raise AppError(f"{_place(error)}{type(error).__name__}: {error}") from None
    if not isinstance(mcp, FastMCP):
        raise AppError(
            f"app/server.py: mcp must be a FastMCP server of the package fastmcp, not {type(mcp).__module__}"
        )
    if not isinstance(mcp.auth, AuthorizationServer):
        raise AppError("app/server.py must set auth=AuthorizationServer(...)")
    return mcp, mcp.auth


def without_app() -> "AuthorizationServer":
    """Return an authorization server of the same settings, without the scopes and tools of `app`."""
    from authserver.all_settings import load_settings
    from authserver.model.scopes import ALL, Scope
    from authserver.server import AuthorizationServer

    # Of its scopes, those that settings give to groups: a login refuses what no `Scope` defines.
    mapped = [value for _, value in load_settings() if isinstance(value, dict)]
    named = {scope for scopes in mapped for text in scopes.values() for scope in text.split()} - {ALL}
    return AuthorizationServer(
        [Scope(name, "What app/server.py defines.", default=True) for name in sorted(named | {"unknown"})]
    )


def _place(error: BaseException) -> str:
    """Return the last place in `app`'s own files, '' where there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}, line {error.lineno}: "
    found = importlib.util.find_spec("app")
    folders = tuple(found.submodule_search_locations or ()) if found else ()
    places = [
        f"{_short(frame.filename)}, line {frame.lineno}: "
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(folders)
    ]
    return places[-1] if folders and places else ""


def _short(name: str) -> str:
    path = Path(name)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
