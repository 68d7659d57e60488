"""The account page and signing out."""

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from authserver import pages
from authserver.browser.cookies import check_form, current_session, end_session, form_page
from authserver.forms import read_form
from authserver.login import Login

if TYPE_CHECKING:
    from authserver.provider import AuthorizationServer


async def show(server: "AuthorizationServer", login: Login, request: Request) -> Response:
    """Show who is signed in, what the login keeps of them, and how to connect an app."""
    session = await current_session(server, request)
    if session is None:
        return RedirectResponse("/login", status_code=303)
    section = await login.account_section(request, session)
    return form_page(
        server,
        request,
        "account",
        subject=session.subject,
        username=session.user_name,
        mcp_url=server.resource,
        section_page=section and f"{section.template}.html",
        section=section and section.context,
    )


async def log_out(server: "AuthorizationServer", request: Request) -> Response:
    """End the session; with an authorization request at hand, let somebody else sign in for it."""
    form = await read_form(request)
    session = await current_session(server, request)
    check_form(server, request, form, subject=session.subject if session else "")
    response: Response
    if request_id := form.get("request"):
        query = urlencode({"request": request_id})
        response = RedirectResponse(f"/login?{query}", status_code=303)
    else:
        response = pages.message(request, "signed_out", status=200)
    await end_session(server, request, response)
    return response
