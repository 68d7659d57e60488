"""The one writer thread of a process: whatever has queued up is committed together (group commit).

With `synchronous=FULL` a commit waits for the disk, so committing many operations at once is what makes
durable writes fast. Each operation has a savepoint of its own: one that fails takes no other with it. An
operation is answered only after the commit that holds it.
"""

import asyncio
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from authserver import clock
from authserver.storage.errors import StorageUnavailable
from authserver.storage.sqlite.lock import FileLock

Operation = Callable[[sqlite3.Connection, float], Any]
"""Runs in a transaction; is given the connection and the time, and returns the answer."""

_GROUP = 256
_QUEUE = 10_000
_WAIT_SECONDS = 5.0


class _Job(NamedTuple):
    operation: Operation
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    claim: threading.Lock
    """Who acquires it first decides: the writer runs the operation, or the one who waited gives it up."""


def connect(path: Path) -> sqlite3.Connection:
    """Open the database as every connection of ours has it: durable, foreign keys on, rows by name."""
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=FAST"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


class Writer:
    """Runs operations, one group after the other, in a thread of its own."""

    def __init__(self, path: Path, lock: FileLock, check: Callable[[sqlite3.Connection], None]) -> None:
        """Start; `check` raises StorageUnavailable where nothing may be written, in each transaction."""
        self._path = path
        self._lock = lock
        self._check = check
        self._jobs: deque[_Job] = deque()
        self._called = False
        # False ends the thread.
        self._calls: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def submit(self, operation: Operation) -> Any:
        """Run `operation`; return its answer after its commit.

        Raises StorageUnavailable when it was rolled back or could not begin for 5 s, and whatever
        `operation` raised.
        """
        if len(self._jobs) >= _QUEUE:
            raise StorageUnavailable("too many operations wait")
        loop = asyncio.get_running_loop()
        job = _Job(operation, loop.create_future(), loop, threading.Lock())
        self._jobs.append(job)
        if not self._called:
            # Once for all that this turn of the event loop submits.
            self._called = True
            loop.call_soon(self._call)
        late = loop.call_later(_WAIT_SECONDS, _give_up, job)
        try:
            return await job.future
        finally:
            late.cancel()

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        self._calls.put(False)
        self._thread.join()

    def _call(self) -> None:
        self._called = False
        self._calls.put(True)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        goes_on = True
        while goes_on:
            goes_on = self._calls.get()
            while jobs := self._group():
                outcomes: list[Any]
                try:
                    connection = connection or connect(self._path)
                    outcomes = self._commit(connection, jobs)
                except (sqlite3.Error, OSError, StorageUnavailable) as error:
                    told = error if isinstance(error, StorageUnavailable) else StorageUnavailable(str(error))
                    outcomes = [told] * len(jobs)
                    # A fresh connection next time: whatever was wrong with this one ends with it.
                    _discard(connection)
                    connection = None
                _answer(jobs, outcomes)
        _discard(connection)

    def _group(self) -> list[_Job]:
        return [self._jobs.popleft() for _ in range(min(len(self._jobs), _GROUP))]

    def _commit(self, connection: sqlite3.Connection, jobs: list[_Job]) -> list[Any]:
        outcomes: list[Any] = []
        with self._lock.held():
            connection.execute("BEGIN IMMEDIATE")
            self._check(connection)
            for job in jobs:
                if not job.claim.acquire(blocking=False):
                    outcomes.append(None)  # nobody waits for it any more
                    continue
                connection.execute("SAVEPOINT operation")
                try:
                    outcomes.append(job.operation(connection, clock.now()))
                except (sqlite3.OperationalError, sqlite3.InternalError):
                    raise  # the disk is full, the file is gone: the whole group fails
                except Exception as error:  # noqa: BLE001  # it is for whoever asked
                    connection.execute("ROLLBACK TO operation")
                    outcomes.append(error)
                connection.execute("RELEASE operation")
            connection.execute("COMMIT")
        return outcomes


def _give_up(job: _Job) -> None:
    """Tell whoever waits that it did not begin; from then on it never will."""
    if job.claim.acquire(blocking=False) and not job.future.done():
        job.future.set_exception(StorageUnavailable("another process holds the lock"))


def _answer(jobs: list[_Job], outcomes: list[Any]) -> None:
    """Hand the outcomes to the event loops that wait for them, each loop woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        by_loop.setdefault(job.loop, []).append((job.future, outcome))
    for loop, answers in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in answers:
        if future.done():
            continue  # whoever waited has gone; what was done stays done
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _discard(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()  # an open transaction is rolled back
