"""Facts, in SQLite."""

import sqlite3

from typing_extensions import override

from authserver.storage.facts import Facts
from authserver.storage.sqlite.file import Kept, written


class SQLiteFacts(Kept, Facts):
    """The table `facts`."""

    @override
    async def recall(self, name: str) -> bytes | None:
        found = self._file.read("SELECT value FROM facts WHERE name = :name", name=name)
        return bytes(found[0]["value"]) if found else None

    @override
    @written
    def remember(self, db: sqlite3.Connection, now: float, name: str, value: bytes) -> bytes:
        db.execute("INSERT OR IGNORE INTO facts (name, value) VALUES (?, ?)", (name, value))
        row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return bytes(row["value"])

    @override
    async def all(self, prefix: str) -> dict[str, bytes]:
        found = self._file.read(
            "SELECT * FROM facts WHERE substr(name, 1, length(:prefix)) = :prefix", prefix=prefix
        )
        return {row["name"]: bytes(row["value"]) for row in found}

    @override
    @written
    def forget(self, db: sqlite3.Connection, now: float, name: str) -> bool:
        return db.execute("DELETE FROM facts WHERE name = ?", (name,)).rowcount > 0
