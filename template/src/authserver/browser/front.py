"""What somebody sees who opens the bare address, or one at which nothing is.

The router asks here last, so that a route of the user's own at `/` comes first.
"""

from starlette.requests import Request
from starlette.responses import Response

from authserver import pages
from authserver.browser.problems import problem, wants_page
from authserver.provider import Provider


def answer(server: Provider, request: Request, path: str) -> Response:
    """Return the page that says what this is and how to connect to it, or that there is nothing here."""
    if path in ("", "/") and request.method in ("GET", "HEAD") and wants_page(request):
        return pages.page(request, "welcome", mcp_url=server.resource)
    return problem(request, "not_found", status=404, account=f"{server.issuer}/account")
