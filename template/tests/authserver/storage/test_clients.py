"""Clients: stored, approved, making room, removed with all that hangs off them."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from authserver.model.records import Client
from authserver.requests.networks import WIDTHS, place
from authserver.storage import Storage
from storage import ODD_TEXTS, add_client, granted, lives, new_client

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_a_client_comes_back_as_it_was_stored(storage: Storage, text: str) -> None:
    client = new_client(client_name=text)
    await add_client(storage, client)
    found = await storage.clients.get("client")
    assert found is not None
    assert json.dumps(found.metadata) == json.dumps(client.metadata)
    assert (found.approved_at is not None, found.completed_at) == (True, None)
    assert await storage.clients.get("other") is None
    assert [listed.client_id for listed in await storage.clients.all()] == ["client"]


async def registered(storage: Storage) -> list[str]:
    """Return the ids of all clients."""
    return sorted(client.client_id for client in await storage.clients.all())


@pytest.mark.parametrize(
    ("addresses", "shares"),
    [
        (["2001:db8:0:1::/64"] * 6, (3, 10, 10, 10)),
        ([f"2001:db8:0:{number}::/64" for number in range(6)], (10, 3, 10, 10)),
        ([f"2001:db8:0:{number}00::/64" for number in range(6)], (10, 10, 3, 10)),
    ],
    ids=["/64", "/56", "/48"],
)
async def test_above_its_share_a_network_loses_its_youngest(
    storage: Storage, addresses: list[str], shares: tuple[int, int, int, int]
) -> None:
    """Attack 22, 32: fill the store from the addresses of one line. Source: RFC 7591 5, RFC 6177."""
    for number, address in enumerate(addresses):
        await add_client(storage, new_client(f"client-{number}", address), shares=shares)
    assert await registered(storage) == ["client-0", "client-1", "client-5"]


async def test_in_a_full_network_the_heaviest_part_loses_one(storage: Storage) -> None:
    """Attack 22, 32: take the places of the neighbours. Source: RFC 7591 5, RFC 6177."""
    shares = (10, 10, 5, 20)
    for number in range(5):  # a heavier network, which is none of theirs
        await add_client(storage, new_client(f"else-{number}", "2001:db9::/64"), shares=(10, 10, 10, 20))
    await add_client(storage, new_client("neighbour", "2001:db8:0:100::/64"), shares=shares)
    for number in range(5):
        await add_client(storage, new_client(f"flood-{number}", "2001:db8:0:200::/64"), shares=shares)
    await add_client(storage, new_client("newcomer", "2001:db8:0:300::/64"), shares=shares)
    left = [name for name in await registered(storage) if not name.startswith("else-")]
    assert left == ["flood-0", "flood-1", "flood-2", "neighbour", "newcomer"]
    assert len(await registered(storage)) == 10


@pytest.mark.parametrize("address", ["192.0.2.1", "unknown"])
async def test_an_address_of_ipv4_has_a_share_and_its_neighbours_another(
    storage: Storage, address: str
) -> None:
    """Attack 22, 32: fill the store from one address. Source: RFC 7591 5."""
    for number in range(4):
        await add_client(storage, new_client(f"one-{number}", address), shares=(2, 2, 4, 10))
    assert await registered(storage) == ["one-0", "one-3"]
    for number in range(4):
        await add_client(storage, new_client(f"other-{number}", f"198.51.100.{number}"), shares=(2, 2, 3, 10))
    assert await registered(storage) == ["one-0", "one-3", "other-0", "other-1", "other-3"]


async def test_a_full_store_has_places_for_networks_that_have_none(storage: Storage) -> None:
    """Attack 22, 32: fill the store from several networks. Source: RFC 7591 5."""
    full = (10, 10, 10, 6)
    for number, network in enumerate("aaabbb"):
        await add_client(storage, new_client(f"{network}-{number}", f"2001:db8:{network}::/64"), shares=full)
    await add_client(storage, new_client("newcomer", "192.0.2.1"), shares=full)
    assert await registered(storage) == ["a-0", "a-1", "a-2", "b-3", "b-4", "newcomer"]
    await add_client(storage, new_client("a-7", "2001:db8:a::/64"), shares=full)
    assert await registered(storage) == ["a-0", "a-1", "a-7", "b-3", "b-4", "newcomer"]


async def test_where_every_network_has_one_place_the_longest_kept_goes(storage: Storage) -> None:
    """Attack 22, 32: register from a botnet, again and again, so that whoever comes new is the oldest.
    Source: RFC 7591 5.
    """
    full = (10, 10, 10, 4)
    for number in range(4):
        await add_client(storage, new_client(f"bot-{number}", f"2001:db8:{number}::/64"), shares=full)
    await add_client(storage, new_client("newcomer", "192.0.2.1"), shares=full)
    for number in (1, 2, 3):  # they take their own places, and get no younger
        await add_client(storage, new_client(f"again-{number}", f"2001:db8:{number}::/64"), shares=full)
    await add_client(storage, new_client("late", "2001:db8:ffff::/64"), shares=full)
    assert await registered(storage) == ["again-2", "again-3", "late", "newcomer"]


def without_one(kept: dict[str, tuple[str, int]], new: str) -> str:
    """Return who makes room in a full store for a client of the place `new`, by the rule in words.

    `kept` has the place of each client, and since when it has it.
    """
    among, found = dict(kept), ""
    for width in WIDTHS:
        weights = Counter(spot[:width] for spot, _ in among.values())
        if new[:width] in weights:
            weights[new[:width]] += 1
        most = max(weights.values())
        if most == 1 and not found:
            return min(kept, key=lambda client: kept[client][1])
        heaviest = {client: at for client, (spot, at) in among.items() if weights[spot[:width]] == most}
        found = among[max(heaviest, key=lambda client: heaviest[client])][0][:width]
        among = {client: (spot, at) for client, (spot, at) in among.items() if spot.startswith(found)}
    return max(among, key=lambda client: among[client][1])


@pytest.mark.parametrize("seed", range(3))
async def test_who_makes_room_in_a_full_store_is_who_the_rule_names(storage: Storage, seed: int) -> None:
    """The engines count in ways of their own, so that it is quick."""
    dice, kept = random.Random(seed), dict[str, tuple[str, int]]()
    for number in range(120):
        address = f"2001:db8:{dice.choice('1234567')}:{dice.choice('12')}0{dice.choice('12')}::/64"
        spot, since = place(address), number
        if len(kept) == 12:
            gone = without_one(kept, spot)
            if kept[gone][0][:12] == spot[:12]:
                since = kept[gone][1]
            del kept[gone]
        kept[f"client-{number}"] = (spot, since)
        await add_client(storage, new_client(f"client-{number}", address), shares=(99, 99, 99, 12))
        assert await registered(storage) == sorted(kept)
        if not number % 20:
            removed = dice.choice(sorted(kept))
            assert await storage.clients.remove(removed)
            del kept[removed]


async def test_a_client_that_is_stored_again_stays_as_it_is(storage: Storage) -> None:
    await add_client(storage)
    before = await storage.clients.get("client")
    await add_client(storage, new_client(address="elsewhere"), shares=(1, 1, 1, 1))
    assert await storage.clients.get("client") == before


async def test_a_client_that_redeemed_a_code_never_makes_room(storage: Storage) -> None:
    """Attack 22: push a client that is used out of the store.
    Source: VS Code and Codex never register again.
    """
    await add_client(storage, new_client("unused"))
    await granted(storage)  # the client is the younger one
    await add_client(storage, new_client("newcomer"), shares=(1, 1, 1, 1))
    assert await registered(storage) == ["client", "newcomer"]


async def test_a_client_of_the_operator_takes_no_place(storage: Storage) -> None:
    await add_client(storage, new_client("first"), shares=(1, 1, 1, 1))
    await add_client(storage, replace(new_client("own"), completed_at=0), shares=(1, 1, 1, 1))
    assert await registered(storage) == ["first", "own"]


async def test_all_at_once_leave_no_more_than_the_share(storage: Storage) -> None:
    """Attack 22, 32: register so quickly that the count comes too late. Source: CWE-362."""
    clients = [new_client(f"client-{number:02}") for number in range(20)]
    await asyncio.gather(*(add_client(storage, client, shares=(5, 10, 10, 10)) for client in clients))
    assert len(await storage.clients.all()) == 5


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
