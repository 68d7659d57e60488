"""Compare the storages by themselves: rotations of refresh tokens, checks of access tokens."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path

import engines
import pytest
from cyclopts import App
from rendering import choices

from authserver.storage import Storage
from authserver.storage.verdicts import Rotated

# Its helpers say by `assert` what went wrong.
pytest.register_assert_rewrite("storage")
contract = import_module("storage")

TASKS = 64

app = App()


@app.default
def compare(*, seconds: float = 2, rounds: int = 5) -> None:
    """Measure all storages in turn, each with 64 tasks in one process, durable, on a disk.

    Parameters
    ----------
    seconds
        How long a side is measured in each round.
    rounds
        How many rounds there are.
    """
    asyncio.run(_compare(seconds, rounds))


async def _compare(seconds: float, rounds: int) -> None:
    async with AsyncExitStack() as stack:
        storages: dict[str, Storage] = {}
        for name in choices("storage"):
            engine = stack.enter_context(engines.running(name, Path(tempfile.gettempdir())))
            module = import_module(f"authserver.storage.{name}")
            storages[name] = module.create(module.Settings(**engine.settings("benchmark")))
            await storages[name].open()
            stack.push_async_callback(storages[name].close)
        lives = {name: await _lives(storage) for name, storage in storages.items()}
        for title, work in (("rotations", _rotate), ("checks", _check)):
            measured: dict[str, list[float]] = {name: [] for name in storages}
            for length in (0.5, *[seconds] * rounds):  # the first is to warm up
                for name, storage in storages.items():
                    measured[name].append(await _measure(storage, lives[name], work, length))
            middles = {name: statistics.median(values[1:]) for name, values in measured.items()}
            first = next(iter(middles.values()))
            for name, middle in middles.items():
                print(f"{title:12} {name:12} {middle:8.0f} /s  {middle / first:5.2f}")


class Life:
    """The tokens of one grant, as they are now."""

    def __init__(self, access: bytes, refresh: bytes) -> None:
        self.access = access
        self.refresh = refresh


async def _lives(storage: Storage) -> list[Life]:
    assert await contract.add_client(storage)
    user = await contract.add_user(storage)
    lives = []
    for _ in range(TASKS):
        tokens = contract.new_tokens()
        await contract.redeem(storage, await contract.new_code(storage, user), tokens)
        lives.append(Life(tokens.access, tokens.refresh))
    return lives


async def _rotate(storage: Storage, life: Life) -> None:
    tokens = contract.new_tokens()
    assert isinstance(await contract.rotate(storage, life.refresh, tokens), Rotated)
    life.access, life.refresh = tokens.access, tokens.refresh


async def _check(storage: Storage, life: Life) -> None:
    assert await storage.grants.get_access_token(life.access) is not None


async def _measure(
    storage: Storage, lives: list[Life], work: Callable[[Storage, Life], Awaitable[None]], seconds: float
) -> float:
    """Return how often a second the work was done."""
    until = time.perf_counter() + seconds

    async def again_and_again(life: Life) -> int:
        done = 0
        while time.perf_counter() < until:
            await work(storage, life)
            done += 1
        return done

    started = time.perf_counter()
    done = sum(await asyncio.gather(*map(again_and_again, lives)))
    return done / (time.perf_counter() - started)


if __name__ == "__main__":
    app()
