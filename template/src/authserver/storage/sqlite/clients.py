"""Clients, in SQLite."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict

from authserver import limits
from authserver.model.records import Client
from authserver.storage.clients import Clients, Share
from authserver.storage.sqlite.file import File, Found, Kept, written
from authserver.storage.sqlite.places import make_room
from authserver.storage.sqlite.revoking import revoke, sweep_all


class SQLiteClients(Kept, Clients):
    """The table `clients`; what hangs off a row goes with it."""

    def __init__(self, file: File) -> None:
        super().__init__(file)
        statement = "SELECT * FROM clients WHERE client_id = :key"
        self._found = Found(file, Client, statement, room=limits.REMEMBERED_CLIENTS)

    @written
    def add(
        self, db: sqlite3.Connection, now: float, client: Client, *, place: str, shares: Sequence[Share]
    ) -> None:
        if db.execute("SELECT 1 FROM clients WHERE client_id = ?", (client.client_id,)).fetchone():
            return
        since = now if client.completed_at is not None else make_room(db, now, place, shares)
        db.execute(
            """
            INSERT INTO clients (
                client_id, metadata, secret_digest, address, place, created_at, approved_at, completed_at
            ) VALUES (
                :client_id, :metadata, :secret_digest, :address, :place, :since,
                CASE WHEN :approved_at IS NOT NULL THEN :since END,
                CASE WHEN :completed_at IS NOT NULL THEN :since END
            )
            """,
            asdict(client) | {"metadata": json.dumps(client.metadata), "place": place, "since": since},
        )

    async def get(self, client_id: str) -> Client | None:
        return self._found.get(client_id)

    async def all(self) -> list[Client]:
        return self._file.all(Client, "SELECT * FROM clients ORDER BY created_at")

    @written
    def approve(self, db: sqlite3.Connection, now: float, client_id: str) -> bool:
        approved = db.execute("UPDATE clients SET approved_at = ? WHERE client_id = ?", (now, client_id))
        return approved.rowcount > 0

    async def remove(self, client_id: str) -> bool:
        await self._file.write(lambda db, now: revoke(db, now, client_id=client_id))
        await sweep_all(self._file, client_id=client_id)
        return await self._remove(client_id)

    @written
    def _remove(self, db: sqlite3.Connection, now: float, client_id: str) -> bool:
        """Delete the client, and what it was allowed in the meantime."""
        revoke(db, now, client_id=client_id)
        return db.execute("DELETE FROM clients WHERE client_id = ?", (client_id,)).rowcount > 0
