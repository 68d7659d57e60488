"""Clients, users and grants that go: their access first, all at once, then what is left, in batches."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from authserver import limits
from authserver.storage import Storage
from authserver.storage.tables import HANGING
from authserver.storage.verdicts import Gone
from storage import MOMENT, add_client, again, dumped, granted, lives, new_client, new_tokens, purge, rotate

pytestmark = pytest.mark.anyio

GOING = {
    "client": lambda storage: storage.clients.remove("client"),
    "user": lambda storage: storage.users.delete("alice"),
}
Going = Callable[[Storage], Awaitable[bool]]


async def spent(storage: Storage, count: int) -> bytes:
    """A grant with so many spent refresh tokens, as 0.2.0 left them; return its refresh token."""
    _, tokens = await granted(storage)
    for _ in range(count):
        tokens, before = new_tokens(), tokens
        await rotate(storage, before.refresh or b"", tokens)
    return tokens.refresh or b""


async def left(storage: Storage) -> dict[str, int]:
    count = Counter([table for table, _ in await dumped(storage)])
    return {table: count[table] for table in ("grants", *HANGING)}


@pytest.mark.parametrize("going", GOING.values(), ids=GOING)
async def test_whoever_goes_leaves_nothing_behind(storage: Storage, going: Going) -> None:
    await spent(storage, 5)
    assert await going(storage)
    assert set((await left(storage)).values()) == {0}
    assert not await going(storage)


@pytest.mark.parametrize("going", GOING.values(), ids=GOING)
async def test_an_interrupted_removal_leaves_nothing_usable(
    storage: Storage, going: Going, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 32: let others wait for the removal of a million spent tokens. Source: fault 14 of 0.2.0."""
    monkeypatch.setattr(limits, "PURGE_RECORDS", 2)
    monkeypatch.setattr(limits, "SWEEP_PAUSE_SECONDS", None)  # it dies between two batches
    token = await spent(storage, 9)
    before = await left(storage)
    with pytest.raises(TypeError):
        await going(storage)
    partly = await left(storage)
    assert before["refresh_tokens"] > partly["refresh_tokens"] > 0
    assert partly["grants"] == 1
    assert await storage.grants.all() == []
    assert isinstance(await rotate(storage, token), Gone)
    monkeypatch.setattr(limits, "SWEEP_PAUSE_SECONDS", 0)
    assert await going(storage)
    assert set((await left(storage)).values()) == {0}


async def test_a_removal_harms_nobody_else(storage: Storage) -> None:
    _, tokens = await granted(storage)
    await add_client(storage, new_client("other"))
    assert await storage.clients.remove("other")
    assert not await storage.clients.remove("other")
    assert not await storage.users.delete("nobody")
    assert await lives(storage, tokens)


async def test_a_purge_takes_a_grant_only_after_all_that_hangs_off_it(storage: Storage) -> None:
    """Nothing cascades over thousands of rows; in the end all is gone."""
    await spent(storage, 9)
    now = await storage.now()
    dump = [
        (table, row | {"expires_at": now}) if "expires_at" in row else (table, row)
        for table, row in await dumped(storage)
        if table in ("clients", "users", "grants", *HANGING)
    ]
    assert await storage.clients.remove("client")
    assert await storage.users.delete("alice")
    await storage.fill(again(dump))
    assert (await left(storage))["refresh_tokens"] == 10
    passes = 0
    while await purge(storage, limit=2):
        here = await left(storage)
        assert here["grants"] or not any(here.values())
        passes += 1
    assert passes >= 3
    assert set((await left(storage)).values()) == {0}


async def test_an_idle_client_goes_with_all_that_hangs_off_it(storage: Storage) -> None:
    await spent(storage, 5)
    await asyncio.sleep(MOMENT)
    assert await purge(storage, idle_seconds=MOMENT / 10) >= 1
    assert await storage.clients.get("client") is None
    assert set((await left(storage)).values()) == {0}
