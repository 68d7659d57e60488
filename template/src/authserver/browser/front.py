"""What somebody sees who opens the bare address, that of the MCP endpoint, or one at which nothing is."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from authserver import pages
from authserver.browser.problems import problem, wants_page
from authserver.pages.connecting import ways
from authserver.provider import Provider


class _InABrowser(Route):
    """A route for whoever opens a path in a browser; all others go on to the next one of that path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match is Match.FULL and wants_page(Request(scope)):
            return match, found
        return Match.NONE, {}


def mcp_address(server: Provider) -> Route:
    """Return the route of the MCP endpoint for people, to whom its address is given, too."""

    async def show(request: Request) -> Response:
        response = _welcome(server, request, status=405)
        response.headers["Allow"] = "POST"
        return response

    return _InABrowser(server.resource_path, show, methods=["GET"])


def no_route(server: Provider, request: Request, path: str) -> Response:
    """Answer what nobody has a route for, after all others: one of the user's at `/` comes first."""
    if path in ("", "/") and request.method in ("GET", "HEAD") and wants_page(request):
        return _welcome(server, request)
    return problem(request, "not_found", status=404, account=f"{server.issuer}/account")


def _welcome(server: Provider, request: Request, *, status: int = 200) -> Response:
    """Return the page that says what this is and how to connect to it."""
    known = ways(pages.server_name(request), server.resource)
    return pages.page(request, "welcome", status=status, mcp_url=server.resource, ways=known)
