"""Who is signed in in this browser, and whether the browser was seen before."""

from starlette.requests import Request
from starlette.responses import Response

from authserver import limits
from authserver.browser.cookies import delete_cookie, get_cookie, is_sealed, seal, set_cookie
from authserver.crypto import secret_values
from authserver.crypto.secret_values import Kind, digest
from authserver.model.records import Session
from authserver.pages.elsewhere import Elsewhere, see_other
from authserver.provider import Provider


async def kept_session(server: Provider, request: Request) -> Session | None:
    """Return the session of this browser, if it and its user are alive: nobody acts by it alone.

    Where a proxy names people, it does so for pages, and not at the authorization endpoint.
    """
    value = get_cookie(server, request, "session")
    return await server.storage.sign_ins.get_session(digest(Kind.SESSION, value)) if value else None


async def current_session(server: Provider, request: Request) -> Session | None:
    """Return the session of this browser, if it and its user are alive, and the login confirms it."""
    session = await kept_session(server, request)
    return session if session and await server.login.confirm(request, session) else None


async def required_session(server: Provider, request: Request) -> Session:
    """Return the session of this browser; raises Elsewhere where there is none."""
    session = await current_session(server, request)
    if session is None:
        raise Elsewhere(see_other("/login"))
    return session


async def start_session(server: Provider, request: Request, response: Response, subject: str) -> bytes:
    """Sign a user in, under a new session id; a session that this browser had before ends.

    Returns the digest under which the session is stored.
    """
    await _end(server, request)
    value = secret_values.new(Kind.SESSION)
    stored = digest(Kind.SESSION, value)
    seconds = server.settings.session_seconds
    await server.storage.sign_ins.add_session(
        stored,
        subject,
        device=request.headers.get("user-agent", "")[: limits.MAXIMUM_DEVICE_CHARACTERS],
        lifetime_seconds=seconds,
    )
    set_cookie(server, response, "session", value, seconds)
    device = secret_values.new_seed().hex()
    sealed = f"{device}.{seal(server, 'device', device, subject)}"
    set_cookie(server, response, "device", sealed, limits.KNOWN_DEVICE_SECONDS)
    return stored


async def end_session(server: Provider, request: Request, response: Response) -> None:
    """Sign this browser out."""
    await _end(server, request)
    delete_cookie(server, response, "session")


async def _end(server: Provider, request: Request) -> None:
    if value := get_cookie(server, request, "session"):
        await server.storage.sign_ins.end_session(digest(Kind.SESSION, value))


def known_device(server: Provider, request: Request, subject: str) -> str | None:
    """Return the id of this browser if that user signed in with it before."""
    device, _, sealed = get_cookie(server, request, "device").partition(".")
    return device if is_sealed(server, sealed, "device", device, subject) else None
