"""Which web pages may talk to the server: the Origin check, and CORS for clients that run in a browser.

Pages with cookies take posts from this server's own pages only. Endpoints for programs take those of
AUTH_ALLOWED_ORIGINS too; a server on a loopback address, those of any loopback address, where
developers' tools run. Metadata is public. The authorization endpoint is where other sites send people,
so it has no check.
"""

import re

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from authserver import limits
from authserver.provider import Provider
from authserver.upstream import get_route_path

_COOKIE_PATHS = ("/login", "/consent", "/account", "/logout", "/invite/")
_LOOPBACK_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")

_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Mcp-Protocol-Version",
    "Mcp-Session-Id",
    "Mcp-Method",
    "Mcp-Name",
    "Last-Event-ID",
)


class CrossOrigin:
    """ASGI middleware that refuses foreign origins and answers CORS for those that are allowed."""

    def __init__(self, app: ASGIApp, server: Provider) -> None:
        self._app = app
        self._server = server
        # Any origin, since only allowed ones get here, and no credentials: a bearer token is no cookie.
        self._cors = CORSMiddleware(
            app,
            allow_origins=["*"],
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=_REQUEST_HEADERS,
            expose_headers=["WWW-Authenticate", "Mcp-Session-Id", "Retry-After"],
            max_age=limits.PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on."""
        if scope["type"] != "http" or (path := get_route_path(scope)) == "/authorize":
            await self._app(scope, receive, send)
            return
        origins = Headers(scope=scope).getlist("origin")
        if not all(self._allowed(path, origin) for origin in origins):
            response = JSONResponse(
                {
                    "error": "access_denied",
                    "error_description": "this Origin is not allowed (AUTH_ALLOWED_ORIGINS)",
                },
                status_code=403,
            )
            await response(scope, receive, send)
        elif path.startswith(_COOKIE_PATHS):
            await self._app(scope, receive, send)
        else:
            await self._cors(scope, receive, send)

    def _allowed(self, path: str, origin: str) -> bool:
        settings = self._server.settings
        if origin == settings.public_url or path.startswith("/.well-known/"):
            return True
        if path.startswith(_COOKIE_PATHS):
            return False
        local = not settings.secure and _LOOPBACK_ORIGIN.fullmatch(origin) is not None
        return local or origin.lower() in settings.allowed_origins
