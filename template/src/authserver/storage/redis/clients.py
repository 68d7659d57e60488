"""Registered clients, in the order of their registration."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from authserver.model.records import Client
from authserver.storage.clients import Clients, Share
from authserver.storage.redis.server import Kept
from authserver.storage.redis.values import each, found


class RedisClients(Kept, Clients):
    """The clients of a store."""

    async def add(self, client: Client, *, place: str, shares: Sequence[Share]) -> None:
        row = asdict(client) | {"metadata": json.dumps(client.metadata)}
        parts = [part for share in shares for part in (share.digits, share.most)]
        await self._server.run("add_client", row, place, len(shares), *parts, again=True)

    async def get(self, client_id: str) -> Client | None:
        return found(Client, await self._server.run("get", "clients", client_id))

    async def all(self) -> list[Client]:
        return each(Client, await self._server.run("list", "clients"))

    async def approve(self, client_id: str) -> bool:
        return bool(await self._server.run("approve_client", client_id, again=True))

    async def remove(self, client_id: str) -> bool:
        await self._server.run("end_client", client_id, again=True)
        await self._server.sweep(client_id=client_id)
        return bool(await self._server.run("remove_client", client_id))
