"""The storage contract: what every engine promises, whatever runs beside it.

The tests know no engine. Time is the engine's, so what is to expire gets a lifetime of a moment.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from conftest import new_store
from engines import Engine

from authserver import choices
from authserver.all_settings import Settings
from authserver.crypto.secret_values import new_seed
from authserver.model.records import AuthorizationRequest, Client, User
from authserver.storage import (
    TABLES,
    Bucket,
    Gone,
    Lifetimes,
    NewTokens,
    NotEmpty,
    Redeemed,
    Replayed,
    Reused,
    Rotated,
    Row,
    Storage,
)

pytestmark = pytest.mark.anyio

LONG = Lifetimes(access_token_seconds=1000, refresh_token_seconds=2000)
MOMENT = 0.2

ODD_TEXTS = [
    "ünïcödé 🗝️",
    "a'; DROP TABLE users; --",
    "line\nbreak",
    "x" * 100_000,
    "\u202eright to left",
]


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


async def add_client(storage: Storage, client: Client | None = None, **limits: Any) -> bool:
    return await storage.add_client(
        client or new_client(), **{"unused_limit": 100, "unused_age_seconds": 3600} | limits
    )


async def add_user(storage: Storage, name: str = "alice") -> User:
    link = new_seed()
    assert await storage.add_invitation(link, name, scopes=None, lifetime_seconds=100)
    user = await storage.claim_invitation(link, name=name, credential=("password", b"secret"))
    assert user is not None
    return user


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
    assert await storage.add_authorization_request(digest, request, lifetime_seconds=seconds, limit=100)
    return digest


async def new_code(
    storage: Storage, user: User, *, code_seconds: float = 100, grant_seconds: float = 5000
) -> bytes:
    code = new_seed()
    taken = await storage.create_grant(
        await add_request(storage),
        subject=user.subject,
        scopes=("read",),
        grant_seconds=grant_seconds,
        code=code,
        code_seconds=code_seconds,
    )
    assert taken == REQUEST
    return code


def new_tokens() -> NewTokens:
    return NewTokens(access=new_seed(), refresh=new_seed())


async def redeem(
    storage: Storage, code: bytes, tokens: NewTokens | None = None, **options: Any
) -> Redeemed | Replayed | Gone:
    chosen: dict[str, Any] = {"attempt": new_seed(), "lifetimes": LONG}
    return await storage.redeem_code(code, tokens=tokens or new_tokens(), **chosen | options)


async def rotate(
    storage: Storage, token: bytes, tokens: NewTokens | None = None, **options: Any
) -> Rotated | Reused | Gone:
    chosen: dict[str, Any] = {
        "scopes": ("read",),
        "salt": new_seed(),
        "replay_seconds": 60,
        "lifetimes": LONG,
    }
    return await storage.rotate_refresh_token(token, tokens=tokens or new_tokens(), **chosen | options)


async def granted(storage: Storage) -> tuple[User, NewTokens]:
    """A user, a client, a grant and its first tokens."""
    assert await add_client(storage)
    user = await add_user(storage)
    tokens = new_tokens()
    assert isinstance(await redeem(storage, await new_code(storage, user), tokens), Redeemed)
    return user, tokens


async def round_trips(storage: Storage, sent: Callable[[], int]) -> list[int]:
    """Return how much is sent for each operation of a sign-in and of a grant's life, in their order."""
    assert await add_client(storage)
    user = await add_user(storage)
    counts: list[int] = []
    for _ in range(2):  # the first time, statements are prepared and scripts made known
        counts.clear()
        request, session, code, tokens = new_seed(), new_seed(), new_seed(), new_tokens()
        for operation in (
            storage.get_client("client"),
            storage.add_authorization_request(request, REQUEST, lifetime_seconds=100, limit=100),
            storage.take_attempt([Bucket(b"bucket", 10, 1)]),
            storage.add_session(session, user.subject, device="", lifetime_seconds=100),
            storage.get_session(session),
            storage.recall_consent(REQUEST, subject=user.subject),
            storage.create_grant(
                request,
                subject=user.subject,
                scopes=("read",),
                grant_seconds=100,
                code=code,
                code_seconds=100,
            ),
            storage.get_code(code),
            redeem(storage, code, tokens),
            storage.get_access_token(tokens.access or b""),
            storage.get_refresh_token(tokens.refresh or b""),
            rotate(storage, tokens.refresh or b""),
            storage.disable_user("alice"),
            storage.enable_user("alice"),
        ):
            before = sent()
            await operation
            counts.append(sent() - before)
    return counts


async def lives(storage: Storage, tokens: NewTokens) -> bool:
    """Say whether access and refresh token are alive: both, or neither."""
    assert tokens.access
    assert tokens.refresh
    access = await storage.get_access_token(tokens.access) is not None
    refresh = isinstance(await rotate(storage, tokens.refresh), Rotated)
    assert access == refresh
    return access


# ------------------------------------------------------------------------------------- facts, clients


