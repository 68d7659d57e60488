"""Registered clients. Adding and removing one are functions: see functions/clients.sql."""

import json
from collections.abc import Sequence

from authserver.model.records import Client
from authserver.storage.clients import Clients, Share
from authserver.storage.postgresql.connections import Subject


class PostgreSQLClients(Subject, Clients):
    """The clients of a database."""

    async def add(self, client: Client, *, place: str, shares: Sequence[Share]) -> None:
        await self._run(
            "SELECT authserver.register_client($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            client.client_id,
            json.dumps(client.metadata),
            client.secret_digest,
            client.address,
            client.approved_at is not None,
            client.completed_at is not None,
            place,
            [share.digits for share in shares],
            [share.most for share in shares],
            repeatable=True,
        )

    async def get(self, client_id: str) -> Client | None:
        return await self._record(
            Client,
            """
            SELECT client_id, metadata, secret_digest, address, created_at, approved_at, completed_at
            FROM authserver.clients
            WHERE client_id = $1
            """,
            client_id,
            repeatable=True,
        )

    async def all(self) -> list[Client]:
        return await self._records(
            Client,
            """
            SELECT client_id, metadata, secret_digest, address, created_at, approved_at, completed_at
            FROM authserver.clients
            ORDER BY created_at
            """,
        )

    async def approve(self, client_id: str) -> bool:
        return await self._said(
            """
            UPDATE authserver.clients SET approved_at = authserver.now()
            WHERE client_id = $1
            RETURNING true
            """,
            client_id,
            repeatable=True,
        )

    async def remove(self, client_id: str) -> bool:
        """Delete the client, and what it was allowed in the meantime."""
        await self._run("SELECT authserver.end_client($1)", client_id, repeatable=True)
        await self._sweep(client_id=client_id)
        return await self._said("SELECT authserver.remove_client($1)", client_id)
