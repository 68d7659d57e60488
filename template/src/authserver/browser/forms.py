"""Forms that only this browser can send, and only as the user to whom they were shown (CSRF)."""

from starlette.requests import Request
from starlette.responses import Response

from authserver import pages
from authserver.browser.cookies import get_cookie, is_sealed, seal, set_cookie
from authserver.browser.problems import Refusal
from authserver.browser.sessions import required_session
from authserver.crypto import secret_values
from authserver.model.records import Session
from authserver.provider import Provider
from authserver.requests.reading import read_form


def _browser(server: Provider, request: Request) -> str:
    """Return the id of this browser; at its first visit a new one, which `form_page` gives it."""
    known = get_cookie(server, request, "browser")
    if not known and not hasattr(request.state, "browser"):
        request.state.browser = secret_values.new_seed().hex()
    return known or str(request.state.browser)


def browser_seal(server: Provider, request: Request, *parts: str) -> bytes:
    """Return a MAC over `parts` that only this browser can reproduce.

    Store it, and compare it when the parts come back.
    """
    return seal(server, "browser", _browser(server, request), *parts).encode()


def form_page(
    server: Provider,
    request: Request,
    template: str,
    *,
    subject: str = "",
    status: int = 200,
    form_action: str | None = "'self'",
    script: str | None = None,
    wait: float | None = None,
    **context: object,
) -> Response:
    """Return a page with a form, whose token only this browser can send, and only as this user.

    `wait` is in seconds: how long to wait before the next attempt.
    """
    browser = _browser(server, request)
    response = pages.page(
        request,
        template,
        status=status,
        form_action=form_action,
        script=script,
        wait=wait,
        csrf=seal(server, "form", browser, subject),
        **context,
    )
    if not get_cookie(server, request, "browser"):
        set_cookie(server, response, "browser", browser, None)
    return response


def check_form(server: Provider, request: Request, form: dict[str, str], *, subject: str = "") -> None:
    """Raise Refusal unless the form came from `form_page`, to this browser and user."""
    browser = get_cookie(server, request, "browser")
    if not browser or not is_sealed(server, form.get("csrf", ""), "form", browser, subject):
        raise Refusal("forbidden", status=403)


async def posted_form(server: Provider, request: Request) -> tuple[dict[str, str], Session]:
    """Return a form of who is signed in, and the session; raises BadRequest, Elsewhere, Refusal."""
    form = await read_form(request)
    session = await required_session(server, request)
    check_form(server, request, form, subject=session.subject)
    return form, session
