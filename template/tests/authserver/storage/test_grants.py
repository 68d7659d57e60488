"""The beginning of a grant: requests, consent, codes, access tokens."""

import asyncio
from dataclasses import replace

import pytest

from authserver.crypto.secret_values import new_seed
from authserver.storage import Storage
from authserver.storage.verdicts import Gone, Lifetimes, Redeemed, Replayed
from storage import (
    LONG,
    MOMENT,
    REQUEST,
    add_client,
    add_request,
    add_user,
    granted,
    lives,
    new_client,
    new_code,
    new_tokens,
    redeem,
    sign_in,
)

pytestmark = pytest.mark.anyio


async def test_consent_is_recalled_for_the_same_and_for_less(storage: Storage) -> None:
    await add_client(storage)
    user = await add_user(storage)
    session = await sign_in(storage, user)
    for seconds in (0, MOMENT, 100):
        assert not await storage.grants.recall_consent(REQUEST, subject=user.subject)
        code = new_seed()
        assert await storage.grants.create(
            await add_request(storage),
            session=session,
            scopes=("read", "write"),
            grant_seconds=1000,
            code=code,
            code_seconds=100,
            remember_seconds=seconds,
        )
        await asyncio.sleep(2 * MOMENT)
    assert await storage.grants.recall_consent(REQUEST, subject=user.subject)
    assert await storage.grants.recall_consent(replace(REQUEST, scopes=("read",)), subject=user.subject)
    for change in (
        {"scopes": ("read", "admin")},
        {"redirect_uri": "http://127.0.0.1:1235/cb"},
        {"resource": "https://example.com/other"},
        {"client_id": "other"},
    ):
        assert not await storage.grants.recall_consent(replace(REQUEST, **change), subject=user.subject)
    assert not await storage.grants.recall_consent(REQUEST, subject="nobody")
    for grant in await storage.grants.all():
        await storage.grants.revoke(grant.grant_id)
    assert not await storage.grants.recall_consent(REQUEST, subject=user.subject)


async def test_grants_are_listed_for_one_user_or_for_all(storage: Storage) -> None:
    user, _ = await granted(storage)
    other = await add_user(storage, "bob")
    await new_code(storage, other)
    assert {grant.subject for grant in await storage.grants.all()} == {user.subject, other.subject}
    [grant] = await storage.grants.all(other.subject)
    assert grant.user_name == "bob"


async def test_a_request_is_read_often_and_taken_once(storage: Storage) -> None:
    """Attack 7: finish one request many times at once. Source: RFC 9700 4.7."""
    await add_client(storage)
    digest = await add_request(storage)
    assert await storage.grants.get_request(digest) == REQUEST
    takes = await asyncio.gather(*(storage.grants.take_request(digest) for _ in range(20)))
    assert [taken for taken in takes if taken] == [REQUEST]
    assert await storage.grants.get_request(digest) is None


async def test_consent_given_and_refused_at_once_has_one_outcome(storage: Storage) -> None:
    """Attack 7: answer one consent both ways at once. Source: threat model."""
    await add_client(storage)
    session = await sign_in(storage, await add_user(storage))
    for _ in range(10):
        digest = await add_request(storage)
        give = storage.grants.create(
            digest,
            session=session,
            scopes=("read",),
            grant_seconds=100,
            code=new_seed(),
            code_seconds=100,
        )
        outcomes = await asyncio.gather(give, storage.grants.take_request(digest))
        assert [outcome for outcome in outcomes if outcome] == [REQUEST]


async def test_requests_expire(storage: Storage) -> None:
    await add_client(storage)
    digest = await add_request(storage, seconds=MOMENT)
    await asyncio.sleep(2 * MOMENT)
    assert await storage.grants.get_request(digest) is None
    assert await storage.grants.take_request(digest) is None


async def waiting(storage: Storage, client_id: str, *digests: bytes, limit: int) -> list[bytes]:
    """Add requests of a client, from the same address; return which of these are there then."""
    for digest in digests:
        request = replace(REQUEST, client_id=client_id)
        assert await storage.grants.add_request(digest, request, lifetime_seconds=100, limit=limit)
    return [digest for digest in digests if await storage.grants.get_request(digest)]


async def test_requests_are_limited_for_each_address_and_shared_by_its_clients(storage: Storage) -> None:
    """Attack 22, 32: fill the store with requests that nobody finishes. Source: threat model."""
    for name in ("quiet", "loud"):
        await add_client(storage, new_client(name))
    loud, again, quiet = [new_seed() for _ in range(4)], new_seed(), new_seed()
    assert await waiting(storage, "loud", *loud, limit=3) == [loud[0], loud[1], loud[3]]
    assert await waiting(storage, "quiet", quiet, limit=3) == [quiet]
    assert await waiting(storage, "loud", again, limit=3) == [again]
    assert [await storage.grants.get_request(digest) is not None for digest in (*loud, quiet)] == [
        *(True, False, False, False, True)
    ]
    elsewhere = replace(REQUEST, client_id="loud", address="198.51.100.1")
    assert await storage.grants.add_request(b"elsewhere", elsewhere, lifetime_seconds=100, limit=3)
    assert await storage.grants.get_request(quiet) is not None


async def test_a_request_of_a_client_that_is_gone_is_not_stored(storage: Storage) -> None:
    assert not await storage.grants.add_request(b"late", REQUEST, lifetime_seconds=100, limit=1)


async def test_a_code_is_loaded_spent_or_not_until_it_expires(storage: Storage) -> None:
    await add_client(storage)
    user = await add_user(storage)
    code = await new_code(storage, user)
    before = await storage.grants.get_code(code)
    assert before is not None
    assert before.code_challenge == "challenge"
    assert isinstance(await redeem(storage, code), Redeemed)
    assert await storage.grants.get_code(code) == before
    brief, spent = [await new_code(storage, user, code_seconds=MOMENT) for _ in range(2)]
    await redeem(storage, spent)
    await asyncio.sleep(2 * MOMENT)
    assert await storage.grants.get_code(brief) is None
    assert await storage.grants.get_code(spent) is None


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
    client = await storage.clients.get("client")
    assert client is not None
    assert client.completed_at is not None


async def test_an_access_token_says_what_was_granted(storage: Storage) -> None:
    user, tokens = await granted(storage)
    assert tokens.access
    found = await storage.grants.get_access_token(tokens.access)
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
        assert (await storage.grants.get_access_token(tokens.access) is not None) == lives_on


async def test_digests_of_other_kinds_of_record_open_nothing(storage: Storage) -> None:
    """Attack 13, 20: use one kind of value as another. Source: Keycloak CVE-2026-4282."""
    _, tokens = await granted(storage)
    assert tokens.access
    assert tokens.refresh
    assert await storage.grants.get_access_token(tokens.refresh) is None
    assert await storage.grants.get_refresh_token(tokens.access) is None
    assert await storage.grants.get_code(tokens.access) is None
