"""Connected apps: what a user allowed, by client."""

from dataclasses import dataclass

from authserver.audit import Event, audit
from authserver.model.clients import destination, is_loopback
from authserver.model.records import Grant, Session
from authserver.provider import Provider


@dataclass(frozen=True, slots=True)
class App:
    """All living grants of a user to one client.

    `targets` is where codes go; `local` says that they go to a program on a computer of the user's, too.
    """

    client_id: str
    name: str
    targets: list[str]
    local: bool
    sentences: list[str]
    created_at: float
    used_at: float


async def connected(server: Provider, session: Session) -> list[App]:
    """Return the apps that may act for the user, in the order in which they were allowed."""
    by_client: dict[str, list[Grant]] = {}
    for grant in await server.storage.grants.all(session.subject):
        by_client.setdefault(grant.client_id, []).append(grant)
    return [await _app(server, session, grants) for grants in by_client.values()]


async def disconnect(server: Provider, subject: str, client_id: str) -> None:
    """Revoke all grants of a user to one client; what was remembered goes with them."""
    for grant in await server.storage.grants.all(subject):
        if client_id == grant.client_id:
            await server.storage.grants.revoke(grant.grant_id)
    audit(Event.APP_DISCONNECTED, client=client_id, subject=subject)


async def _app(server: Provider, session: Session, grants: list[Grant]) -> App:
    client_id = grants[0].client_id
    client = await server.get_client(client_id)
    scopes = {name for grant in grants for name in grant.scopes}
    uris = [grant.redirect_uri for grant in grants]
    return App(
        client_id=client_id,
        name=(client and client.client_name) or client_id,
        targets=sorted({destination(uri) for uri in uris if not is_loopback(uri)}),
        local=any(map(is_loopback, uris)),
        sentences=[
            server.scopes.sentence(name) for name in server.scopes.allowed(scopes, session.entitlement)
        ],
        created_at=min(grant.created_at for grant in grants),
        used_at=max(grant.used_at for grant in grants),
    )