async def test_what_is_remembered_first_stays(storage: Storage) -> None:
    assert await storage.recall("fact") is None
    assert await storage.remember("fact", b"one") == b"one"
    assert await storage.remember("fact", b"two") == b"one"
    assert await storage.recall("fact") == b"one"
    await storage.remember("fact_2", b"three")
    await storage.remember("other", b"four")
    assert await storage.list_facts("fact") == {"fact": b"one", "fact_2": b"three"}
    assert await storage.list_facts("fact%") == {}
    assert await storage.forget("fact")
    assert not await storage.forget("fact")
    assert await storage.remember("fact", b"five") == b"five"


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_a_client_comes_back_as_it_was_stored(storage: Storage, text: str) -> None:
    client = new_client(client_name=text)
    assert await add_client(storage, client)
    found = await storage.get_client("client")
    assert found is not None
    assert json.dumps(found.metadata) == json.dumps(client.metadata)
    assert (found.approved_at is not None, found.completed_at) == (True, None)
    assert await storage.get_client("other") is None
    assert [listed.client_id for listed in await storage.list_clients()] == ["client"]


async def test_the_oldest_unused_client_of_the_heaviest_address_makes_room(
    storage: Storage,
) -> None:
    """Attack 22: fill the store with registrations, so that nobody else fits in. Source: RFC 7591 5."""
    for number, address in enumerate(["light", "heavy", "heavy"]):
        await add_client(storage, new_client(f"client-{number}", address))
    assert not await add_client(storage, new_client("late"), unused_limit=3)
    await asyncio.sleep(MOMENT)
    assert await add_client(storage, new_client("late"), unused_limit=3, unused_age_seconds=0.01)
    left = {client.client_id for client in await storage.list_clients()}
    assert left == {"client-0", "client-2", "late"}


async def test_a_client_that_is_stored_again_stays_as_it_is(storage: Storage) -> None:
    assert await add_client(storage)
    before = await storage.get_client("client")
    assert await add_client(storage, new_client(address="elsewhere"), unused_limit=1)
    assert await storage.get_client("client") == before


async def test_a_client_that_redeemed_a_code_never_makes_room(storage: Storage) -> None:
    """Attack 22: push a client that is used out of the store.
    Source: VS Code and Codex never register again.
    """
    await granted(storage)
    assert await add_client(storage, new_client("second"), unused_limit=1)
    await asyncio.sleep(MOMENT)
    assert await add_client(storage, new_client("third"), unused_limit=1, unused_age_seconds=0.01)
    assert await storage.get_client("client") is not None


async def test_a_waiting_client_can_be_approved(storage: Storage) -> None:
    waiting = new_client()
    await add_client(storage, Client("waiting", waiting.metadata, None, "192.0.2.1", 0, None, None))
    found = await storage.get_client("waiting")
    assert found is not None
    assert found.approved_at is None
    assert await storage.approve_client("waiting")
    found = await storage.get_client("waiting")
    assert found is not None
    assert found.approved_at is not None
    assert not await storage.approve_client("unknown")


async def test_removing_a_client_ends_its_tokens(storage: Storage) -> None:
    _, tokens = await granted(storage)
    assert await storage.remove_client("client")
    assert not await lives(storage, tokens)
    assert not await storage.remove_client("client")


# --------------------------------------------------------------------------------------------- users


async def test_a_name_is_one_account_in_whatever_case(storage: Storage) -> None:
    user = await add_user(storage, "Alice")
    assert await storage.get_user("aLICE") == user
    assert await storage.get_user_by_subject(user.subject) == user
    assert (await add_user(storage, "ALICE")).subject == user.subject
    assert await storage.list_users() == [user]


async def test_an_invitation_is_read_often_and_claimed_once(storage: Storage) -> None:
    """Attack 12: claim one link twenty times at once. Source: threat model."""
    await storage.add_invitation(b"link", "alice", scopes=("read",), lifetime_seconds=100)
    for _ in range(3):
        found = await storage.get_invitation(b"link")
        assert found is not None
        assert found.name == "alice"

    async def claim() -> User | None:
        return await storage.claim_invitation(b"link", name="eve", credential=("password", b"x"))

    claims = await asyncio.gather(*(claim() for _ in range(20)))
    [user] = [user for user in claims if user is not None]
    assert (user.name, user.scopes) == ("alice", ("read",))
    assert await storage.get_invitation(b"link") is None


async def test_an_invitation_expires_and_is_replaced_by_a_later_one(storage: Storage) -> None:
    """Attack 12: use a link that is old, or was replaced. Source: threat model."""
    await storage.add_invitation(b"brief", "alice", scopes=None, lifetime_seconds=MOMENT)
    await storage.add_invitation(b"old", "bob", scopes=None, lifetime_seconds=100)
    await storage.add_invitation(b"new", "bob", scopes=None, lifetime_seconds=100)
    await asyncio.sleep(2 * MOMENT)
    assert await storage.get_invitation(b"brief") is None
    assert await storage.get_invitation(b"old") is None
    assert await storage.get_invitation(b"new") is not None
    assert await storage.claim_invitation(b"brief", name="alice", credential=("k", b"")) is None


async def test_the_nameless_invitation_is_for_the_first_account_only(storage: Storage) -> None:
    """Attack 12: become a second owner by the first link. Source: threat model."""
    assert await storage.add_invitation(b"first", None, scopes=("*",), lifetime_seconds=100)
    assert await storage.get_invitation(b"first") is not None
    await add_user(storage, "bob")
    assert await storage.get_invitation(b"first") is None
    assert await storage.claim_invitation(b"first", name="eve", credential=("k", b"")) is None
    assert not await storage.add_invitation(b"again", None, scopes=("*",), lifetime_seconds=100)


