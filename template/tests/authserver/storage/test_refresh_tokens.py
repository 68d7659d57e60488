"""The life of a grant: rotation, repeats, reuse, and what ended before its time."""

import asyncio
import itertools

import pytest

from authserver.crypto.secret_values import new_seed
from authserver.storage import Storage
from authserver.storage.sign_ins import Bucket
from authserver.storage.tables import Row
from authserver.storage.verdicts import Gone, Lifetimes, Limited, NewTokens, Redeemed, Reused, Rotated
from storage import MOMENT, add_client, add_user, granted, lives, new_code, new_tokens, redeem, rotate

pytestmark = pytest.mark.anyio


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
    living = [new for mine, new in attempts if await storage.grants.get_refresh_token(new.refresh or b"")]
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
    [grant] = await storage.grants.all()
    assert await storage.grants.revoke(grant.grant_id)
    assert await rotate(storage, first.refresh) == Gone()
    assert not await lives(storage, second)
    assert not await storage.grants.revoke(grant.grant_id)
    assert await storage.grants.all() == []


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
    before, nothing = await storage.grants.list_revocations(None)
    assert not nothing
    match way:
        case "revoke":
            await storage.grants.revoke(grant_id)
        case "reuse":
            await rotate(storage, first.refresh)
            await asyncio.sleep(MOMENT)
            await rotate(storage, first.refresh, replay_seconds=0)
        case "replay":
            await redeem(storage, code)
        case "disable":
            await storage.users.disable("alice")
        case "delete":
            await storage.users.delete("alice")
        case "remove" | "remove late":
            await storage.clients.remove("client")
    after, [told] = await storage.grants.list_revocations(None)
    assert told.grant_id == grant_id
    assert told.until >= until
    assert after >= before
    assert (await storage.grants.list_revocations(before))[1] == [told]
    await asyncio.sleep(MOMENT)
    after, _ = await storage.grants.list_revocations(None)
    assert (await storage.grants.list_revocations(after))[1] == []
    assert (await storage.grants.list_revocations(before))[1] == [told]


async def test_a_grant_that_outlived_its_tokens_is_not_told(storage: Storage) -> None:
    await add_client(storage)
    code = await new_code(storage, await add_user(storage))
    verdict = await redeem(storage, code, lifetimes=Lifetimes(MOMENT, 100))
    assert isinstance(verdict, Redeemed)
    await asyncio.sleep(2 * MOMENT)
    assert await storage.grants.revoke(verdict.issued.grant_id)
    assert (await storage.grants.list_revocations(None))[1] == []


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
            storage.grants.revoke(verdict.issued.grant_id),
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
    found = await storage.grants.get_refresh_token(tokens.refresh)
    [grant] = await storage.grants.all()
    assert found is not None
    assert found.expires_at == grant.expires_at
    brief = new_tokens()
    assert brief.refresh
    await rotate(storage, tokens.refresh, brief, lifetimes=Lifetimes(MOMENT, MOMENT))
    await asyncio.sleep(2 * MOMENT)
    assert await storage.grants.get_refresh_token(brief.refresh) is None
    assert await rotate(storage, brief.refresh) == Gone()


async def test_another_access_token_of_a_grant_is_stored_once(storage: Storage) -> None:
    _, tokens = await granted(storage)
    assert tokens.access
    first = await storage.grants.get_access_token(tokens.access)
    assert first is not None
    for _ in range(2):
        await storage.grants.add_access_token(
            b"narrow", grant_id=first.grant_id, scopes=(), expires_at=first.expires_at
        )
    narrow = await storage.grants.get_access_token(b"narrow")
    assert narrow is not None
    assert narrow.scopes == ()


async def test_a_grant_without_refresh_tokens_has_none(storage: Storage) -> None:
    await add_client(storage)
    code = await new_code(storage, await add_user(storage))
    only_access = NewTokens(access=new_seed(), refresh=None)
    assert isinstance(await redeem(storage, code, only_access), Redeemed)
    assert await storage.grants.get_access_token(only_access.access or b"") is not None


# ------------------------------------------------------------------------------ how often, and what is left


async def stored(storage: Storage) -> list[Row]:
    return [row async for table, row in storage.dump() if table == "refresh_tokens"]


