"""The account page and signing out."""

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from authserver.browser.cookies import check_form, current_session, end_session, form_page
from authserver.forms import read_form

if TYPE_CHECKING:
    from authserver.provider import AuthorizationServer


async def show(server: "AuthorizationServer", request: Request) -> Response:
    """Show who is signed in, and how to connect an app."""
    session = await current_session(server, request)
    if session is None:
        return RedirectResponse("/login", status_code=303)
    return form_page(
        server,
        request,
        "account",
        subject=session.subject,
        username=session.user_name,
        mcp_url=server.resource,
    )


async def log_out(server: "AuthorizationServer", request: Request) -> Response:
    """End the session; what comes then is for the login to say."""
    form = await read_form(request)
    session = await current_session(server, request)
    check_form(server, request, form, subject=session.subject if session else "")
    response = server.login.signed_out(request, form.get("request", ""))
    await end_session(server, request, response)
    return response
