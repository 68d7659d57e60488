"""What a check and a refresh cost when very many tokens live, beside a store with a thousand."""

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable
from importlib import import_module

import filling
import pytest
from runs import Found, Run
from sides import Store

from authserver.storage import Storage
from authserver.storage.sign_ins import Bucket
from authserver.storage.verdicts import Rotated

# Its helpers say by `assert` what went wrong.
pytest.register_assert_rewrite("storage")
contract = import_module("storage")

FEW = 1000
_AT_ONCE = 16
_CHUNK = 400
_ROUNDS = 7


class Life:
    """The tokens of one grant, as they are now."""

    def __init__(self, pair: filling.Pair) -> None:
        self.access, self.refresh = pair
        self._bucket = Bucket(pair.access, 1_000_000, 1)

    async def check(self, storage: Storage) -> None:
        """Look the access token up."""
        assert await storage.grants.get_access_token(self.access) is not None

    async def rotate(self, storage: Storage) -> None:
        """Spend the refresh token."""
        tokens = contract.new_tokens()
        rotated = await contract.rotate(storage, self.refresh, tokens, bucket=self._bucket)
        assert isinstance(rotated, Rotated)
        self.access, self.refresh = tokens.access, tokens.refresh


def measure(run: Run) -> Found:
    """Return for each storage the bytes of a grant, and the µs of a check and a refresh with few and many."""
    found = {}
    for storage in run.storages:
        with contextlib.ExitStack() as stack:
            few, many = Store.new(stack, storage), Store.new(stack, storage)
            for store in (few, many):
                store.issue(1)
            grants = filling.room(many, run.tokens // 2)
            before, started = filling.stored_bytes(many), time.monotonic()
            lives = (
                asyncio.run(_lives(few, FEW // 2, _CHUNK)),
                asyncio.run(_lives(many, grants, _CHUNK * _ROUNDS)),
            )
            told = {
                "tokens": grants * 2,
                "bytes_a_grant": (filling.stored_bytes(many) - before) / grants,
                "filled_seconds": time.monotonic() - started,
            }
            found[storage] = told | asyncio.run(_costs((few, many), lives))
    return found


async def _lives(store: Store, grants: int, sampled: int) -> list[Life]:
    return list(map(Life, await filling.fill(store, grants, lives_seconds=86_400, sampled=sampled)))


async def _costs(stores: tuple[Store, Store], lives: tuple[list[Life], list[Life]]) -> Found:
    """Measure in turn, in each round with other grants where there are many."""
    async with contextlib.AsyncExitStack() as stack:
        opened = []
        for store in stores:
            module = import_module(f"authserver.storage.{store.storage}")
            storage: Storage = module.create(module.Settings(**store.settings))
            await storage.open()
            stack.push_async_callback(storage.close)
            opened.append(storage)
        took: dict[str, list[float]] = {}
        turns = [itertools.cycle(some) for some in lives]
        for _ in range(_ROUNDS):
            for name, storage, turn, some in zip(("few", "many"), opened, turns, lives, strict=True):
                chunk = list(itertools.islice(turn, min(_CHUNK, len(some))))
                for work in (Life.check, Life.rotate):
                    cost = await _cost(storage, chunk, work)
                    took.setdefault(f"{work.__name__}_{name}", []).append(cost)
    # The first round warms up.
    return {name: statistics.median(costs[1:]) for name, costs in took.items()}


async def _cost(
    storage: Storage, lives: list[Life], work: Callable[[Life, Storage], Awaitable[None]]
) -> float:
    """Return the microseconds of each, with so many at once."""

    async def some(first: int) -> None:
        for life in lives[first::_AT_ONCE]:
            await work(life, storage)

    started = time.perf_counter()
    await asyncio.gather(*map(some, range(_AT_ONCE)))
    return (time.perf_counter() - started) / len(lives) * 1e6
