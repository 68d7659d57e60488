"""Cookies and form tokens: what binds a flow, a session and a form to one browser.

On https every cookie has the `__Host-` prefix, so that no other host can set it. Names carry a hash of the
public URL, since all ports of a loopback address share their cookies.
"""

import hashlib
import hmac

from starlette.requests import Request
from starlette.responses import Response

from authserver import limits, pages
from authserver.crypto import secret_values
from authserver.crypto.secret_values import Kind, derive, digest
from authserver.model.records import Session
from authserver.provider import Provider
from authserver.requests.reading import read_form

_DIRECT, _LED = "direct request", "request"


class NotSignedIn(Exception):
    """The page is for who is signed in."""


class ForgedForm(Exception):
    """The form was not sent from a page that this server gave to this browser and user."""


def _name(server: Provider, name: str) -> str:
    settings = server.settings
    site = hashlib.sha256(settings.public_url.encode()).hexdigest()[:8]
    return f"{'__Host-' if settings.secure else ''}{name}-{site}"


def set_cookie(server: Provider, response: Response, name: str, value: str, seconds: int | None) -> None:
    """Set one of our cookies, out of reach of scripts and other sites."""
    response.set_cookie(
        _name(server, name),
        value,
        max_age=seconds,
        path="/",
        httponly=True,
        secure=server.settings.secure,
        samesite="lax",
    )


def get_cookie(server: Provider, request: Request, name: str) -> str:
    """Return the value of one of our cookies, '' where the browser has none."""
    return request.cookies.get(_name(server, name), "")


def delete_cookie(server: Provider, response: Response, name: str) -> None:
    """Let the browser forget one of our cookies."""
    set_cookie(server, response, name, "", 0)


def _seal(server: Provider, *parts: str) -> str:
    return derive(server.keys.browser, *parts).hex()


# ------------------------------------------------- the browser that began an authorization request


def _request_cookie(request_id: str) -> str:
    # One cookie for each request: two tabs do not hurt each other.
    return "request-" + digest(Kind.AUTHORIZATION_REQUEST, request_id).hex()[:16]


def bind_request(server: Provider, response: Response, request_id: str, *, direct: bool) -> None:
    """Bind an authorization request to the browser that gets this response, and how it came here."""
    sealed = _seal(server, _DIRECT if direct else _LED, request_id)
    set_cookie(server, response, _request_cookie(request_id), sealed, limits.AUTHORIZATION_REQUEST_SECONDS)


def is_bound(server: Provider, request: Request, request_id: str) -> bool:
    """Say whether this browser began the authorization request."""
    return any(_is_bound(server, request, how, request_id) for how in (_DIRECT, _LED))


def is_direct(server: Provider, request: Request, request_id: str) -> bool:
    """Say whether this browser began the authorization request, and no web page elsewhere led it here."""
    return _is_bound(server, request, _DIRECT, request_id)


def _is_bound(server: Provider, request: Request, how: str, request_id: str) -> bool:
    sealed = get_cookie(server, request, _request_cookie(request_id))
    return hmac.compare_digest(sealed.encode(), _seal(server, how, request_id).encode())


def unbind_request(server: Provider, response: Response, request_id: str) -> None:
    """Forget the binding: the request is finished."""
    delete_cookie(server, response, _request_cookie(request_id))


# ---------------------------------------------------------------------------------------- sessions


async def current_session(server: Provider, request: Request) -> Session | None:
    """Return the session of this browser, if it and its user are alive, and the login confirms it."""
    value = get_cookie(server, request, "session")
    session = await server.storage.get_session(digest(Kind.SESSION, value)) if value else None
    return session if session and await server.login.confirm(request, session) else None


async def required_session(server: Provider, request: Request) -> Session:
    """Return the session of this browser; raises NotSignedIn."""
    session = await current_session(server, request)
    if session is None:
        raise NotSignedIn
    return session