async def test_recovery_sets_the_credential_and_ends_sessions(storage: Storage) -> None:
    """Attack 12: stay signed in after the account was recovered. Source: OWASP ASVS 5.0 7.4.3."""
    user = await add_user(storage)
    await storage.add_session(b"session", user.subject, device="Firefox", lifetime_seconds=100)
    await storage.add_invitation(b"link", "alice", scopes=("*",), lifetime_seconds=100)
    again = await storage.claim_invitation(b"link", name="", credential=("password", b"new"))
    assert again == user
    credential = await storage.get_credential(user.subject, "password")
    assert credential is not None
    assert (credential.value, credential.counter) == (b"new", 2)
    assert await storage.get_session(b"session") is None


async def test_disabling_a_user_ends_sessions_and_grants_at_once_and_for_good(
    storage: Storage,
) -> None:
    """Attack 12, 13: go on as a disabled user, by session, link, code or token.
    Source: OWASP ASVS 5.0 7.4.2.
    """
    user, tokens = await granted(storage)
    code = await new_code(storage, user)
    await storage.add_session(b"session", user.subject, device="Firefox", lifetime_seconds=100)
    await storage.add_invitation(b"link", "alice", scopes=None, lifetime_seconds=100)
    assert await storage.disable_user("Alice")
    assert await storage.get_session(b"session") is None
    assert not await lives(storage, tokens)
    assert await redeem(storage, code) == Gone()
    assert await storage.claim_invitation(b"link", name="", credential=("k", b"")) is None
    request = await add_request(storage)
    denied = await storage.create_grant(
        request, subject=user.subject, scopes=(), grant_seconds=1, code=b"c", code_seconds=1
    )
    assert denied is None
    assert await storage.enable_user("alice")
    assert not await lives(storage, tokens)
    assert await storage.get_session(b"session") is None


async def test_what_an_operator_disables_nobody_else_enables(storage: Storage) -> None:
    """Attack 12: come back when a directory enables whom an operator disabled. Source: CWE-863."""
    await add_user(storage)

    async def disabled_by() -> str | None:
        user = await storage.get_user("alice")
        assert user is not None
        assert (user.disabled_at is None) == (user.disabled_by is None)
        return user.disabled_by

    assert not await storage.enable_user("alice", by="directory")
    assert await storage.disable_user("alice", by="directory")
    assert await disabled_by() == "directory"
    assert not await storage.enable_user("alice", by="elsewhere")
    assert await storage.enable_user("alice", by="directory")
    assert await disabled_by() is None
    for one, then in (("directory", "operator"), ("operator", "directory")):
        assert await storage.disable_user("alice", by=one)
        assert await storage.disable_user("alice", by=then)
        assert await disabled_by() == "operator"
        assert not await storage.enable_user("alice", by="directory")
        assert await storage.enable_user("alice")
        assert await disabled_by() is None


async def test_deleting_a_user_deletes_what_is_theirs(storage: Storage) -> None:
    user, tokens = await granted(storage)
    await storage.add_session(b"session", user.subject, device="Firefox", lifetime_seconds=100)
    assert await storage.delete_user("alice")
    assert await storage.get_user("alice") is None
    assert await storage.get_credential(user.subject, "password") is None
    assert await storage.get_session(b"session") is None
    assert not await lives(storage, tokens)


async def test_commands_on_an_unknown_user_say_so(storage: Storage) -> None:
    assert not await storage.disable_user("nobody")
    assert not await storage.enable_user("nobody")
    assert not await storage.delete_user("nobody")
    assert not await storage.set_user_scopes("nobody", None)
    assert await storage.get_user("nobody") is None
    assert await storage.get_user_by_subject("nobody") is None


async def test_an_account_that_is_kept_elsewhere_is_made_once(storage: Storage) -> None:
    made = await asyncio.gather(*(storage.add_user("Alice", scopes=("read",)) for _ in range(10)))
    assert len({user.subject for user in made}) == 1
    again = await storage.add_user("alice", scopes=None)
    assert (again.name, again.scopes) == ("Alice", ("read",))


async def test_a_renamed_user_stays_who_they_are(storage: Storage) -> None:
    user = await add_user(storage)
    other = await add_user(storage, "bob")
    assert await storage.rename_user("ALICE", "Alice Smith")
    renamed = await storage.get_user("alice smith")
    assert renamed == replace(user, name="Alice Smith")
    assert await storage.get_user("alice") is None
    assert await storage.rename_user("alice smith", "ALICE SMITH")  # another case of their own name
    assert not await storage.rename_user("alice smith", "BOB")
    assert not await storage.rename_user("alice", "carol")
    assert [found.name for found in await storage.list_users()] == ["ALICE SMITH", other.name]


async def test_of_two_users_that_want_one_name_one_gets_it(storage: Storage) -> None:
    for name in ("alice", "bob"):
        await add_user(storage, name)
    outcomes = await asyncio.gather(*(storage.rename_user(name, "carol") for name in ("alice", "bob")))
    assert sorted(outcomes) == [False, True]


async def test_the_subject_of_an_invitation_is_that_of_its_account(storage: Storage) -> None:
    await storage.add_invitation(b"new", "alice", scopes=None, lifetime_seconds=100)
    found = await storage.get_invitation(b"new")
    assert found is not None
    user = await storage.claim_invitation(b"new", name="", credential=None)
    assert user is not None
    assert user.subject == found.subject
    assert await storage.list_credentials(user.subject) == {}
    await storage.add_invitation(b"again", "ALICE", scopes=None, lifetime_seconds=100)
    found = await storage.get_invitation(b"again")
    assert found is not None
    assert found.subject == user.subject


