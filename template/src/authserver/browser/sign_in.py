"""Before and after the login: which request it is for, and where the browser goes when it is done."""

from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from authserver import clock, limits
from authserver.audit import Event, audit
from authserver.browser.consent import find_request
from authserver.browser.cookies import get_cookie, is_sealed, seal, set_cookie
from authserver.browser.sessions import Begun, current_session, start_session
from authserver.model.records import AuthorizationRequest, Session
from authserver.pages.elsewhere import Elsewhere, see_other
from authserver.provider import Provider


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a sign-in is for: an authorization request, or (None) the account page.

    `again` is the session of somebody who signs in again, before a dangerous step.
    """

    request: AuthorizationRequest | None
    again: Session | None


async def begin(server: Provider, request: Request, request_id: str) -> Beginning:
    """Return what the sign-in is for.

    Raises Refusal where the authorization request is not that of this browser, and Elsewhere for somebody
    who is signed in already, unless `require_fresh_sign_in` sent them here.
    """
    pending = await find_request(server, request, request_id) if request_id else None
    session = await current_session(server, request)
    again = not request_id and _way_back(server, request) is not None
    if session is not None and not again:
        raise Elsewhere(see_other(onward(server, request, request_id)))
    return Beginning(pending, session)


async def client_name(server: Provider, beginning: Beginning) -> str | None:
    """Return the name of the client that asks for this sign-in; None if there is none."""
    client = await server.get_client(beginning.request.client_id) if beginning.request else None
    return (client.client_name or client.client_id) if client else None


async def finish(server: Provider, request: Request, begun: Begun, request_id: str) -> Response:
    """Sign the user in and send the browser to the consent page, the page it came from, or the account.

    Raises Elsewhere where the user's epoch is another one now.
    """
    response = see_other(onward(server, request, request_id))
    await start_session(server, request, response, begun, request_id)
    audit(Event.SIGNED_IN, subject=begun.subject)
    return response


def require_fresh_sign_in(server: Provider, request: Request, session: Session) -> None:
    """Raise Elsewhere, to sign in again, unless the sign-in is recent enough for a dangerous step.

    A GET comes back to its own page after that, a post to the account page.
    """
    # Either way: a clock that was set back must not make an old sign-in a recent one.
    if abs(clock.now() - session.created_at) < limits.FRESH_SECONDS:
        return
    response = see_other("/login")
    _keep_way_back(
        server, request, response, request.scope["path"] if request.method == "GET" else "/account"
    )
    raise Elsewhere(response)


def onward(server: Provider, request: Request, request_id: str) -> str:
    """Return the path that follows a sign-in."""
    if request_id:
        return f"/consent?{urlencode({'request': request_id})}"
    return _way_back(server, request) or "/account"


def _keep_way_back(server: Provider, request: Request, response: Response, path: str) -> None:
    """Remember the page to come back to after this browser has signed in again."""
    sealed = seal(server, "way back", path, get_cookie(server, request, "session"))
    set_cookie(server, response, "back", f"{path}|{sealed}", limits.WAY_BACK_SECONDS)


def _way_back(server: Provider, request: Request) -> str | None:
    """Return the path that `_keep_way_back` kept in the session that this browser has."""
    path, _, sealed = get_cookie(server, request, "back").rpartition("|")
    session = get_cookie(server, request, "session")
    return path if is_sealed(server, sealed, "way back", path, session) else None
