"""The storage engines, run for real: one module for each storage, named after it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Protocol


class Engine(Protocol):
    """An engine that tests start, stop and kill. The module offers `create(folder)`."""

    def start(self) -> None:
        """Start the engine, also again on the same data; return when it answers."""

    def stop(self) -> None:
        """Stop it, as an operator does."""

    def kill(self) -> None:
        """Kill it at once, as a power cut does."""

    def cut(self) -> None:
        """Cut all connections, whatever is going on in them."""

    def close(self) -> None:
        """Stop it and delete what it kept outside of its folder."""

    def settings(self, store: str) -> dict[str, str]:
        """Return the settings that lead to a store: the same for the same name, else an empty one."""

    def contents(self, store: str) -> bytes:
        """Return all that lies on disk of a store, except the secret key."""

    def sizes(self, store: str) -> dict[str, int]:
        """Return how many records of each sort a store holds."""

    def check(self, store: str) -> None:
        """Raise AssertionError where a store is damaged."""


_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30


@contextmanager
def scratch(disk: Path | None = None) -> Iterator[Path]:
    """Make a folder for an engine, on a disk or, quicker, in memory where there is room for it.

    Its path is short, as that of a socket must be, and not below pytest's, where only its owner may look.
    """
    with tempfile.TemporaryDirectory(prefix="engine-", dir=disk or _memory()) as folder:
        yield Path(folder)


def _memory() -> Path | None:
    if not os.access(_MEMORY, os.W_OK):
        return None
    found = os.statvfs(_MEMORY)
    fits = found.f_bavail * found.f_frsize >= _ROOM_BYTES and not found.f_flag & os.ST_NOEXEC
    return _MEMORY if fits else None


@contextmanager
def running(storage: str, disk: Path | None = None) -> Iterator[Engine]:
    """Run the engine of a storage in a folder of its own: see `scratch`."""
    with scratch(disk) as folder:
        engine: Engine = import_module(f"engines.{storage}").create(folder)
        engine.start()
        try:
            yield engine
        finally:
            engine.close()