async def test_scopes_of_a_user_are_set_and_unset(storage: Storage) -> None:
    await add_user(storage)
    for scopes in (("read", "write"), None):
        assert await storage.set_user_scopes("alice", scopes)
        user = await storage.get_user("alice")
        assert user is not None
        assert user.scopes == scopes


# -------------------------------------------------------------------------------- what logins need


async def test_a_credential_is_replaced_only_by_who_read_the_current_one(storage: Storage) -> None:
    subject = (await add_user(storage)).subject
    puts = [
        storage.put_credential(subject, "password", str(number).encode(), counter=1) for number in range(20)
    ]
    assert sum(await asyncio.gather(*puts)) == 1
    assert not await storage.put_credential(subject, "password", b"", counter=0)
    assert await storage.put_credential(subject, "totp", b"seed", counter=0)
    assert not await storage.put_credential("nobody", "totp", b"seed", counter=0)


async def test_credentials_are_listed_and_deleted_one_by_one(storage: Storage) -> None:
    subject = (await add_user(storage)).subject
    for kind in ("passkey:one", "passkey:two"):
        assert await storage.put_credential(subject, kind, kind.encode(), counter=0)
    found = await storage.list_credentials(subject)
    assert list(found) == ["passkey:one", "passkey:two", "password"]
    assert found["passkey:two"].value == b"passkey:two"
    assert await storage.delete_credential(subject, "passkey:one")
    assert not await storage.delete_credential(subject, "passkey:one")
    assert not await storage.delete_credential("nobody", "password")
    assert list(await storage.list_credentials(subject)) == ["passkey:two", "password"]


async def test_of_credentials_that_are_deleted_only_beside_others_one_is_left(storage: Storage) -> None:
    subject = (await add_user(storage)).subject
    kinds = [f"passkey:{number}" for number in range(10)]
    for kind in kinds:
        assert await storage.put_credential(subject, kind, b"", counter=0)
    deletions = (storage.delete_credential(subject, kind, beside="passkey:") for kind in kinds)
    assert sum(await asyncio.gather(*deletions)) == 9
    left, password = await storage.list_credentials(subject)
    assert (left in kinds, password) == (True, "password")
    assert not await storage.delete_credential(subject, left, beside="passkey:")
    assert await storage.delete_credential(subject, left, beside="password")


async def test_a_ticket_is_taken_once_and_in_time(storage: Storage) -> None:
    """Attack 13: use a one-time value twenty times at once. Source: Keycloak CVE-2026-4282."""
    await storage.add_ticket(b"one", b"\x00value", lifetime_seconds=100)
    await storage.add_ticket(b"brief", b"value", lifetime_seconds=MOMENT)
    takes = await asyncio.gather(*(storage.take_ticket(b"one") for _ in range(20)))
    assert [taken for taken in takes if taken is not None] == [b"\x00value"]
    await asyncio.sleep(2 * MOMENT)
    assert await storage.take_ticket(b"brief") is None
    assert await storage.take_ticket(b"unknown") is None


async def test_attempts_beyond_the_burst_wait_and_are_not_counted(storage: Storage) -> None:
    """Attack 10: guess many times at once. Source: NIST SP 800-63B 5.2.2."""
    bucket = Bucket(b"alice", burst=3, interval_seconds=100)
    other = Bucket(b"bob", burst=100, interval_seconds=100)
    waits = await asyncio.gather(*(storage.take_attempt([bucket, other]) for _ in range(20)))
    assert sorted(wait > 0 for wait in waits) == [False] * 3 + [True] * 17
    assert all(wait <= 100 for wait in waits)
    # Refused attempts counted nowhere: the other bucket has room for 97 more.
    later = await asyncio.gather(*(storage.take_attempt([other]) for _ in range(97)))
    assert not any(later)
    assert await storage.take_attempt([other]) > 0


async def test_a_returned_attempt_is_free_again(storage: Storage) -> None:
    bucket = Bucket(b"alice", burst=1, interval_seconds=100)
    for _ in range(5):
        assert await storage.take_attempt([bucket]) == 0
        await storage.return_attempt([bucket])
    assert await storage.take_attempt([bucket]) == 0
    assert await storage.take_attempt([bucket]) > 0


async def test_a_session_ends_by_sign_out_and_by_time(storage: Storage) -> None:
    user = await add_user(storage)
    await storage.add_session(b"one", user.subject, device="Firefox", lifetime_seconds=100)
    await storage.add_session(b"two", user.subject, device="Firefox", lifetime_seconds=MOMENT)
    found = await storage.get_session(b"one")
    assert found is not None
    assert found.user_name == "alice"
    await storage.end_session(b"one")
    await asyncio.sleep(2 * MOMENT)
    assert await storage.get_session(b"one") is None
    assert await storage.get_session(b"two") is None
    await storage.add_session(b"three", "nobody", device="Firefox", lifetime_seconds=100)
    assert await storage.get_session(b"three") is None


