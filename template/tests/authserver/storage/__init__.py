"""The storage contract: what every engine promises, whatever runs beside it.

The tests know no engine. Time is the engine's, so what is to expire gets a lifetime of a moment. Here is what
they and the tests of the engines share.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

from authserver.crypto.secret_values import new_seed
from authserver.model.records import AuthorizationRequest, Client, User
from authserver.requests.networks import networks, place
from authserver.storage import Storage
from authserver.storage.clients import Clients, Share
from authserver.storage.facts import Facts
from authserver.storage.grants import Grants, Rotation
from authserver.storage.sign_ins import Bucket, SignIns
from authserver.storage.tables import Row
from authserver.storage.users import Users
from authserver.storage.verdicts import (
    Gone,
    Lifetimes,
    Limited,
    NewTokens,
    Redeemed,
    Replayed,
    Reused,
    Rotated,
)

SUBJECTS = {"facts": Facts, "clients": Clients, "users": Users, "sign_ins": SignIns, "grants": Grants}

LONG = Lifetimes(access_token_seconds=1000, refresh_token_seconds=2000)

MOMENT = 0.2

ODD_TEXTS = [
    "ünïcödé 🗝️",
    "a'; DROP TABLE users; --",
    "line\nbreak",
    "x" * 100_000,
    "\u202eright to left",
]


def operations(storage: Storage) -> dict[str, type]:
    """Return what a store can do, such as `facts.all`, each with the engine's class that does it."""
    found: dict[str, type] = dict.fromkeys(Storage.__abstractmethods__, type(storage))
    for subject, protocol in SUBJECTS.items():
        for name in protocol.__abstractmethods__:
            found[f"{subject}.{name}"] = type(getattr(storage, subject))
    return found


def new_client(client_id: str = "client", address: str = "192.0.2.1", **metadata: Any) -> Client:
    return Client(
        client_id=client_id,
        metadata={"redirect_uris": ["http://127.0.0.1/cb"]} | metadata,
        secret_digest=None,
        address=address,
        created_at=0,
        approved_at=0,
        completed_at=None,
    )


async def add_client(
    storage: Storage, client: Client | None = None, *, shares: tuple[int, int, int, int] | None = None
) -> None:
    """Add a client; `shares` are those of its /64, its /56, its /48, and of all."""
    client = client or new_client()
    digits = [*networks(client.address), ""]
    await storage.clients.add(
        client,
        place=place(client.address),
        shares=[Share(*pair) for pair in zip(digits, shares or (100,) * 4, strict=True)],
    )


async def add_user(storage: Storage, name: str = "alice") -> User:
    link = new_seed()
    assert await storage.users.add_invitation(link, name, scopes=None, lifetime_seconds=100)
    user = await storage.users.claim_invitation(link, name=name, credential=("password", b"secret"))
    assert user is not None
    return user


async def sign_in(
    storage: Storage,
    user: User,
    digest: bytes | None = None,
    *,
    device: str = "Firefox",
    seconds: float = 100,
) -> bytes:
    """Sign a user in, whatever epoch of theirs it is; return the digest of the session."""
    now, digest = await storage.users.get_by_subject(user.subject), digest or new_seed()
    assert now is not None
    assert await storage.sign_ins.add_session(
        digest, now.subject, epoch=now.epoch, device=device, lifetime_seconds=seconds, limit=1000
    )
    return digest


REQUEST = AuthorizationRequest(
    client_id="client",
    redirect_uri="http://127.0.0.1:1234/cb",
    redirect_uri_explicit=True,
    state="state",
    scopes=("read", "write"),
    code_challenge="challenge",
    resource="https://example.com/mcp",
    address="192.0.2.1",
)


async def add_request(
    storage: Storage, request: AuthorizationRequest = REQUEST, seconds: float = 100
) -> bytes:
    digest = new_seed()
    assert await storage.grants.add_request(digest, request, lifetime_seconds=seconds, limit=100)
    return digest


async def new_code(
    storage: Storage, user: User, *, code_seconds: float = 100, grant_seconds: float = 5000
) -> bytes:
    code, session = new_seed(), await sign_in(storage, user)
    taken = await storage.grants.create(
        await add_request(storage),
        session=session,
        scopes=("read",),
        grant_seconds=grant_seconds,
        code=code,
        code_seconds=code_seconds,
    )
    assert taken == REQUEST
    await storage.sign_ins.end_session(session)
    return code


def new_tokens() -> NewTokens:
    return NewTokens(access=new_seed(), refresh=new_seed())


