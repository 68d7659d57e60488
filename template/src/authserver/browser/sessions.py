"""Who is signed in in this browser, and whether the browser was seen before."""

from dataclasses import replace
from typing import Protocol
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from authserver import limits
from authserver.browser.cookies import delete_cookie, get_cookie, is_sealed, seal, set_cookie
from authserver.crypto import secret_values
from authserver.crypto.secret_values import Kind, digest
from authserver.model.records import Session
from authserver.pages.elsewhere import Elsewhere, see_other
from authserver.provider import Provider
from authserver.storage.users import Ending


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


class Begun(Protocol):
    """What somebody began in an epoch of theirs: half a sign-in, a session, or nothing yet but to be known.

    The epoch was read before what they showed was looked at.
    """

    @property
    def subject(self) -> str:
        """Who they are."""

    @property
    def epoch(self) -> int:
        """The epoch in which it began."""


async def start_session(
    server: Provider, request: Request, response: Response, begun: Begun, request_id: str = ""
) -> bytes:
    """Sign a user in, under a new session id; a session that this browser had before ends.

    Returns the digest under which the session is stored. Raises Elsewhere, to sign in again, where the
    user's epoch is another one now.
    """
    await _end(server, request)
    value = secret_values.new(Kind.SESSION)
    stored = digest(Kind.SESSION, value)
    seconds = server.settings.session_seconds
    if not await server.storage.sign_ins.add_session(
        stored,
        begun.subject,
        epoch=begun.epoch,
        device=request.headers.get("user-agent", "")[: limits.MAXIMUM_DEVICE_CHARACTERS],
        lifetime_seconds=seconds,
        limit=limits.SESSIONS_OF_A_USER,
    ):
        raise Elsewhere(see_other(sign_in_path(request_id)))
    set_cookie(server, response, "session", value, seconds)
    know_device(server, response, begun)
    return stored


def sign_in_path(request_id: str) -> str:
    """Return the path where a sign-in begins; '' stands for that of no authorization request."""
    return f"/login?{urlencode({'request': request_id})}" if request_id else "/login"


async def end_session(server: Provider, request: Request, response: Response) -> None:
    """Sign this browser out."""
    await _end(server, request)
    delete_cookie(server, response, "session")


async def _end(server: Provider, request: Request) -> None:
    if value := get_cookie(server, request, "session"):
        await server.storage.sign_ins.end_session(digest(Kind.SESSION, value))


async def end_other_access(server: Provider, session: Session, ending: Ending) -> Session | None:
    """End all that was begun with the account but this session, in its name.

    Returns the session as it goes on, None where nothing was done. Hand it to `know_device` afterwards.
    """
    ending = replace(ending, session=session.digest, keep=True)
    epoch = await server.storage.users.end_access(session.subject, ending)
    return None if epoch is None else replace(session, epoch=epoch)


def know_device(server: Provider, response: Response, begun: Begun) -> None:
    """Let this browser be known as one in which the user signed in, for as long as their epoch stays."""
    device = secret_values.new_seed().hex()
    sealed = seal(server, *_known_to(begun, device))
    set_cookie(server, response, "device", f"{device}.{sealed}", limits.KNOWN_DEVICE_SECONDS)


def is_known_device(server: Provider, request: Request, begun: Begun) -> bool:
    """Say whether that user signed in with this browser before, in this epoch of theirs."""
    device, _, sealed = get_cookie(server, request, "device").partition(".")
    return is_sealed(server, sealed, *_known_to(begun, device))


def _known_to(begun: Begun, device: str) -> tuple[str, ...]:
    return "device", device, begun.subject, str(begun.epoch)
