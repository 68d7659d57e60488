"""Several processes beside one: two that answer calls, two and four that write to a SQLite file."""

import asyncio
import contextlib
import multiprocessing
import statistics
import time
from importlib import import_module
from multiprocessing.synchronize import Barrier
from typing import Any

import filling
import sides
from growth import Life
from load import Figure, WrongAnswer
from runs import Found, Run
from sides import Store

_WRITERS = (1, 2, 4)
_TASKS = 16


def measure(run: Run) -> Found:
    """Return answers a second of one and two processes, and rotations a second of writers."""
    return {"calls": _calls(run), "writers": _writers(run)}


def _calls(run: Run) -> Found:
    """Measure calls; the load has no processor of its own, and takes as little as it can."""
    figures: dict[int, list[Figure]] = {1: [], 2: []}
    for _ in range(run.rounds):
        for workers, found in figures.items():
            with contextlib.ExitStack() as stack:
                store = Store.new(stack, "sqlite")
                running = store.serve(
                    stack, store.issue(1), workers=workers, pinned=False, BENCHMARK_JSON="1"
                )
                for _ in range(workers):
                    running.warm_up(sides.CALL)
                found.append(running.measure(sides.CALL, seconds=run.seconds, round_=1))
    return {
        str(workers): {
            "answers_per_second": statistics.median(one.answers_per_second for one in found),
            "processor_microseconds": statistics.median(one.processor_microseconds for one in found),
        }
        for workers, found in figures.items()
    }


def _writers(run: Run) -> dict[str, float]:
    rates: dict[int, list[float]] = {writers: [] for writers in _WRITERS}
    with contextlib.ExitStack() as stack:
        store = Store.new(stack, "sqlite")
        store.issue(1)
        for _ in range(run.rounds):
            for writers, found in rates.items():
                found.append(_written(store, writers, run.seconds))
    return {str(writers): statistics.median(found) for writers, found in rates.items()}


def _written(store: Store, writers: int, seconds: int) -> float:
    """Return how many refresh tokens all processes together spend in a second."""
    wanted = _TASKS * writers
    pairs = asyncio.run(filling.fill(store, wanted * 4, lives_seconds=86_400, sampled=wanted * 4))[:wanted]
    context = multiprocessing.get_context("spawn")
    together, answers = context.Barrier(writers), context.SimpleQueue()
    processes = [
        context.Process(
            target=_write, args=(store.settings, pairs[number::writers], seconds, together, answers)
        )
        for number in range(writers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise WrongAnswer("a writer failed")
    rates: list[float] = [answers.get() for _ in processes]
    return sum(rates)


def _write(
    settings: dict[str, str], pairs: list[filling.Pair], seconds: int, together: Barrier, answers: Any
) -> None:
    """Spend refresh tokens, each one the last one's successor; tell how many in a second."""
    answers.put(asyncio.run(_rotations(settings, list(map(Life, pairs)), seconds, together)))


async def _rotations(settings: dict[str, str], lives: list[Life], seconds: int, together: Barrier) -> float:
    module = import_module("authserver.storage.sqlite")
    storage = module.create(module.Settings(**settings))
    await storage.open()
    together.wait()
    until = time.perf_counter() + seconds

    async def again_and_again(life: Life) -> int:
        done = 0
        while time.perf_counter() < until:
            await life.rotate(storage)
            done += 1
        return done

    begun = time.perf_counter()
    done = sum(await asyncio.gather(*map(again_and_again, lives)))
    took = time.perf_counter() - begun
    await storage.close()
    return done / took