async def test_sessions_of_a_user_are_listed_and_ended_together(storage: Storage) -> None:
    user, other = await add_user(storage), await add_user(storage, "bob")
    for digest in (b"one", b"two", b"three"):
        await storage.add_session(digest, user.subject, device=digest.decode(), lifetime_seconds=100)
        await asyncio.sleep(0.002)
    await storage.add_session(b"past", user.subject, device="past", lifetime_seconds=0)
    await storage.add_session(b"foreign", other.subject, device="x", lifetime_seconds=100)
    listed = await storage.list_sessions(user.subject)
    assert [(session.digest, session.device) for session in listed] == [
        (b"one", "one"),
        (b"two", "two"),
        (b"three", "three"),
    ]
    await storage.end_sessions(user.subject, keep=b"two")
    assert [session.digest for session in await storage.list_sessions(user.subject)] == [b"two"]
    await storage.end_sessions(user.subject)
    assert await storage.list_sessions(user.subject) == []
    assert await storage.get_session(b"foreign") is not None


# ------------------------------------------------------------------- requests, codes, access tokens


async def test_consent_is_recalled_for_the_same_and_for_less(storage: Storage) -> None:
    await add_client(storage)
    user = await add_user(storage)
    for seconds in (0, MOMENT, 100):
        assert not await storage.recall_consent(REQUEST, subject=user.subject)
        code = new_seed()
        assert await storage.create_grant(
            await add_request(storage),
            subject=user.subject,
            scopes=("read", "write"),
            grant_seconds=1000,
            code=code,
            code_seconds=100,
            remember_seconds=seconds,
        )
        await asyncio.sleep(2 * MOMENT)
    assert await storage.recall_consent(REQUEST, subject=user.subject)
    assert await storage.recall_consent(replace(REQUEST, scopes=("read",)), subject=user.subject)
    for change in (
        {"scopes": ("read", "admin")},
        {"redirect_uri": "http://127.0.0.1:1235/cb"},
        {"resource": "https://example.com/other"},
        {"client_id": "other"},
    ):
        assert not await storage.recall_consent(replace(REQUEST, **change), subject=user.subject)
    assert not await storage.recall_consent(REQUEST, subject="nobody")
    for grant in await storage.list_grants():
        await storage.revoke_grant(grant.grant_id)
    assert not await storage.recall_consent(REQUEST, subject=user.subject)


async def test_grants_are_listed_for_one_user_or_for_all(storage: Storage) -> None:
    user, _ = await granted(storage)
    other = await add_user(storage, "bob")
    await new_code(storage, other)
    assert {grant.subject for grant in await storage.list_grants()} == {user.subject, other.subject}
    [grant] = await storage.list_grants(other.subject)
    assert grant.user_name == "bob"


async def test_a_request_is_read_often_and_taken_once(storage: Storage) -> None:
    """Attack 7: finish one request many times at once. Source: RFC 9700 4.7."""
    await add_client(storage)
    digest = await add_request(storage)
    assert await storage.get_authorization_request(digest) == REQUEST
    takes = await asyncio.gather(*(storage.take_authorization_request(digest) for _ in range(20)))
    assert [taken for taken in takes if taken] == [REQUEST]
    assert await storage.get_authorization_request(digest) is None


async def test_consent_given_and_refused_at_once_has_one_outcome(storage: Storage) -> None:
    """Attack 7: answer one consent both ways at once. Source: threat model."""
    await add_client(storage)
    user = await add_user(storage)
    for _ in range(10):
        digest = await add_request(storage)
        give = storage.create_grant(
            digest,
            subject=user.subject,
            scopes=("read",),
            grant_seconds=100,
            code=new_seed(),
            code_seconds=100,
        )
        outcomes = await asyncio.gather(give, storage.take_authorization_request(digest))
        assert [outcome for outcome in outcomes if outcome] == [REQUEST]


async def test_requests_expire_and_are_limited_for_each_address(storage: Storage) -> None:
    """Attack 22: fill the store with requests that nobody finishes. Source: threat model."""
    await add_client(storage)
    first = await add_request(storage)
    stored = await storage.add_authorization_request(b"second", REQUEST, lifetime_seconds=100, limit=1)
    assert not stored
    assert await storage.take_authorization_request(first) == REQUEST
    digest = await add_request(storage, seconds=MOMENT)
    await asyncio.sleep(2 * MOMENT)
    assert await storage.get_authorization_request(digest) is None
    assert await storage.take_authorization_request(digest) is None
    assert await storage.add_authorization_request(b"third", REQUEST, lifetime_seconds=100, limit=1)


async def test_a_code_is_loaded_spent_or_not_until_it_expires(storage: Storage) -> None:
    await add_client(storage)
    user = await add_user(storage)
    code = await new_code(storage, user)
    before = await storage.get_code(code)
    assert before is not None
    assert before.code_challenge == "challenge"
    assert isinstance(await redeem(storage, code), Redeemed)
    assert await storage.get_code(code) == before
    brief, spent = [await new_code(storage, user, code_seconds=MOMENT) for _ in range(2)]
    await redeem(storage, spent)
    await asyncio.sleep(2 * MOMENT)
    assert await storage.get_code(brief) is None
    assert await storage.get_code(spent) is None


async def test_an_expired_code_redeems_nothing(storage: Storage) -> None:
    """Attack 13: redeem a code after its time. Source: RFC 6749 4.1.2."""
    await add_client(storage)
    code = await new_code(storage, await add_user(storage), code_seconds=MOMENT)
    await asyncio.sleep(2 * MOMENT)
    assert await redeem(storage, code) == Gone()


