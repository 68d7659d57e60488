"""Clients: stored, approved, making room, removed with all that hangs off them."""

import asyncio
import json
from dataclasses import replace

import pytest

from authserver.model.records import Client
from authserver.storage import Storage
from storage import MOMENT, ODD_TEXTS, add_client, granted, lives, new_client

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_a_client_comes_back_as_it_was_stored(storage: Storage, text: str) -> None:
    client = new_client(client_name=text)
    assert await add_client(storage, client)
    found = await storage.clients.get("client")
    assert found is not None
    assert json.dumps(found.metadata) == json.dumps(client.metadata)
    assert (found.approved_at is not None, found.completed_at) == (True, None)
    assert await storage.clients.get("other") is None
    assert [listed.client_id for listed in await storage.clients.all()] == ["client"]


async def test_the_oldest_unused_client_of_the_heaviest_address_makes_room(
    storage: Storage,
) -> None:
    """Attack 22: fill the store with registrations, so that nobody else fits in. Source: RFC 7591 5."""
    for number, address in enumerate(["light", "heavy", "heavy"]):
        await add_client(storage, new_client(f"client-{number}", address))
    assert not await add_client(storage, new_client("late"), unused_limit=3)
    await asyncio.sleep(MOMENT)
    assert await add_client(storage, new_client("late"), unused_limit=3, unused_age_seconds=0.01)
    left = {client.client_id for client in await storage.clients.all()}
    assert left == {"client-0", "client-2", "late"}


async def test_a_client_that_is_stored_again_stays_as_it_is(storage: Storage) -> None:
    assert await add_client(storage)
    before = await storage.clients.get("client")
    assert await add_client(storage, new_client(address="elsewhere"), unused_limit=1)
    assert await storage.clients.get("client") == before


async def test_a_client_that_redeemed_a_code_never_makes_room(storage: Storage) -> None:
    """Attack 22: push a client that is used out of the store.
    Source: VS Code and Codex never register again.
    """
    await granted(storage)
    assert await add_client(storage, new_client("second"), unused_limit=1)
    await asyncio.sleep(MOMENT)
    assert await add_client(storage, new_client("third"), unused_limit=1, unused_age_seconds=0.01)
    assert await storage.clients.get("client") is not None


async def test_a_waiting_client_can_be_approved(storage: Storage) -> None:
    waiting = new_client()
    await add_client(storage, Client("waiting", waiting.metadata, None, "192.0.2.1", 0, None, None))
    found = await storage.clients.get("waiting")
    assert found is not None
    assert found.approved_at is None
    assert await storage.clients.approve("waiting")
    found = await storage.clients.get("waiting")
    assert found is not None
    assert found.approved_at is not None
    assert not await storage.clients.approve("unknown")


async def test_a_client_is_vouched_for_by_the_operator_only(storage: Storage) -> None:
    """Attack 33: be taken for an app that the operator knows, by registering or by being used.
    Source: RFC 9700 4.11.2.
    """

    async def vouched_for(client_id: str) -> bool:
        found = await storage.clients.get(client_id)
        assert found is not None
        return found.vouched_for

    await granted(storage)  # registered, allowed and used
    waiting = Client("waiting", new_client().metadata, None, "192.0.2.1", 0, None, None)
    for client in (waiting, replace(waiting, client_id="added", approved_at=0, completed_at=0)):
        await add_client(storage, client)
    told = {client_id: await vouched_for(client_id) for client_id in ("client", "waiting", "added")}
    assert told == {"client": False, "waiting": False, "added": True}
    for client_id in told:
        assert await storage.clients.approve(client_id)
        assert await vouched_for(client_id)


async def test_removing_a_client_ends_its_tokens(storage: Storage) -> None:
    _, tokens = await granted(storage)
    assert await storage.clients.remove("client")
    assert not await lives(storage, tokens)
    assert not await storage.clients.remove("client")
