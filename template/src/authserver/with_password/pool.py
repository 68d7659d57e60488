"""Slow work off the event loop: a few calls at a time, and a bounded queue before them, shared by visitors.

Who comes first is not who is served first: each network and each account has its own line, and of each line
one call is taken at a time (start-time fair queueing). Where a queue is full, the call that is farthest back
in its line is turned away, with a 503. So no crowd keeps others waiting, and none of it slows the token
endpoint: the threads step back for whatever answers requests.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_NICENESS = 10

_WEIGHTS = (1.0, 0.5, 0.25)
"""How far back a call puts the next one of its /64 (or IPv4 address), its /56, and its /48 (or IPv4 /24)."""


class Busy(Exception):
    """Too many calls wait already, and this one's network or account has the most of them."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks: from which networks, the narrowest first, for which account.

    `known` says that somebody has signed in to it with this browser before: such visitors have a queue of
    their own.
    """

    networks: tuple[str, ...]
    account: str
    known: bool

    def lines(self) -> dict[str, float]:
        """Return the lines that a call stands in, and how far back it puts the next one in each.

        Nobody else can ask for the account of a known visitor, so its network does not matter.
        """
        account = {f"account {self.account}": 1.0}
        return account if self.known else account | dict(zip(self.networks, _WEIGHTS, strict=False))


@dataclass(eq=False, slots=True)
class _Call:
    place: float
    turn: "asyncio.Future[None]"
    begun: bool = False


class _Queue:
    """Calls that wait, each at a place that grows with what its lines have asked for."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._calls: list[_Call] = []
        self._served = 0.0
        self._lines: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many calls wait; one that was given up does not."""
        self._calls = [call for call in self._calls if not call.turn.cancelled()]
        return len(self._calls)

    def join(self, lines: dict[str, float], *, at_once: bool) -> _Call:
        """Return a new call at its place; raises Busy. It needs room unless it can begin `at_once`."""
        place = max([self._served, *(self._lines.get(line, 0.0) for line in lines)])
        if not at_once and len(self) >= self._room:
            last = max(self._calls, key=lambda call: call.place, default=None)
            if last is None or last.place <= place:
                raise Busy
            self._calls.remove(last)
            last.turn.set_exception(Busy())
        # A line that ends before what is served now is as good as empty.
        self._lines = {line: end for line, end in self._lines.items() if end > self._served}
        self._lines |= {line: place + weight for line, weight in lines.items()}
        call = _Call(place, asyncio.get_running_loop().create_future())
        self._calls.append(call)
        return call

    def begin(self) -> None:
        """Let the call begin whose turn it is: the first of those at the lowest place."""
        call = min(self._calls, key=lambda call: call.place)
        self._calls.remove(call)
        self._served = call.place
        call.begun = True
        call.turn.set_result(None)


class Pool:
    """Runs blocking functions in threads: `at_once` of them, while `waiting` others may wait.

    Half of the waiting are known visitors; while both halves wait, they are served in turns.
    """

    def __init__(self, *, at_once: int, waiting: int) -> None:
        self._at_once = at_once
        self._running = 0
        self._known, self._others = _Queue(waiting // 2), _Queue(waiting - waiting // 2)
        self._first, self._second = self._known, self._others
        self._threads = ThreadPoolExecutor(at_once, "slow-work", initializer=_step_back)

    async def run(self, visitor: Visitor, function: Callable[..., T], *arguments: object) -> T:
        """Return what the function returns; raises Busy, and what the function raises."""
        queue = self._known if visitor.known else self._others
        call = queue.join(visitor.lines(), at_once=self._running < self._at_once)
        self._go_on()
        try:
            await call.turn
            run = copy_context().run
            return await asyncio.get_running_loop().run_in_executor(self._threads, run, function, *arguments)
        finally:
            if call.begun:
                self._running -= 1
                self._go_on()

    def _go_on(self) -> None:
        """Begin what there is room for."""
        while self._running < self._at_once and (self._first or self._second):
            if self._first:
                self._first.begin()
                self._first, self._second = self._second, self._first
            else:
                self._second.begin()
            self._running += 1


def _step_back() -> None:
    """Let this thread, and those that it starts, have what processor time others leave (Linux, setpriority).

    Elsewhere, and where it is forbidden, all have the same.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