async def start_session(server: Provider, request: Request, response: Response, subject: str) -> bytes:
    """Sign a user in, under a new session id; a session that this browser had before ends.

    Returns the digest under which the session is stored.
    """
    await _end(server, request)
    value = secret_values.new(Kind.SESSION)
    stored = digest(Kind.SESSION, value)
    seconds = server.settings.session_seconds
    await server.storage.add_session(
        stored,
        subject,
        device=request.headers.get("user-agent", "")[: limits.MAXIMUM_DEVICE_CHARACTERS],
        lifetime_seconds=seconds,
    )
    set_cookie(server, response, "session", value, seconds)
    device = secret_values.new_seed().hex()
    sealed = f"{device}.{_seal(server, 'device', device, subject)}"
    set_cookie(server, response, "device", sealed, limits.KNOWN_DEVICE_SECONDS)
    return stored


async def end_session(server: Provider, request: Request, response: Response) -> None:
    """Sign this browser out."""
    await _end(server, request)
    delete_cookie(server, response, "session")


async def _end(server: Provider, request: Request) -> None:
    if value := get_cookie(server, request, "session"):
        await server.storage.end_session(digest(Kind.SESSION, value))


def known_device(server: Provider, request: Request, subject: str) -> str | None:
    """Return the id of this browser if that user signed in with it before."""
    device, _, sealed = get_cookie(server, request, "device").partition(".")
    expected = _seal(server, "device", device, subject)
    return device if hmac.compare_digest(sealed.encode(), expected.encode()) else None


# ------------------------------------------------------------------- signing in again, and coming back


def keep_way_back(server: Provider, request: Request, response: Response, path: str) -> None:
    """Remember the page to come back to after this browser has signed in again."""
    sealed = _seal(server, "way back", path, get_cookie(server, request, "session"))
    set_cookie(server, response, "back", f"{path}|{sealed}", limits.WAY_BACK_SECONDS)


def way_back(server: Provider, request: Request) -> str | None:
    """Return the path that `keep_way_back` kept in the session that this browser has."""
    path, _, sealed = get_cookie(server, request, "back").rpartition("|")
    expected = _seal(server, "way back", path, get_cookie(server, request, "session"))
    return path if hmac.compare_digest(sealed.encode(), expected.encode()) else None


# ------------------------------------------------------------------------------------------- forms


def _browser(server: Provider, request: Request) -> str:
    """Return the id of this browser; at its first visit a new one, which `form_page` gives it."""
    known = get_cookie(server, request, "browser")
    if not known and not hasattr(request.state, "browser"):
        request.state.browser = secret_values.new_seed().hex()
    return known or str(request.state.browser)


def browser_seal(server: Provider, request: Request, *parts: str) -> bytes:
    """Return what `parts` are in this browser only: to be stored, and compared when they come back."""
    return _seal(server, "browser", _browser(server, request), *parts).encode()


def form_page(
    server: Provider,
    request: Request,
    template: str,
    *,
    subject: str = "",
    status: int = 200,
    form_action: str | None = "'self'",
    script: str | None = None,
    headers: dict[str, str] | None = None,
    **context: object,
) -> Response:
    """Return a page with a form, whose token only this browser can send, and only as this user."""
    browser = _browser(server, request)
    response = pages.page(
        request,
        template,
        status=status,
        form_action=form_action,
        script=script,
        headers=headers,
        csrf=_seal(server, "form", browser, subject),
        **context,
    )
    if not get_cookie(server, request, "browser"):
        set_cookie(server, response, "browser", browser, None)
    return response


def check_form(server: Provider, request: Request, form: dict[str, str], *, subject: str = "") -> None:
    """Raise ForgedForm unless the form came from `form_page`, to this browser and user."""
    browser = get_cookie(server, request, "browser")
    expected = _seal(server, "form", browser, subject)
    if not browser or not hmac.compare_digest(form.get("csrf", "").encode(), expected.encode()):
        raise ForgedForm


async def posted_form(server: Provider, request: Request) -> tuple[dict[str, str], Session]:
    """Return a form of who is signed in, and the session; raises BadRequest, NotSignedIn, ForgedForm."""
    form = await read_form(request)
    session = await required_session(server, request)
    check_form(server, request, form, subject=session.subject)
    return form, session
