"""The consent page: what is asked for, by whom, and where the code will be sent."""

from collections.abc import Sequence
from math import ceil
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from authserver import limits, refused_scopes
from authserver.audit import Event, audit
from authserver.browser.authorize import redirect_to_client, tell_error
from authserver.browser.binding import is_bound, is_direct, unbind_request
from authserver.browser.cookies import is_sealed, seal
from authserver.browser.forms import check_form, form_page
from authserver.browser.problems import Refusal
from authserver.browser.sessions import current_session, sign_in_path
from authserver.crypto import secret_values
from authserver.crypto.secret_values import Kind, digest
from authserver.model.clients import RegisteredClient, destination, is_loopback
from authserver.model.records import AuthorizationRequest, Session
from authserver.pages.elsewhere import Elsewhere, see_other
from authserver.provider import Provider
from authserver.requests.reading import parse_parameters, read_form
from authserver.storage.tables import FIRST_EPOCH

_TICKED = "also:"
"""What the field of a scope begins with that the client did not ask for."""


async def find_request(server: Provider, request: Request, request_id: str) -> AuthorizationRequest:
    """Return the authorization request that this browser began; raises Refusal."""
    pending = await server.storage.grants.get_request(digest(Kind.AUTHORIZATION_REQUEST, request_id))
    if pending is None:
        raise Refusal("expired", status=400)
    if not is_bound(server, request, request_id):
        raise Refusal("wrong_browser", status=400)
    return pending


async def show(server: Provider, request: Request) -> Response:
    """Show the consent page; it needs a session."""
    request_id = parse_parameters(request.scope["query_string"]).get("request", "")
    pending = await find_request(server, request, request_id)
    session = await _signed_in(server, request, request_id)
    granted = server.scopes.allowed(pending.scopes, session.entitlement)
    if not granted:
        return await _nothing_to_grant(server, request, request_id)
    offered = await _offered(server, pending, session)
    if not offered and await _is_remembered(server, request, request_id, pending, session):
        return await _allow(server, request, request_id, pending, session, event=Event.CONSENT_REMEMBERED)
    client = await server.get_client(pending.client_id)
    before = await _allowed_before(server, pending, session)
    return form_page(
        server,
        request,
        "consent",
        subject=session.subject,
        shown=seal(server, *_shown(request_id, session)),
        # The post ends at the client, and Chromium applies form-action to every redirect on the way.
        form_action=None,
        request_id=request_id,
        username=session.user_name,
        client_name=(client and client.client_name) or pending.client_id,
        client_host=client.client_uri.host if client and client.client_uri else None,
        redirect_target=destination(pending.redirect_uri),
        local=is_loopback(pending.redirect_uri),
        new=[(name, server.scopes.sentence(name)) for name in granted if name not in before],
        known=[(name, server.scopes.sentence(name)) for name in granted if name in before],
        offered=[(name, server.scopes.sentence(name)) for name in offered],
        lasts=_in_words(_seconds(server, client)),
        unavailable=[name for name in pending.scopes if name not in granted],
        account=f"{server.issuer}/account",
        remember_days=server.settings.remember_consent_days,
    )


async def decide(server: Provider, request: Request) -> Response:
    """Take the user's answer: the request is consumed, and the browser goes back to the client."""
    form = await read_form(request)
    request_id = form.get("request", "")
    pending = await find_request(server, request, request_id)
    session = await _signed_in(server, request, request_id)
    # The form names the user who saw it: another one, who signed in meanwhile, did not.
    check_form(server, request, form, subject=session.subject)
    # In the first epoch nothing is of one before, and pages of nodes of 0.2.0 say nothing of it.
    shown = session.epoch == FIRST_EPOCH or is_sealed(
        server, form.get("shown", ""), *_shown(request_id, session)
    )
    if not shown:
        raise Elsewhere(see_other(f"/consent?{urlencode({'request': request_id})}"))
    match form.get("decision"):
        case "allow":
            offered = await _offered(server, pending, session)
            also = [name for name in offered if _TICKED + name in form]
            days = server.settings.remember_consent_days if "remember" in form else 0
            return await _allow(server, request, request_id, pending, session, also=also, remember_days=days)
        case "deny":
            audit(Event.CONSENT_REFUSED, client=pending.client_id, subject=session.subject)
            return await _refuse(server, request_id)
        case _:
            raise Refusal("bad_request", status=400, detail="choose Allow or Deny")


async def _is_remembered(
    server: Provider,
    request: Request,
    request_id: str,
    pending: AuthorizationRequest,
    session: Session,
) -> bool:
    """Say whether the user need not be asked: it was allowed before, and no other page led here."""
    return (
        server.settings.remember_consent_days > 0
        and is_direct(server, request, request_id)
        and await server.storage.grants.recall_consent(pending, subject=session.subject)
    )


