"""The database file: how what is kept in it is read and written.

Writes go through the writer thread (`writer.py`); reads run where they are asked, on a connection of their
own: a read takes microseconds and no lock, since the database is in WAL mode.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from authserver import clock
from authserver.storage.errors import StorageLost, StorageUnavailable
from authserver.storage.facts import CHECK, IDENTITY
from authserver.storage.rows import record
from authserver.storage.sqlite.lock import FileLock
from authserver.storage.sqlite.schema import migrate
from authserver.storage.sqlite.writer import Writer, connect

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K", bound="Kept")

_OURS = """
    SELECT 1 FROM facts WHERE name = :name AND value = :identity
    AND EXISTS (SELECT 1 FROM facts WHERE name GLOB :check)
"""


class File:
    """The file, its writer, the connection that reads, and the lock among processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name = str(path)
        self._writer: Writer | None = None
        self._reader: sqlite3.Connection | None = None
        self._lock: FileLock | None = None
        self._place: tuple[int, int] | None = None
        self._identity: bytes | None = None
        self._checked: int | None = None
        self._version: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Make the file with rights for its owner only, bring the schema up to date, start the writer."""
        try:
            self.path.touch(mode=0o600)
            self._lock = FileLock(self.path.with_suffix(".lock"))
            with self._lock.held(), closing(connect(self.path)) as connection:
                migrate(connection)
            self._reader = connect(self.path)
            self._place = self._found()
        except (sqlite3.Error, OSError) as error:
            raise StorageUnavailable(f"{self.path}: {error}") from error
        self._writer = Writer(self.path, self._lock, self._check)

    def pin(self, identity: bytes) -> None:
        """Take what the store is told from others by."""
        self._identity = identity
        self._checked = self._version = None

    def _check(self, db: sqlite3.Connection) -> None:
        """Raise StorageLost where another file lies in the place, or another store in the file."""
        if self._identity is None:
            return
        values = {"name": IDENTITY, "identity": self._identity, "check": f"{CHECK}*"}
        if self._found() != self._place or db.execute(_OURS, values).fetchone() is None:
            raise StorageLost

    def version(self) -> int:
        """Return a number that changes with each write to the file, whoever wrote; raises StorageUnavailable.

        It is asked once in a turn of the event loop: what a turn answers was sent before the turn began, or
        before it was asked. The file is looked into where it changed, for StorageLost.
        """
        reader, loop = self._opened, asyncio.get_running_loop()
        if self._version is None or self._loop is not loop:
            try:
                (version,) = reader.execute("PRAGMA data_version").fetchone()
                if version != self._checked or self._found() != self._place:
                    self._check(reader)
            except sqlite3.Error as error:
                raise StorageUnavailable(str(error)) from error
            self._version, self._checked, self._loop = version, version, loop
            loop.call_soon(self._turn)
        return self._version

    @property
    def _opened(self) -> sqlite3.Connection:
        if self._reader is None:
            raise StorageUnavailable("the storage is not open")
        return self._reader

    def _turn(self) -> None:
        self._version = None

    def _found(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._name)  # noqa: PTH116  # at each check of a token: no Path is made
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def close(self) -> None:
        """Finish queued writes, close the file."""
        for part in (self._writer, self._reader, self._lock):
            if part is not None:
                part.close()
        self._writer = self._reader = self._lock = None

    async def write(self, operation: Callable[[sqlite3.Connection, float], T]) -> T:
        """Run `operation` in the writer thread; return its answer after its commit."""
        if self._writer is None:
            raise StorageUnavailable("the storage is not open")
        answer: T = await self._writer.submit(operation)
        return answer

    def read(self, statement: str, /, **values: Any) -> list[sqlite3.Row]:
        """Return the rows that a statement finds; it knows the time as `:now`."""
        self.version()
        try:
            return self._opened.execute(statement, values | {"now": clock.now()}).fetchall()
        except sqlite3.Error as error:
            raise StorageUnavailable(str(error)) from error

    def all(self, kind: type[T], statement: str, /, **values: Any) -> list[T]:
        """Return the records that a statement finds."""
        return [record(kind, row) for row in self.read(statement, **values)]

    def one(self, kind: type[T], statement: str, /, **values: Any) -> T | None:
        """Return the record that a statement finds, if any."""
        return next(iter(self.all(kind, statement, **values)), None)


class Found(Generic[T]):
    """Records by their keys, as they were found since the file was last written to.

    Any write, by whatever process, makes all of it be looked up again: what was revoked is refused at once.
    """

    def __init__(self, file: File, kind: type[T], statement: str, *, room: int) -> None:
        """Take the statement that finds one by `:key`, and how many are kept."""
        self._file = file
        self._kind = kind
        self._statement = statement
        self._room = room
        self._version: int | None = None
        self._found: dict[bytes | str, T] = {}

    def get(self, key: bytes | str) -> T | None:
        """Return the record; raises StorageUnavailable."""
        version = self._file.version()
        if version != self._version or len(self._found) >= self._room:
            self._found.clear()
            self._version = version
        found = self._found.get(key) or self._file.one(self._kind, self._statement, key=key)
        if found is not None:
            self._found[key] = found
        return found


class Kept:
    """What is kept in the file."""

    def __init__(self, file: File) -> None:
        self._file = file


def written(
    operation: Callable[Concatenate[K, sqlite3.Connection, float, P], T],
) -> Callable[Concatenate[K, P], Coroutine[Any, Any, T]]:
    """Make an operation, which is given the connection and the time, a method: it returns after the commit.

    The operation runs in the writer thread, as one step: all of it is stored, or nothing.
    """

    @wraps(operation)
    async def method(self: K, /, *args: P.args, **values: P.kwargs) -> T:
        return await self._file.write(lambda db, now: operation(self, db, now, *args, **values))

    return method
