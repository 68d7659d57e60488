"""SQLite: a folder for each store. There is no server to start or to kill."""

import sqlite3
from contextlib import closing
from pathlib import Path

from authserver.storage.sqlite import writer

# A busy machine is slow, not wrong. What the limit does is tested with a shorter one.
vars(writer).update(_WAIT_SECONDS=60.0)


def create(folder: Path) -> "SQLiteEngine":
    """Return the engine."""
    return SQLiteEngine(folder)


class SQLiteEngine:
    """The Engine protocol over files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def kill(self) -> None:
        """There is nothing to kill."""

    def cut(self) -> None:
        """There is no connection to cut."""

    def close(self) -> None:
        """There is nothing to close."""

    def settings(self, store: str) -> dict[str, str]:
        """Return the folder of a store."""
        return {"data_dir": str(self._folder / store)}

    def contents(self, store: str) -> bytes:
        """Return what the files hold."""
        files = [file for file in (self._folder / store).iterdir() if file.name != "secret.key"]
        return b"".join(file.read_bytes() for file in files)

    def sizes(self, store: str) -> dict[str, int]:
        """Count the rows of each table."""
        with closing(self._connect(store)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return {
                name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for (name,) in tables
            }

    def check(self, store: str) -> None:
        """Let SQLite look at every page and every reference."""
        with closing(self._connect(store)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []

    def _connect(self, store: str) -> sqlite3.Connection:
        return sqlite3.connect(self._folder / store / "authserver.sqlite")