async def test_a_grant_is_refreshed_so_often_and_nothing_is_lost(storage: Storage) -> None:
    """Attack 32: refresh without end. Source: fault 14, seen on 0.2.0.

    Repeats are free, another grant has a bucket of its own, and the token that had to wait is good.
    """
    _, tokens = await granted(storage)
    assert tokens.refresh
    few = Bucket(b"grant", 2, 100)
    salts = [new_seed() for _ in range(2)]
    chain = [tokens, new_tokens(), new_tokens()]
    for number, salt in enumerate(salts):
        verdict = await rotate(
            storage, chain[number].refresh or b"", chain[number + 1], salt=salt, bucket=few
        )
        assert isinstance(verdict, Rotated)
    limited = [await rotate(storage, chain[2].refresh or b"", bucket=few) for _ in range(3)]
    for verdict in limited:
        assert isinstance(verdict, Limited)
        assert 0 < verdict.wait_seconds <= 100
    repeated = await rotate(storage, chain[1].refresh or b"", bucket=few)
    assert isinstance(repeated, Rotated)
    assert (repeated.repeated, repeated.salt) == (True, salts[1])
    assert len(await stored(storage)) == 3
    other = await rotate(storage, chain[2].refresh or b"", bucket=Bucket(b"another", 2, 100))
    assert isinstance(other, Rotated)
    assert not other.repeated


async def test_no_limit_stores_nothing_that_a_clock_could_make_one(storage: Storage) -> None:
    """A bucket that is there would be a limit for as long as the clock goes back."""
    _, tokens = await granted(storage)
    chain = [tokens, new_tokens(), new_tokens()]
    for spent, new in itertools.pairwise(chain):
        verdict = await rotate(storage, spent.refresh or b"", new, bucket=None)
        assert isinstance(verdict, Rotated)
        assert not verdict.repeated
    assert "buckets" not in [table async for table, _ in storage.dump()]


async def test_of_parallel_refreshes_one_is_counted(storage: Storage) -> None:
    """Attack 32: keep others from a grant by repeats. Source: fault 14."""
    _, tokens = await granted(storage)
    one = Bucket(b"grant", 1, 100)
    verdicts = await asyncio.gather(*(rotate(storage, tokens.refresh or b"", bucket=one) for _ in range(20)))
    assert all(isinstance(verdict, Rotated) for verdict in verdicts)


async def test_a_bounded_number_of_spent_tokens_is_kept(storage: Storage) -> None:
    """Attack 32: fill the storage with spent tokens. Source: fault 14, seen on 0.2.0."""
    _, tokens = await granted(storage)
    chain = [tokens]
    for _ in range(10):
        chain.append(new_tokens())
        await rotate(storage, chain[-2].refresh or b"", chain[-1], kept=2)
    assert len(await stored(storage)) == 11  # all are in the replay window
    for _ in range(10):
        await asyncio.sleep(0.01)
        chain.append(new_tokens())
        await rotate(storage, chain[-2].refresh or b"", chain[-1], kept=2, replay_seconds=0.001)
    left = {row["digest"] for row in await stored(storage)}
    assert left == {one.refresh for one in chain[-3:]}
    assert isinstance(await rotate(storage, chain[0].refresh or b""), Gone)
    assert isinstance(await rotate(storage, chain[-3].refresh or b"", replay_seconds=0), Reused)


async def test_a_forgotten_token_ends_its_grant_once_that_is_proven(storage: Storage) -> None:
    """Attack 16: reuse a token that was spent so long ago that it is forgotten. Source: RFC 9700 4.14.2."""
    user, tokens = await granted(storage)
    [grant] = await storage.grants.all()
    found = await storage.grants.get_forgotten(grant.grant_id)
    assert found is not None
    assert (found.client_id, found.subject, found.scopes) == ("client", user.subject, ("read",))
    # A reader that lags behind may take what is stored for forgotten.
    assert not await storage.grants.revoke_forgotten(tokens.refresh or b"", grant.grant_id)
    assert not await storage.grants.revoke_forgotten(new_seed(), "00000000-0000-4000-8000-000000000000")
    assert await lives(storage, tokens)
    assert await storage.grants.revoke_forgotten(new_seed(), grant.grant_id)
    assert await storage.grants.all() == []
    assert not await storage.grants.revoke_forgotten(new_seed(), grant.grant_id)
    assert await storage.grants.get_forgotten(grant.grant_id) is None


async def test_who_comes_back_too_late_has_stolen_nothing(storage: Storage) -> None:
    """The only token of the grant has run out, and was never spent."""
    await add_client(storage)
    user = await add_user(storage)
    brief = Lifetimes(access_token_seconds=1000, refresh_token_seconds=MOMENT)
    verdict = await redeem(storage, await new_code(storage, user), new_tokens(), lifetimes=brief)
    assert isinstance(verdict, Redeemed)
    await asyncio.sleep(MOMENT)
    assert await storage.grants.get_forgotten(verdict.issued.grant_id) is None
    assert not await storage.grants.revoke_forgotten(new_seed(), verdict.issued.grant_id)
    assert len(await storage.grants.all()) == 1
