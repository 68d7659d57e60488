"""Before and after the login: which request it is for, and where the browser goes when it is done."""

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from authserver.audit import audit
from authserver.browser.consent import find_request
from authserver.browser.cookies import current_session, start_session
from authserver.records import AuthorizationRequest

if TYPE_CHECKING:
    from authserver.provider import AuthorizationServer


async def begin(
    server: "AuthorizationServer", request: Request, request_id: str
) -> AuthorizationRequest | Response | None:
    """Return the authorization request to sign in for, None without one, or the page to show instead."""
    if request_id:
        pending = await find_request(server, request, request_id)
        if isinstance(pending, Response):
            return pending
    else:
        pending = None
    if await current_session(server, request) is not None:
        return _onward(request_id)
    return pending


async def finish(
    server: "AuthorizationServer", request: Request, *, subject: str, request_id: str
) -> Response:
    """Sign the user in and send the browser to the consent page, or to the account page."""
    response = _onward(request_id)
    await start_session(server, request, response, subject)
    audit("signed in", subject=subject)
    return response


def _onward(request_id: str) -> Response:
    target = f"/consent?{urlencode({'request': request_id})}" if request_id else "/account"
    return RedirectResponse(target, status_code=303, headers={"Cache-Control": "no-store"})
