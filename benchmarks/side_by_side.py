"""The rounds of a run: all sides of a work take turns, and the middle of the rounds counts."""

import contextlib
import os
import shutil
import statistics
import sys
from typing import Annotated

import page
import sides
from cyclopts import App, Parameter
from load import CONNECTIONS, Figure
from page import Result
from rendering import choices

app = App()


@app.default
def side_by_side(
    *,
    seconds: int = 2,
    rounds: int = 3,
    works: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    storages: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    peers: bool = True,
    write: bool = True,
) -> None:
    """Measure every work on every side, servers on one processor and the load on another.

    Parameters
    ----------
    seconds
        How long a side is measured in each round.
    rounds
        How many rounds there are.
    works
        Only works that begin so.
    storages
        Only these storages.
    peers
        Also what npm and PyPI have.
    write
        Write the tables and the picture into docs/performance.md.
    """
    for program in ("wrk", "taskset", *(("node", "npm", "uv") if peers else ())):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing: see benchmarks/README.md")
    if (os.cpu_count() or 1) < 2:
        sys.exit("two processors are needed: one for the servers, one for the load")
    sides.prepare(peers=peers)
    results: dict[str, list[Result]] = {}
    for work, starts in sides.plan(list(storages or choices("storage")), peers=peers).items():
        if not works or work.startswith(works):
            results[work] = _measure(work, starts, seconds, rounds)
            print(page.table(work, results[work]), flush=True)
    if write:
        page.write(results, list(sides.versions()), seconds=seconds, rounds=rounds)


def _measure(work: str, starts: list[sides.Start], seconds: int, rounds: int) -> list[Result]:
    with contextlib.ExitStack() as stack:
        # One more round, to warm up.
        running = [start(stack, work, CONNECTIONS * (rounds + 1)) for start in starts]
        figures: dict[str, list[Figure]] = {side.name: [] for side in running}
        for side in running:
            side.warm_up(work)
        for round_ in range(1, rounds + 1):
            # Forth and back, so that a machine that gets slower is slower for all.
            for side in running if round_ % 2 else reversed(running):
                figures[side.name].append(side.measure(work, seconds=seconds, round_=round_))
    return [_middle(name, found) for name, found in figures.items()]


def _middle(name: str, found: list[Figure]) -> Result:
    return Result(
        name,
        statistics.median(one.answers_per_second for one in found),
        statistics.median(one.processor_microseconds for one in found),
        statistics.median(one.milliseconds_99 for one in found),
    )