async def redeem(
    storage: Storage, code: bytes, tokens: NewTokens | None = None, **options: Any
) -> Redeemed | Replayed | Gone:
    chosen: dict[str, Any] = {"attempt": new_seed(), "lifetimes": LONG}
    return await storage.grants.redeem_code(code, tokens=tokens or new_tokens(), **chosen | options)


async def rotate(
    storage: Storage, token: bytes, tokens: NewTokens | None = None, **options: Any
) -> Rotated | Reused | Limited | Gone:
    chosen: dict[str, Any] = {
        "scopes": ("read",),
        "salt": new_seed(),
        "replay_seconds": 60,
        "lifetimes": LONG,
        "bucket": Bucket(b"refresh", 1000, 1),
        "kept": 100,
    }
    return await storage.grants.rotate_refresh_token(
        token, Rotation(tokens=tokens or new_tokens(), **chosen | options)
    )


async def granted(storage: Storage) -> tuple[User, NewTokens]:
    """A user, a client, a grant and its first tokens."""
    await add_client(storage)
    user = await add_user(storage)
    tokens = new_tokens()
    assert isinstance(await redeem(storage, await new_code(storage, user), tokens), Redeemed)
    return user, tokens


async def round_trips(storage: Storage, sent: Callable[[], int]) -> list[int]:
    """Return how much is sent for each operation of a sign-in and of a grant's life, in their order."""
    await add_client(storage)
    user = await add_user(storage)
    counts: list[int] = []
    for epoch in range(
        2
    ):  # disabling moves it; the first time, statements are prepared and scripts made known
        counts.clear()
        request, session, code, tokens = new_seed(), new_seed(), new_seed(), new_tokens()
        for operation in (
            storage.clients.get("client"),
            storage.grants.add_request(request, REQUEST, lifetime_seconds=100, limit=100),
            storage.sign_ins.take_attempt([Bucket(b"bucket", 10, 1)]),
            storage.sign_ins.add_session(
                session, user.subject, epoch=epoch, device="", lifetime_seconds=100, limit=10
            ),
            storage.sign_ins.get_session(session),
            storage.grants.recall_consent(REQUEST, subject=user.subject),
            storage.grants.create(
                request,
                session=session,
                scopes=("read",),
                grant_seconds=100,
                code=code,
                code_seconds=100,
            ),
            storage.grants.get_code(code),
            redeem(storage, code, tokens),
            storage.grants.get_access_token(tokens.access or b""),
            storage.grants.get_refresh_token(tokens.refresh or b""),
            rotate(storage, tokens.refresh or b""),
            storage.users.disable("alice"),  # moves the epoch
            storage.users.enable("alice"),
        ):
            before = sent()
            await operation
            counts.append(sent() - before)
    return counts


async def lives(storage: Storage, tokens: NewTokens) -> bool:
    """Say whether access and refresh token are alive: both, or neither."""
    assert tokens.access
    assert tokens.refresh
    access = await storage.grants.get_access_token(tokens.access) is not None
    refresh = isinstance(await rotate(storage, tokens.refresh), Rotated)
    assert access == refresh
    return access


async def purge(storage: Storage, **options: Any) -> int:
    chosen = {
        "limit": 100,
        "replay_seconds": 60,
        "unused_seconds": 3600,
        "idle_seconds": None,
    }
    return await storage.purge(**chosen | options)


Dump = list[tuple[str, Row]]


async def full(storage: Storage) -> NewTokens:
    """Store a record of each sort; return the tokens that are alive."""
    user, tokens = await granted(storage)
    await storage.facts.remember("fact", b"\x00\xff")
    await add_client(storage, Client("odd", {"redirect_uris": ODD_TEXTS}, b"\x00", "::", 0, None, None))
    await storage.users.add_invitation(b"first", "bob", scopes=("*",), lifetime_seconds=100)
    await sign_in(storage, user, b"session")
    await storage.sign_ins.add_ticket(b"ticket", b"value", lifetime_seconds=100)
    await storage.sign_ins.take_attempt([Bucket(b"bucket", 5, 100)])
    await add_request(storage)
    ended = await redeem(storage, await new_code(storage, user))
    assert isinstance(ended, Redeemed)
    await storage.grants.revoke(ended.issued.grant_id)
    renewed = new_tokens()
    await rotate(storage, tokens.refresh or b"", renewed)
    return renewed


async def dumped(storage: Storage) -> Dump:
    return [entry async for entry in storage.dump()]


def records(dump: Dump) -> list[str]:
    """All but facts, in an order of their own."""
    return sorted(repr(entry) for entry in dump if entry[0] != "facts")


async def again(dump: Dump) -> AsyncIterator[tuple[str, Row]]:
    for entry in dump:
        yield entry