async def _offered(server: Provider, pending: AuthorizationRequest, session: Session) -> list[str]:
    """Return what the client does not ask for, but was refused before, and the user may grant."""
    allowed = server.scopes.allowed(server.scopes.names, session.entitlement)
    asked = server.scopes.allowed(pending.scopes, session.entitlement)
    return await refused_scopes.recall(
        server.storage,
        server.keys,
        [name for name in allowed if name not in asked],
        subject=session.subject,
        client_id=pending.client_id,
    )


async def _allow(
    server: Provider,
    request: Request,
    request_id: str,
    pending: AuthorizationRequest,
    session: Session,
    *,
    also: Sequence[str] = (),
    remember_days: int = 0,
    event: Event = Event.CONSENT_GIVEN,
) -> Response:
    granted = server.scopes.allowed([*pending.scopes, *also], session.entitlement)
    if not granted:
        return await _nothing_to_grant(server, request, request_id)
    code = secret_values.new(Kind.AUTHORIZATION_CODE)
    taken = await server.storage.grants.create(
        digest(Kind.AUTHORIZATION_REQUEST, request_id),
        session=session.digest,
        scopes=granted,
        grant_seconds=server.settings.grant_seconds,
        code=digest(Kind.AUTHORIZATION_CODE, code),
        code_seconds=limits.CODE_SECONDS,
        remember_seconds=remember_days * 86_400,
    )
    if taken is None:
        await _signed_in(server, request, request_id)  # where it is the session that is gone
        raise Refusal("expired", status=400)
    audit(event, client=taken.client_id, subject=session.subject, scope=" ".join(granted))
    response = redirect_to_client(server, taken.redirect_uri, taken.state, code=code)
    unbind_request(server, response, request_id)
    return response


async def _refuse(server: Provider, request_id: str) -> Response:
    taken = await _take(server, request_id)
    response = redirect_to_client(
        server, taken.redirect_uri, taken.state, error="access_denied", error_description="the user refused"
    )
    unbind_request(server, response, request_id)
    return response


async def _nothing_to_grant(server: Provider, request: Request, request_id: str) -> Response:
    """Refuse what this user may not grant: nobody decided anything, so nobody is sent off by it."""
    taken = await _take(server, request_id)
    client = await server.get_client(taken.client_id)
    if client is None:
        raise Refusal("expired", status=400)
    response = await tell_error(
        server,
        request,
        client,
        taken.redirect_uri,
        taken.state,
        error="access_denied",
        error_description="the user may not grant any of these scopes",
    )
    unbind_request(server, response, request_id)
    return response


async def _take(server: Provider, request_id: str) -> AuthorizationRequest:
    """Consume the request and return it; raises Refusal where it is gone."""
    taken = await server.storage.grants.take_request(digest(Kind.AUTHORIZATION_REQUEST, request_id))
    if taken is None:
        raise Refusal("expired", status=400)
    return taken


async def _allowed_before(server: Provider, pending: AuthorizationRequest, session: Session) -> list[str]:
    """Return what the client may do for this user already, by all that they allowed it."""
    grants = await server.storage.grants.all(session.subject)
    scopes = {name for grant in grants if grant.client_id == pending.client_id for name in grant.scopes}
    return server.scopes.allowed(scopes, session.entitlement)


def _seconds(server: Provider, client: RegisteredClient | None) -> int:
    """Return how long access lasts at most: without refresh tokens, as long as the only access token."""
    settings = server.settings
    if client is None or "refresh_token" in client.grant_types:
        return settings.grant_seconds
    return min(settings.grant_seconds, settings.access_token_seconds)


def _in_words(seconds: int) -> tuple[str, int]:
    """Return a time in the largest unit of which it has two or more, and their number, rounded up."""
    for unit, length in (("days", 86_400), ("hours", 3600)):
        if seconds >= 2 * length:
            return unit, ceil(seconds / length)
    return "minutes", max(2, ceil(seconds / 60))


async def _signed_in(server: Provider, request: Request, request_id: str) -> Session:
    """Return who is signed in; raises Elsewhere, to sign in."""
    session = await current_session(server, request)
    if session is None:
        raise Elsewhere(see_other(sign_in_path(request_id)))
    return session


def _shown(request_id: str, session: Session) -> tuple[str, ...]:
    """Return what the page was shown for: whose epoch has moved since is shown it again."""
    return "consent", request_id, session.subject, str(session.epoch)
