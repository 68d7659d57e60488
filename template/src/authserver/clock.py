"""The clocks of this process: all else reads time here, so that tests move it here.

What expires in a store expires by the store's clock (`storage`); these are for what no store decides.
"""

import time
from dataclasses import dataclass


def now() -> float:
    """Return the time in seconds since 1970 (UTC). An operator, NTP or a snapshot may set it either way."""
    return time.time()


def elapsed() -> float:
    """Return the seconds of a clock that is never set, but stands still while a machine sleeps or is paused.

    For durations of which nothing depends; how old something is, `Moment` says.
    """
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of this process, by both clocks."""

    wall: float
    steady: float

    def age(self) -> float:
        """Return the seconds since then, by the clock that says more: the other one stood still."""
        return max(now() - self.wall, elapsed() - self.steady)


def moment() -> Moment:
    """Return this moment."""
    return Moment(now(), elapsed())
