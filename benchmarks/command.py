"""The command: its parts one after the other, and the page of what they found."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import busy
import footprint
import growth
import others
import page
import runs
import sampled
import side_by_side
import workers
from cyclopts import App, Parameter
from rendering import choices
from runs import Found, Run

app = App()

PARTS: dict[str, Callable[[Run], Found]] = {
    **{
        part: partial(side_by_side.measure, part)
        for part in ("calls", "refresh", "introspection", "documents", "registration")
    },
    "storm": busy.storm,
    "purge": busy.purge,
    "workers": workers.measure,
    "footprint": footprint.measure,
    "profile": sampled.measure,
    "growth": growth.measure,
}


@app.default
def command(
    *parts: str,
    seconds: int = 2,
    rounds: int = 3,
    storages: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    peers: bool = True,
    tokens: int = 10_000_000,
    expired: int = 50_000,
    write: bool = True,
) -> None:
    """Measure parts, or all: servers on one processor and the load on another.

    What parts find is added to what others found of the same code, in docs/performance.json.

    Parameters
    ----------
    parts
        Of calls, refresh, introspection, documents, registration, storm, purge, workers, footprint,
        profile, growth.
    seconds
        How long a side is measured in each round.
    rounds
        How many rounds there are.
    storages
        Only these storages.
    peers
        Also what npm and PyPI have; without it there is no profile.
    tokens
        How many tokens live at the end of `growth`; on Redis as many as memory has room for.
    expired
        How many grants expired before `purge`.
    write
        Keep what was found, and write docs/performance.md and its picture.
    """
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"there is no part {', '.join(unknown)}: there are {', '.join(PARTS)}")
    for program in ("wrk", "taskset", *(("node", "npm", "uv") if peers else ())):
        if shutil.which(program) is None:
            sys.exit(f"{program} is missing: see benchmarks/README.md")
    if (os.cpu_count() or 1) < 2:
        sys.exit("two processors are needed: one for the servers, one for the load")
    if peers:
        others.prepare()
    run = Run(seconds, rounds, list(storages or choices("storage")), peers, tokens, expired)
    for part in [part for part in PARTS if part in parts or not parts]:
        if part == "profile" and not peers:
            continue
        print(f"{time.strftime('%H:%M:%S')} {part}", flush=True)
        begun = time.monotonic()
        found = PARTS[part](run)
        print("\n".join(page.tables(part, found)), flush=True)
        if write:
            runs.add(part, run, found, time.monotonic() - begun)
    if write:
        page.write(runs.load())
