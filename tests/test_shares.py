"""docs/security.md says what others have of the limits while somebody uses them up, and no more."""

import asyncio
from uuid import uuid4

import engines
import pytest
from effort import push, release
from rendering import choices
from shares import ATTACKS, BOTNET, committed, table, visitor
from shares import _register as register
from simulated import World, world

REMEDY = "run: PYTHONPATH=template/tests/authserver uv run python tests/shares.py"


def test_the_table_of_the_default_storage_is_what_is_simulated() -> None:
    attacks = ATTACKS.keys() - {BOTNET}  # which takes longer than all others
    ordered = [attack for attack in ATTACKS if attack in attacks]
    assert committed("sqlite", ordered) == table("sqlite", ordered), REMEDY


@release
@pytest.mark.parametrize("storage", choices("storage"))
def test_the_table_of_each_storage_is_what_is_simulated(storage: str) -> None:
    assert committed(storage) == table(storage), REMEDY


@push
@pytest.mark.parametrize("storage", choices("storage"))
def test_time_passes_in_each_storage(storage: str) -> None:
    """Otherwise all are equally old, and which of them goes is chance."""

    async def two(world: World) -> list[float]:
        found = []
        for number in range(2):
            client = await world.storage.clients.get(await register(world.server, visitor(number)) or "")
            assert client is not None
            found.append(client.created_at)
            await asyncio.sleep(100)
        return found

    with engines.running(storage) as engine, world(storage, engine, uuid4().hex) as made:
        first, second = made.run(two(made))
    assert second - first == pytest.approx(100, abs=1)
