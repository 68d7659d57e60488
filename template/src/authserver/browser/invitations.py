"""One-time links, as the pages behind them see them."""

from starlette.requests import Request

from authserver.browser.problems import Refusal
from authserver.crypto.secret_values import Kind, digest, short
from authserver.model.records import Invitation, User
from authserver.provider import Provider


async def find(server: Provider, request: Request) -> Invitation:
    """Return what the link of this request is good for; raises Refusal where it is gone."""
    found = await server.storage.users.get_invitation(_digest(request))
    if found is None:
        raise Refusal("invite_gone", status=410)
    return found


async def claim(
    server: Provider,
    request: Request,
    *,
    name: str,
    credential: tuple[str, bytes] | None,
    grants: bool = False,
) -> User:
    """Use the link up: make or recover the account, with this credential (kind and value).

    Recovery ends all that was begun with the account before, with `grants` all grants, too. Raises Refusal
    where the link is gone, or its user is disabled.
    """
    user = await server.storage.users.claim_invitation(
        _digest(request), name=name, credential=credential, grants=grants
    )
    if user is None:
        raise Refusal("invite_gone", status=410)
    return user


def label(request: Request) -> str:
    """Return what the audit calls the link of this request, from which nobody can make it."""
    return short(_digest(request))


def _digest(request: Request) -> bytes:
    return digest(Kind.INVITATION, request.path_params["token"])
