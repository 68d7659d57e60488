"""Before and after the login: which request it is for, and where the browser goes when it is done."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from authserver import clock, limits
from authserver.audit import Event, audit
from authserver.browser.consent import find_request
from authserver.browser.cookies import current_session, keep_way_back, start_session, way_back
from authserver.crypto.secret_values import Kind, digest
from authserver.model.records import AuthorizationRequest, Session
from authserver.provider import Provider


async def begin(
    server: Provider, request: Request, request_id: str
) -> AuthorizationRequest | Response | None:
    """Return the authorization request to sign in for, None without one, or the page to show instead.

    Who is signed in already goes on, unless `fresh` sent them here to sign in again.
    """
    if request_id:
        pending = await find_request(server, request, request_id)
        if isinstance(pending, Response):
            return pending
    else:
        pending = None
    again = not request_id and way_back(server, request) is not None
    if not again and await current_session(server, request) is not None:
        return _to(onward(server, request, request_id))
    return pending


async def client_name(server: Provider, request_id: str) -> str | None:
    """Return what the client calls itself that asks to sign in, None where nobody does."""
    pending = await server.storage.get_authorization_request(digest(Kind.AUTHORIZATION_REQUEST, request_id))
    client = await server.get_client(pending.client_id) if pending else None
    return (client.client_name or client.client_id) if client else None


async def finish(server: Provider, request: Request, *, subject: str, request_id: str) -> Response:
    """Sign the user in and send the browser to the consent page, the page it came from, or the account."""
    response = _to(onward(server, request, request_id))
    await start_session(server, request, response, subject)
    audit(Event.SIGNED_IN, subject=subject)
    return response


def fresh(server: Provider, request: Request, session: Session) -> Response | None:
    """Return None if the sign-in is recent enough for a dangerous step, else the way to sign in again.

    A GET comes back to its own page after that, a post to the account page.
    """
    if clock.now() - session.created_at < limits.FRESH_SECONDS:
        return None
    response = _to("/login")
    path = request.url.path if request.method == "GET" else "/account"
    keep_way_back(server, request, response, path)
    return response


def onward(server: Provider, request: Request, request_id: str) -> str:
    """Return the path that follows a sign-in."""
    if request_id:
        return f"/consent?{urlencode({'request': request_id})}"
    return way_back(server, request) or "/account"


def _to(path: str) -> Response:
    return RedirectResponse(path, status_code=303, headers={"Cache-Control": "no-store"})
