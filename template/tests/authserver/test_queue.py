"""The queue for slow work, such as Argon2: whose turn it is, and who is turned away."""

import asyncio
import os
import sys
import threading
from contextvars import ContextVar

import pytest

from authserver.with_password.pool import Busy, Pool, Visitor

pytestmark = pytest.mark.anyio


class Counter:
    """A pool of one place and `waiting`, whose work waits until it is let go; `served` tells the order."""

    def __init__(self, waiting: int) -> None:
        self.pool = Pool(at_once=1, waiting=waiting)
        self.served: list[str] = []
        self.shed: list[str] = []
        self._go_on = threading.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, name: str, visitor: Visitor) -> "asyncio.Task[None]":
        async def ask() -> None:
            try:
                await self.pool.run(visitor, self._go_on.wait, 300)
                self.served.append(name)
            except Busy:
                self.shed.append(name)

        task = asyncio.create_task(ask())
        self._tasks.append(task)
        for _ in range(3):  # it comes, waits or is turned away, and so may be another
            await asyncio.sleep(0)
        return task

    async def close(self) -> None:
        """Let all of them be served."""
        self._go_on.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def stranger(number: int, account: str | None = None) -> Visitor:
    networks = (f"/64 {number}", f"/56 {number}", f"/48 {number}")
    return Visitor(networks, account or f"account {number}", known=False)


@pytest.mark.parametrize(
    "crowd",
    [
        [stranger(1, f"account {number}") for number in range(20)],
        [stranger(number, "one account") for number in range(20)],
        [Visitor((f"/64 {n}", "/56", "/48"), f"account {n}", known=False) for n in range(20)],
        [Visitor((f"/64 {n}", f"/56 {n}", "/48"), f"account {n}", known=False) for n in range(20)],
    ],
    ids=["address", "account", "/56", "/48"],
)
async def test_a_crowd_of_one_network_or_account_keeps_nobody_waiting(crowd: list[Visitor]) -> None:
    """Attack 10, 32: sign in from one line, or to one account, until nobody else gets a turn.
    Source: OWASP ASVS 5.0 6.3.1, CWE-400.
    """
    counter = Counter(waiting=8)
    for number, visitor in enumerate(crowd):
        await counter.come(f"crowd {number}", visitor)
    for number in (100, 101):
        await counter.come(f"newcomer {number}", stranger(number))
    assert counter.shed == [f"crowd {number}" for number in (*range(5, 20), 4, 3)]
    await counter.close()
    assert set(counter.served[:4]) >= {"crowd 0", "newcomer 100", "newcomer 101"}


async def test_places_are_kept_for_known_browsers() -> None:
    """Attack 10, 32: sign in from a botnet, until nobody gets a turn. Source: OWASP ASVS 5.0 6.3.1."""
    counter = Counter(waiting=8)
    for number in range(20):
        await counter.come(f"bot {number}", stranger(number))
    for number in range(4):
        await counter.come(f"known {number}", Visitor((), f"user {number}", known=True))
    assert counter.shed == [f"bot {number}" for number in range(5, 20)]
    await counter.close()
    assert [name[0] for name in counter.served] == list("bkbkbkbkb")


async def test_a_known_browser_gone_mad_stops_no_other() -> None:
    """Attack 10, 32: give the right password again and again. Source: CWE-400."""
    counter = Counter(waiting=8)
    for number in range(20):
        await counter.come(f"mad {number}", Visitor(("/64",), "mad", known=True))
    await counter.come("colleague", Visitor(("/64",), "colleague", known=True))
    assert counter.shed == [f"mad {number}" for number in (*range(5, 20), 4)]
    await counter.close()
    assert "colleague" in counter.served[:3]


async def test_who_goes_away_leaves_a_place() -> None:
    counter = Counter(waiting=2)
    await counter.come("first", stranger(1))
    second = await counter.come("second", stranger(2))
    second.cancel()
    third = await counter.come("third", stranger(3))
    await counter.come("fourth", stranger(4))
    assert counter.shed == ["fourth"]
    await counter.close()
    assert third.done()
    assert counter.served == ["first", "third"]
    assert await counter.pool.run(stranger(5), lambda: "there is room again") == "there is room again"


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread has a priority of its own")
async def test_slow_work_steps_back_for_whatever_answers() -> None:
    """Attack 10: let passwords be checked again and again, until tokens are checked late.
    Source: OWASP ASVS 5.0 6.3.1, CWE-400.
    """
    own = os.getpriority(os.PRIO_PROCESS, 0)

    def niceness() -> list[int]:
        found = []
        one = threading.Thread(target=lambda: found.append(os.getpriority(os.PRIO_PROCESS, 0)))
        one.start()
        one.join()
        return [os.getpriority(os.PRIO_PROCESS, 0), *found]

    inside = await Pool(at_once=1, waiting=1).run(stranger(1), niceness)
    assert [one > own for one in inside] == [True, True]  # Argon2 starts threads of its own
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


async def test_slow_work_knows_whose_request_it_is() -> None:
    asked: ContextVar[str] = ContextVar("asked")
    asked.set("this one")
    assert await Pool(at_once=1, waiting=1).run(stranger(1), asked.get) == "this one"