async def test_of_a_hundred_redemptions_one_wins_and_its_grant_is_dead(storage: Storage) -> None:
    """Attack 13: one code redeemed a hundred times at once. Source: RFC 9700 2.1.1."""
    await add_client(storage)
    user = await add_user(storage)
    code = await new_code(storage, user)
    attempts = [new_tokens() for _ in range(100)]
    verdicts = await asyncio.gather(*(redeem(storage, code, tokens) for tokens in attempts))
    assert sum(isinstance(verdict, Redeemed) for verdict in verdicts) == 1
    assert sum(isinstance(verdict, Replayed) for verdict in verdicts) == 1
    assert sum(isinstance(verdict, Gone) for verdict in verdicts) == 98
    for tokens in attempts:
        assert not await lives(storage, tokens)


async def test_the_same_attempt_again_learns_that_it_had_won(storage: Storage) -> None:
    await add_client(storage)
    code = await new_code(storage, await add_user(storage))
    tokens, attempt = new_tokens(), new_seed()
    first = await redeem(storage, code, tokens, attempt=attempt)
    assert isinstance(first, Redeemed)
    assert await redeem(storage, code, tokens, attempt=attempt) == first
    assert await lives(storage, tokens)


async def test_redeeming_marks_the_client_as_used(storage: Storage) -> None:
    await granted(storage)
    client = await storage.get_client("client")
    assert client is not None
    assert client.completed_at is not None


async def test_an_access_token_says_what_was_granted(storage: Storage) -> None:
    user, tokens = await granted(storage)
    assert tokens.access
    found = await storage.get_access_token(tokens.access)
    assert found is not None
    assert (found.subject, found.user_name, found.client_id) == (user.subject, "alice", "client")
    assert (found.scopes, found.resource) == (("read",), REQUEST.resource)


async def test_access_tokens_end_with_their_time_and_with_their_grant(storage: Storage) -> None:
    await add_client(storage)
    user = await add_user(storage)
    brief = Lifetimes(access_token_seconds=MOMENT, refresh_token_seconds=100)
    for grant_seconds, lifetimes, lives_on in ((100, LONG, True), (100, brief, False), (MOMENT, LONG, False)):
        code = await new_code(storage, user, grant_seconds=grant_seconds)
        tokens = new_tokens()
        assert tokens.access
        await redeem(storage, code, tokens, lifetimes=lifetimes)
        await asyncio.sleep(2 * MOMENT)
        assert (await storage.get_access_token(tokens.access) is not None) == lives_on


async def test_digests_of_other_kinds_of_record_open_nothing(storage: Storage) -> None:
    """Attack 13, 20: use one kind of value as another. Source: Keycloak CVE-2026-4282."""
    _, tokens = await granted(storage)
    assert tokens.access
    assert tokens.refresh
    assert await storage.get_access_token(tokens.refresh) is None
    assert await storage.get_refresh_token(tokens.access) is None
    assert await storage.get_code(tokens.access) is None


# ------------------------------------------------------------------------------------ refresh tokens


@pytest.mark.parametrize("uses", [10, 100])
async def test_parallel_rotations_all_get_the_one_first_salt(storage: Storage, uses: int) -> None:
    """Attack 16: one refresh token used ten and a hundred times at once. Source: RFC 9700 4.14.2."""
    _, tokens = await granted(storage)
    assert tokens.refresh
    attempts = [(new_seed(), new_tokens()) for _ in range(uses)]
    verdicts = await asyncio.gather(
        *(rotate(storage, tokens.refresh, new, salt=salt) for salt, new in attempts)
    )
    rotated = [verdict for verdict in verdicts if isinstance(verdict, Rotated)]
    assert len(rotated) == uses
    [salt] = {verdict.salt for verdict in rotated}
    assert sum(not verdict.repeated for verdict in rotated) == 1
    assert len({verdict.issued for verdict in rotated}) == 1
    living = [new for mine, new in attempts if await storage.get_refresh_token(new.refresh or b"")]
    assert living == [new for mine, new in attempts if mine == salt]


async def test_a_spent_token_gets_its_own_successor_even_if_that_is_spent(storage: Storage) -> None:
    """Attack 16: a late repeat of an older token, inside its window. Source: RFC 9700 4.14.2."""
    _, first = await granted(storage)
    second = new_tokens()
    assert first.refresh
    assert second.refresh
    one = await rotate(storage, first.refresh, second)
    two = await rotate(storage, second.refresh)
    again = await rotate(storage, first.refresh)
    assert isinstance(one, Rotated)
    assert isinstance(two, Rotated)
    assert isinstance(again, Rotated)
    assert again.repeated
    assert again.salt == one.salt != two.salt


async def test_the_same_salt_again_learns_that_it_had_won_even_after_the_window(storage: Storage) -> None:
    """A connection that was lost at commit must not make the first use look like theft."""
    _, first = await granted(storage)
    assert first.refresh
    second, salt = new_tokens(), new_seed()
    one = await rotate(storage, first.refresh, second, salt=salt, replay_seconds=0)
    await asyncio.sleep(MOMENT)
    assert await rotate(storage, first.refresh, second, salt=salt, replay_seconds=0) == one
    assert await lives(storage, second)


