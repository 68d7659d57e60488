"""Which web pages may talk to the server: the Origin check, and CORS for clients that run in a browser.

Pages with cookies take posts from this server's own pages only. Endpoints for programs take those of
AUTH_ALLOWED_ORIGINS too; a server on a loopback address, those of any loopback address, where
developers' tools run. Metadata is public. The authorization endpoint is where other sites send people,
so it has no check.
"""

import re

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from authserver import limits
from authserver.browser.problems import problem, wants_page
from authserver.endpoints.errors import OAuthError
from authserver.provider import Provider
from authserver.requests.reading import header
from authserver.upstream import get_route_path
from authserver.uris import plain_origin
from authserver.warned import warn_once

_COOKIE_PATHS = ("/login", "/consent", "/account", "/logout", "/invite/")
_LOOPBACK_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")


class CrossOrigin:
    """Refuses foreign origins, and answers CORS for those that are allowed."""

    def __init__(self, app: ASGIApp, server: Provider) -> None:
        self._app = app
        self._server = server
        # Any origin, since only allowed ones get here, and no credentials: a bearer token is no cookie. Any
        # header, since clients choose names: MCP's for an argument (Mcp-Param-Region), those of tracers.
        self._cors = CORSMiddleware(
            app,
            allow_origins=["*"],
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["WWW-Authenticate", "Mcp-Session-Id", "Retry-After"],
            max_age=limits.PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on."""
        origins = header(scope, b"origin")
        if not origins or (path := get_route_path(scope)) == "/authorize":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if not all(self._allowed(request, path, plain_origin(origin)) for origin in origins):
            await self._refuse(request, path, ", ".join(origins))(scope, receive, send)
        elif path.startswith(_COOKIE_PATHS):
            await self._app(scope, receive, send)
        else:
            await self._cors(scope, receive, send)

    def _allowed(self, request: Request, path: str, origin: str) -> bool:
        settings = self._server.settings
        if origin == settings.public_url or path.startswith("/.well-known/"):
            return True
        if path.startswith(_COOKIE_PATHS):
            if request.method in ("GET", "HEAD"):
                return True  # as by a link: some browsers name an origin after a redirect
            # Under the policy no-referrer, which hardened proxies add to our pages, browsers hide the origin
            # even from itself (Fetch section 3.2). Whence it came, they say all the same, and scripts cannot.
            return origin == "null" and request.headers.getlist("sec-fetch-site") == ["same-origin"]
        local = not settings.secure and _LOOPBACK_ORIGIN.fullmatch(origin) is not None
        return local or origin in settings.allowed_origins

    def _refuse(self, request: Request, path: str, origin: str) -> Response:
        """Refuse, and tell the operator what decides: a setting, or a proxy."""
        origin = origin[: limits.MAXIMUM_URI_CHARACTERS]
        if not path.startswith(_COOKIE_PATHS):
            warn_once("a request was refused: its Origin is not in AUTH_ALLOWED_ORIGINS", origin)
            if wants_page(request):
                return problem(request, "not_this_site", status=403, expected=self._server.issuer)
            return OAuthError(
                "access_denied", "this Origin is not allowed (AUTH_ALLOWED_ORIGINS)", status=403
            ).response()
        if origin == "null":
            warn_once(
                "a form was refused: its Origin is null, as under Referrer-Policy: no-referrer, and no"
                " Sec-Fetch-Site says that it is ours. Does a proxy add the one, or take away the other?",
                origin,
            )
        else:
            warn_once("a form was refused: its Origin is not AUTH_PUBLIC_URL", origin)
        return problem(request, "not_this_site", status=403, expected=self._server.issuer)
