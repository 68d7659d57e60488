"""Slow work off the event loop: a few calls at a time, and a bounded queue before them.

A storm is turned away with a 503, and never slows the token endpoint.
"""

from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

T = TypeVar("T")


class Busy(Exception):
    """Too many calls wait already."""


class Pool:
    """Runs blocking functions in threads: `at_once` of them, while `waiting` others may wait."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._at_once = at_once
        self._waiting = waiting
        self._limiter: CapacityLimiter | None = None
        self._asked = 0

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Return what the function returns; raises Busy, and what the function raises."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(self._at_once)
        if self._asked >= self._at_once + self._waiting:
            raise Busy
        # Counted here and not by the limiter, which a crowd that comes at once has not reached yet.
        self._asked += 1
        try:
            return await anyio.to_thread.run_sync(function, *arguments, limiter=self._limiter)
        finally:
            self._asked -= 1
