"""The rounds of a work: all sides of it take turns, and the middle of the rounds counts."""

import contextlib
import statistics
from dataclasses import asdict

import sides
from load import CONNECTIONS, Figure
from runs import Found, Run


def measure(part: str, run: Run) -> Found:
    """Measure the works of a part; return for each work what its sides did: name and `Figure`."""
    works = sides.plan(run.storages, peers=run.peers)[part]
    return {work: _measure(work, starts, run) for work, starts in works.items()}


def _measure(work: str, starts: list[sides.Start], run: Run) -> list[Found]:
    with contextlib.ExitStack() as stack:
        # One more round, to warm up.
        running = [start(stack, work, CONNECTIONS * (run.rounds + 1)) for start in starts]
        figures: dict[str, list[Figure]] = {side.name: [] for side in running}
        for side in running:
            side.warm_up(work)
        for round_ in range(1, run.rounds + 1):
            # Forth and back, so that a machine that gets slower is slower for all.
            for side in running if round_ % 2 else reversed(running):
                figures[side.name].append(side.measure(work, seconds=run.seconds, round_=round_))
    return [{"name": name, **_middle(found)} for name, found in figures.items()]


def _middle(found: list[Figure]) -> Found:
    rounds = [asdict(one) for one in found]
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