async def test_reuse_after_the_window_revokes_the_grant(storage: Storage) -> None:
    """Attack 16: use a stolen refresh token after its owner did. Source: RFC 9700 4.14.2."""
    user, first = await granted(storage)
    second = new_tokens()
    assert first.refresh
    await rotate(storage, first.refresh, second)
    await asyncio.sleep(MOMENT)
    verdict = await rotate(storage, first.refresh, replay_seconds=MOMENT / 10)
    assert isinstance(verdict, Reused)
    assert verdict.subject == user.subject
    assert not await lives(storage, second)
    assert not await lives(storage, first)


async def test_a_revoked_grant_answers_no_repeat(storage: Storage) -> None:
    """Attack 16: repeat a refresh after the grant was revoked. Source: RFC 7009 2.1."""
    _, first = await granted(storage)
    second = new_tokens()
    assert first.refresh
    await rotate(storage, first.refresh, second)
    [grant] = await storage.list_grants()
    assert await storage.revoke_grant(grant.grant_id)
    assert await rotate(storage, first.refresh) == Gone()
    assert not await lives(storage, second)
    assert not await storage.revoke_grant(grant.grant_id)
    assert await storage.list_grants() == []


@pytest.mark.parametrize("way", ["revoke", "reuse", "replay", "disable", "delete", "remove", "remove late"])
async def test_a_grant_that_ended_before_its_tokens_is_told(storage: Storage, way: str) -> None:
    """Formats that are checked without the storage follow this list, whatever ended the grant."""
    await add_client(storage)
    user = await add_user(storage)
    code, first = await new_code(storage, user), new_tokens()
    redeemed = await redeem(storage, code, first)
    assert isinstance(redeemed, Redeemed)
    grant_id, until = redeemed.issued.grant_id, redeemed.issued.expires_at
    assert first.refresh
    if way == "remove late":
        longer = await rotate(storage, first.refresh, lifetimes=Lifetimes(1500, 2000))
        assert isinstance(longer, Rotated)
        until = longer.issued.expires_at
    assert await storage.list_revocations(None) == []
    match way:
        case "revoke":
            await storage.revoke_grant(grant_id)
        case "reuse":
            await rotate(storage, first.refresh)
            await asyncio.sleep(MOMENT)
            await rotate(storage, first.refresh, replay_seconds=0)
        case "replay":
            await redeem(storage, code)
        case "disable":
            await storage.disable_user("alice")
        case "delete":
            await storage.delete_user("alice")
        case "remove" | "remove late":
            await storage.remove_client("client")
    [told] = await storage.list_revocations(None)
    assert told.grant_id == grant_id
    assert told.until >= until
    assert await storage.list_revocations(100) == [told]
    await asyncio.sleep(2 * MOMENT)
    assert await storage.list_revocations(MOMENT) == []


async def test_a_grant_that_outlived_its_tokens_is_not_told(storage: Storage) -> None:
    await add_client(storage)
    code = await new_code(storage, await add_user(storage))
    verdict = await redeem(storage, code, lifetimes=Lifetimes(MOMENT, 100))
    assert isinstance(verdict, Redeemed)
    await asyncio.sleep(2 * MOMENT)
    assert await storage.revoke_grant(verdict.issued.grant_id)
    assert await storage.list_revocations(None) == []


async def test_a_rotation_racing_a_revocation_yields_dead_tokens(storage: Storage) -> None:
    """Attack 16: a refresh slips past a revocation. Source: RFC 7009 2.1."""
    await add_client(storage)
    user = await add_user(storage)
    for _ in range(10):
        first, second = new_tokens(), new_tokens()
        assert first.refresh
        verdict = await redeem(storage, await new_code(storage, user), first)
        assert isinstance(verdict, Redeemed)
        await asyncio.gather(
            rotate(storage, first.refresh, second),
            storage.revoke_grant(verdict.issued.grant_id),
            rotate(storage, first.refresh, second),
        )
        assert not await lives(storage, second)


async def test_refresh_tokens_expire_and_never_outlive_the_grant(storage: Storage) -> None:
    """Attack 16: refresh for ever. Source: RFC 9700 4.14.2."""
    await add_client(storage)
    user = await add_user(storage)
    tokens = new_tokens()
    assert tokens.refresh
    await redeem(storage, await new_code(storage, user, grant_seconds=1), tokens)
    found = await storage.get_refresh_token(tokens.refresh)
    [grant] = await storage.list_grants()
    assert found is not None
    assert found.expires_at == grant.expires_at
    brief = new_tokens()
    assert brief.refresh
    await rotate(storage, tokens.refresh, brief, lifetimes=Lifetimes(MOMENT, MOMENT))
    await asyncio.sleep(2 * MOMENT)
    assert await storage.get_refresh_token(brief.refresh) is None
    assert await rotate(storage, brief.refresh) == Gone()


async def test_another_access_token_of_a_grant_is_stored_once(storage: Storage) -> None:
    _, tokens = await granted(storage)
    assert tokens.access
    first = await storage.get_access_token(tokens.access)
    assert first is not None
    for _ in range(2):
        await storage.add_access_token(
            b"narrow", grant_id=first.grant_id, scopes=(), expires_at=first.expires_at
        )
    narrow = await storage.get_access_token(b"narrow")
    assert narrow is not None
    assert narrow.scopes == ()


