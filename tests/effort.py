"""How much of the proof a run does, by the environment variable EFFORT: one table for all counts.

* `commit` (where it is not set): what is worth five minutes after each change.
* `push`: what `commit` left out, each once or a few times.
* `release`: everything, as often as it takes to be sure.
"""

import os
from collections.abc import Iterable
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

LEVELS = ("commit", "push", "release")
EFFORT = os.environ.get("EFFORT") or LEVELS[0]


def require_known() -> None:
    """Refuse to begin where nobody knows what is to be done."""
    if EFFORT not in LEVELS:
        raise pytest.UsageError(f"EFFORT: {EFFORT!r} is none of {', '.join(LEVELS)}. Example: EFFORT=push")


commit = pytest.mark.effort("commit")
"""A test, or one of its cases, that every run does."""

push = pytest.mark.effort("push")
"""A test, or one of its cases, that `commit` leaves out."""

release = pytest.mark.effort("release")
"""A test, or one of its cases, that only `release` does."""

early = pytest.mark.early
"""A test that takes long by itself: others run beside it."""


def first(values: Iterable[T], at: pytest.MarkDecorator, others: pytest.MarkDecorator = release) -> list[Any]:
    """Return cases for a test: the first of the values at one effort, all others at another."""
    return [pytest.param(value, marks=others if number else at) for number, value in enumerate(values)]


MISSING = "not done here: "
"""What a count of skipped tests begins with; the reason comes after it."""

# How often, at a push and for a release.
_COUNTS = {
    "ends of access": (1, 25),  # four tests: a hundred on each storage, with one process and with four
    "kill rounds": (3, 20),
    "kill rounds of the database": (2, 10),
    "cuts of connections": (15, 30),
    "key rotations": (20, 100),
    "odd requests": (900, 3000),
    "mutations": (3, 1000),
}


def count(what: str) -> int:
    """Return how often something is done by this run."""
    return _COUNTS[what][EFFORT == "release"]


def level(item: pytest.Item) -> str:
    """Return at which level a test is done first."""
    return max(
        (marker.args[0] for marker in item.iter_markers("effort")), key=LEVELS.index, default=LEVELS[0]
    )


def is_done(level: str) -> bool:
    """Say whether this run does tests of a level."""
    return EFFORT in (level, "release")
