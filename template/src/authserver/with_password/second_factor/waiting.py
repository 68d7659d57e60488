"""Sign-ins between the password and the code: no session, but a ticket.

It works once, and each page that lets its reader try again gives a new one. A cookie binds it to the browser;
what it holds binds it to the user and to the authorization request.
"""

import json
from dataclasses import asdict, dataclass

from starlette.requests import Request
from starlette.responses import Response

from authserver import clock, limits
from authserver.browser.cookies import delete_cookie, get_cookie, set_cookie
from authserver.crypto import secret_values
from authserver.crypto.secret_values import Kind, digest
from authserver.model.records import User
from authserver.provider import Provider
from authserver.storage.tables import FIRST_EPOCH

_COOKIE = "waiting"


@dataclass(frozen=True, slots=True)
class Waiting:
    """The user who gave the right password, in which epoch, for which request, and until when it counts."""

    subject: str
    user_name: str
    request: str
    until: float
    epoch: int = FIRST_EPOCH


def begin(user: User, request_id: str) -> Waiting:
    """Return what is known once the password was right."""
    until = clock.now() + limits.SECOND_FACTOR_SECONDS
    return Waiting(user.subject, user.name, _name(request_id), until, user.epoch)


async def keep(server: Provider, response: Response, waiting: Waiting) -> Response:
    """Let the browser that gets this response go on with the sign-in."""
    ticket = secret_values.new(Kind.SECOND_FACTOR)
    await server.storage.sign_ins.add_ticket(
        digest(Kind.SECOND_FACTOR, ticket),
        _written(waiting),
        lifetime_seconds=waiting.until - clock.now(),
    )
    set_cookie(server, response, _COOKIE, ticket, limits.SECOND_FACTOR_SECONDS)
    return response


async def take(server: Provider, request: Request, request_id: str) -> Waiting | None:
    """Return the sign-in that this browser began for that authorization request, once.

    None also where something ended it. What it leads to is stored in its epoch, or not at all.
    """
    ticket = get_cookie(server, request, _COOKIE)
    value = await server.storage.sign_ins.take_ticket(digest(Kind.SECOND_FACTOR, ticket))
    if value is None:
        return None
    waiting = Waiting(**json.loads(value))
    user = await server.storage.users.get_by_subject(waiting.subject)
    goes_on = user is not None and user.epoch == waiting.epoch and waiting.request == _name(request_id)
    return waiting if goes_on else None


def end(server: Provider, response: Response) -> Response:
    """Forget it: the sign-in is finished."""
    delete_cookie(server, response, _COOKIE)
    return response


def _written(waiting: Waiting) -> bytes:
    values = asdict(waiting)
    if waiting.epoch == FIRST_EPOCH:
        del values["epoch"]  # nodes of 0.2.0 know none, and begin and end sign-ins beside ours
    return json.dumps(values).encode()


def _name(request_id: str) -> str:
    return digest(Kind.AUTHORIZATION_REQUEST, request_id).hex()