async def test_a_grant_without_refresh_tokens_has_none(storage: Storage) -> None:
    await add_client(storage)
    code = await new_code(storage, await add_user(storage))
    only_access = NewTokens(access=new_seed(), refresh=None)
    assert isinstance(await redeem(storage, code, only_access), Redeemed)
    assert await storage.get_access_token(only_access.access or b"") is not None


# --------------------------------------------------------------------------------------------- purge


async def purge(storage: Storage, **options: Any) -> int:
    chosen = {
        "limit": 100,
        "replay_seconds": 60,
        "unused_seconds": 3600,
        "idle_seconds": None,
    }
    return await storage.purge(**chosen | options)


async def test_purge_takes_the_expired_and_leaves_the_living(storage: Storage) -> None:
    user, tokens = await granted(storage)
    for number in range(5):
        await storage.add_session(
            str(number).encode(), user.subject, device="Firefox", lifetime_seconds=MOMENT
        )
    await storage.take_attempt([Bucket(b"old", 1, MOMENT)])
    await asyncio.sleep(2 * MOMENT)
    assert await purge(storage, limit=2) == 3  # two sessions and the bucket
    assert await purge(storage) == 3
    assert await purge(storage) == 0
    assert await lives(storage, tokens)


async def test_purge_takes_salts_after_the_window_and_keeps_the_spent_token(
    storage: Storage,
) -> None:
    _, tokens = await granted(storage)
    assert tokens.refresh
    await rotate(storage, tokens.refresh)
    await asyncio.sleep(MOMENT)
    assert await purge(storage, replay_seconds=MOMENT / 10) == 1
    assert isinstance(await rotate(storage, tokens.refresh), Reused)


async def test_purge_takes_unused_clients_but_no_used_and_no_waiting_one(storage: Storage) -> None:
    """Attack 22: leave registrations behind that nobody uses. Source: RFC 7591 5."""
    await granted(storage)
    await add_client(storage, new_client("unused"))
    await add_client(storage, Client("waiting", new_client().metadata, None, "", 0, None, None))
    await asyncio.sleep(MOMENT)
    assert await purge(storage, unused_seconds=MOMENT / 10) == 1
    left = {client.client_id for client in await storage.list_clients()}
    assert left == {"client", "waiting"}


async def test_purge_takes_idle_clients_only_where_that_is_set(storage: Storage) -> None:
    _, tokens = await granted(storage)
    await asyncio.sleep(MOMENT)
    assert await purge(storage, idle_seconds=3600) == 0
    assert await purge(storage, idle_seconds=MOMENT / 10) == 1
    assert not await lives(storage, tokens)


async def test_the_engine_answers_when_asked_whether_it_can_write(storage: Storage) -> None:
    await storage.ping()


async def test_the_engine_tells_its_time(storage: Storage) -> None:
    assert abs(await storage.now() - time.time()) < 600


# -------------------------------------------------------------------------------------------- backup


Dump = list[tuple[str, Row]]


async def full(storage: Storage) -> NewTokens:
    """Store a record of each sort; return the tokens that are alive."""
    user, tokens = await granted(storage)
    await storage.remember("fact", b"\x00\xff")
    await add_client(storage, Client("odd", {"redirect_uris": ODD_TEXTS}, b"\x00", "::", 0, None, None))
    await storage.add_invitation(b"first", "bob", scopes=("*",), lifetime_seconds=100)
    await storage.add_session(b"session", user.subject, device="Firefox", lifetime_seconds=100)
    await storage.add_ticket(b"ticket", b"value", lifetime_seconds=100)
    await storage.take_attempt([Bucket(b"bucket", 5, 100)])
    await add_request(storage)
    ended = await redeem(storage, await new_code(storage, user))
    assert isinstance(ended, Redeemed)
    await storage.revoke_grant(ended.issued.grant_id)
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


async def test_a_dump_holds_every_sort_of_record_with_all_its_columns(storage: Storage) -> None:
    await full(storage)
    dump = await dumped(storage)
    assert list(dict.fromkeys(table for table, _ in dump)) == list(TABLES)
    for table, row in dump:
        assert list(row) == list(TABLES[table])
        for name, value in row.items():
            assert value is None or type(value) is TABLES[table][name], (table, name)


async def test_what_is_filled_in_is_what_was_dumped_and_alive(storage: Storage, engine: Engine) -> None:
    tokens = await full(storage)
    dump = await dumped(storage)
    other: Storage = choices.storage.create(Settings.model_validate(new_store(engine)))
    await other.open()
    await other.remember("fact", b"own")
    await other.fill(again(dump))
    assert await other.recall("fact") == b"own"
    assert records(await dumped(other)) == records(dump)
    assert await lives(other, tokens)
    await other.close()


async def test_only_an_empty_store_is_filled_and_wholly_or_not_at_all(
    storage: Storage, engine: Engine
) -> None:
    await full(storage)
    dump = await dumped(storage)
    with pytest.raises(NotEmpty):
        await storage.fill(again(dump))
    assert records(await dumped(storage)) == records(dump)

    async def torn() -> AsyncIterator[tuple[str, Row]]:
        for entry in dump[:-1]:
            yield entry
        raise ValueError("the backup ends early")

    other: Storage = choices.storage.create(Settings.model_validate(new_store(engine)))
    await other.open()
    with pytest.raises(ValueError, match="early"):
        await other.fill(torn())
    assert records(await dumped(other)) == []
    await other.fill(again(dump))
    await other.close()
