"""Clients, in SQLite."""

import json
import sqlite3
from dataclasses import asdict

from authserver.model.records import Client
from authserver.storage.clients import Clients
from authserver.storage.sqlite.file import Kept, written
from authserver.storage.sqlite.revoking import revoke


class SQLiteClients(Kept, Clients):
    """The table `clients`; what hangs off a row goes with it."""

    @written
    def add(
        self,
        db: sqlite3.Connection,
        now: float,
        client: Client,
        *,
        unused_limit: int,
        unused_age_seconds: float,
    ) -> bool:
        if db.execute("SELECT 1 FROM clients WHERE client_id = ?", (client.client_id,)).fetchone():
            return True
        unused = db.execute("SELECT count(*) FROM clients WHERE completed_at IS NULL").fetchone()[0]
        if unused >= unused_limit:
            made_room = db.execute(
                """
                DELETE FROM clients WHERE client_id = (
                    SELECT client_id FROM clients
                    WHERE completed_at IS NULL AND created_at < :before AND address = (
                        SELECT address FROM clients WHERE completed_at IS NULL
                        GROUP BY address ORDER BY count(*) DESC LIMIT 1
                    )
                    ORDER BY created_at LIMIT 1
                )
                """,
                {"before": now - unused_age_seconds},
            )
            if made_room.rowcount == 0:
                return False
        db.execute(
            """
            INSERT INTO clients (
                client_id, metadata, secret_digest, address, created_at, approved_at, completed_at
            ) VALUES (
                :client_id, :metadata, :secret_digest, :address, :now,
                CASE WHEN :approved_at IS NOT NULL THEN :now END,
                CASE WHEN :completed_at IS NOT NULL THEN :now END
            )
            """,
            asdict(client) | {"metadata": json.dumps(client.metadata), "now": now},
        )
        return True

    async def get(self, client_id: str) -> Client | None:
        return self._file.one(Client, "SELECT * FROM clients WHERE client_id = :id", id=client_id)

    async def all(self) -> list[Client]:
        return self._file.all(Client, "SELECT * FROM clients ORDER BY created_at")

    @written
    def approve(self, db: sqlite3.Connection, now: float, client_id: str) -> bool:
        approved = db.execute("UPDATE clients SET approved_at = ? WHERE client_id = ?", (now, client_id))
        return approved.rowcount > 0

    @written
    def remove(self, db: sqlite3.Connection, now: float, client_id: str) -> bool:
        revoke(db, now, client_id=client_id)
        return db.execute("DELETE FROM clients WHERE client_id = ?", (client_id,)).rowcount > 0
