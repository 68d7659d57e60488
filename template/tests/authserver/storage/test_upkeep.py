"""The purge, and backups: what goes, what stays, what comes back."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from conftest import new_store
from engines import Engine

from authserver import choices
from authserver.all_settings import Settings
from authserver.model.records import Client
from authserver.storage import Storage
from authserver.storage.errors import NotEmpty
from authserver.storage.sign_ins import Bucket
from authserver.storage.tables import TABLES, Row
from authserver.storage.verdicts import Reused
from storage import (
    MOMENT,
    add_client,
    again,
    dumped,
    full,
    granted,
    lives,
    new_client,
    purge,
    records,
    rotate,
    sign_in,
)

pytestmark = pytest.mark.anyio


async def test_purge_takes_the_expired_and_leaves_the_living(storage: Storage) -> None:
    user, tokens = await granted(storage)
    for number in range(5):
        await sign_in(storage, user, str(number).encode(), seconds=MOMENT)
    await storage.sign_ins.take_attempt([Bucket(b"old", 1, MOMENT)])
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


async def test_purge_takes_unused_clients_and_waiting_ones_but_no_used_one(storage: Storage) -> None:
    """Attack 22: leave registrations behind that nobody uses. Source: RFC 7591 5."""
    await granted(storage)
    await add_client(storage, new_client("unused"))
    await add_client(storage, Client("waiting", new_client().metadata, None, "", 0, None, None))
    assert await purge(storage, unused_seconds=100) == 0
    await asyncio.sleep(MOMENT)
    assert await purge(storage, unused_seconds=MOMENT / 10) == 2
    left = {client.client_id for client in await storage.clients.all()}
    assert left == {"client"}


async def test_purge_takes_idle_clients_only_where_that_is_set(storage: Storage) -> None:
    _, tokens = await granted(storage)
    await asyncio.sleep(MOMENT)
    assert await purge(storage, idle_seconds=3600) == 0
    assert await purge(storage, idle_seconds=MOMENT / 10) == 1  # its grants went before
    assert not await lives(storage, tokens)


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
    await other.facts.remember("fact", b"own")
    await other.fill(again(dump))
    assert await other.facts.recall("fact") == b"own"
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
