"""Registered clients, in the order of their registration."""

import json
from dataclasses import asdict

from authserver.model.records import Client
from authserver.storage.clients import Clients
from authserver.storage.redis.server import Kept
from authserver.storage.redis.values import each, found


class RedisClients(Kept, Clients):
    """The clients of a store."""

    async def add(self, client: Client, *, unused_limit: int, unused_age_seconds: float) -> bool:
        row = asdict(client) | {"metadata": json.dumps(client.metadata)}
        return bool(await self._server.run("add_client", row, unused_limit, unused_age_seconds, again=True))

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
