"""What deletes, copies and restores whole tables, in SQLite."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

from authserver.storage import Storage
from authserver.storage.errors import NotEmpty, StorageUnavailable
from authserver.storage.sqlite.file import Kept, written
from authserver.storage.sqlite.revoking import revoke, sweep, sweep_all
from authserver.storage.sqlite.writer import connect
from authserver.storage.tables import EXPIRING, TABLES, Row, Value

_EXPIRED = """
    DELETE FROM {table} WHERE {key} IN (
        SELECT {key} FROM {table} WHERE {column} <= :now LIMIT :limit
    )
"""
_PURGE = (
    *(_EXPIRED.format(table=table, key=key, column=column) for table, (key, column) in EXPIRING.items()),
    """
    UPDATE refresh_tokens SET salt = NULL WHERE digest IN (
        SELECT digest FROM refresh_tokens
        WHERE salt IS NOT NULL AND spent_at < :now - :replay_seconds
        LIMIT :limit
    )
    """,
    """
    DELETE FROM clients WHERE client_id IN (
        SELECT client_id FROM clients
        WHERE completed_at IS NULL AND created_at < :now - :unused_seconds
        AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_id = clients.client_id)
        LIMIT :limit
    )
    """,
    """
    DELETE FROM clients WHERE :idle_seconds IS NOT NULL AND client_id IN (
        SELECT client_id FROM clients
        WHERE completed_at < :now - :idle_seconds
        AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_id = clients.client_id)
        LIMIT :limit
    )
    """,
)
_IDLE = """
    SELECT client_id FROM clients
    WHERE completed_at < :now - :idle_seconds
    AND NOT EXISTS (
        SELECT 1 FROM grants
        WHERE grants.client_id = clients.client_id AND grants.used_at >= :now - :idle_seconds
    )
    LIMIT :limit
"""

# All names are ours.
_FILL = {
    table: f"INSERT INTO {table} ({', '.join(names)}) VALUES (:{', :'.join(names)})"  # noqa: S608
    for table, names in TABLES.items()
} | {"facts": "INSERT OR IGNORE INTO facts (name, value) VALUES (:name, :value)"}


class Upkeep(Kept, Storage):
    """The part of the storage that knows the tables, but nothing of what they are for."""

    async def purge(
        self, *, limit: int, replay_seconds: float, unused_seconds: float, idle_seconds: float | None
    ) -> int:
        """Delete one sort after the other, each in a transaction of its own. Grants of idle clients end."""
        values = {
            "limit": limit,
            "replay_seconds": replay_seconds,
            "unused_seconds": unused_seconds,
            "idle_seconds": idle_seconds,
        }
        for client_id in await self._end_idle(values):
            await sweep_all(self._file, client_id=client_id)
        swept = await sweep(self._file, limit)
        return swept + sum([await self._delete(statement, values) for statement in _PURGE])

    @written
    def _end_idle(self, db: sqlite3.Connection, now: float, values: dict[str, float | None]) -> list[str]:
        """Revoke the grants of idle clients; return these."""
        idle = [client_id for [client_id] in db.execute(_IDLE, values | {"now": now})]
        for client_id in idle:
            revoke(db, now, client_id=client_id)
        return idle

    @written
    def _delete(
        self, db: sqlite3.Connection, now: float, statement: str, values: dict[str, float | None]
    ) -> int:
        return db.execute(statement, values | {"now": now}).rowcount

    async def dump(self) -> AsyncIterator[tuple[str, Row]]:
        """Read all tables in one transaction."""
        try:
            with closing(connect(self._file.path)) as db:
                db.execute("BEGIN")
                for table, columns in TABLES.items():
                    for row in db.execute(f"SELECT * FROM {table}"):  # noqa: S608
                        yield table, {name: _neutral(row[name], kind) for name, kind in columns.items()}
        except sqlite3.Error as error:
            raise StorageUnavailable(str(error)) from error

    async def fill(self, records: AsyncIterator[tuple[str, Row]]) -> None:
        """Write all records in one transaction, on a connection of its own."""
        try:
            with closing(connect(self._file.path)) as db:
                db.execute("BEGIN IMMEDIATE")
                if db.execute("SELECT 1 FROM clients UNION SELECT 1 FROM users LIMIT 1").fetchone():
                    raise NotEmpty
                async for table, row in records:
                    db.execute(_FILL[table], {name: row.get(name) for name in TABLES[table]})
                db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StorageUnavailable(str(error)) from error


def _neutral(value: Any, kind: type) -> Value:
    """Return a value of SQLite, which has no booleans, as a backup holds it."""
    return bool(value) if kind is bool else value
