"""What operators and the clock ask of a store: purge, backup, restore."""

import contextlib
import uuid
from collections.abc import AsyncIterator

from authserver.storage import Storage
from authserver.storage.errors import NotEmpty, StorageUnavailable
from authserver.storage.redis.server import Server
from authserver.storage.redis.values import decode
from authserver.storage.tables import EXPIRING, TABLES, Row

LEASE_MILLISECONDS = 60_000
"""How long others wait for whoever dumps or fills, and is not heard of any more."""

_BATCH = 200


class Upkeep(Storage):
    """The part of the storage that sees all tables."""

    _server: Server

    async def purge(
        self,
        *,
        limit: int,
        replay_seconds: float,
        unused_seconds: float,
        idle_seconds: float | None,
    ) -> int:
        """Run one script for each sort."""
        if idle_seconds is not None:
            for client_id in await self._server.run("end_idle_grants", limit, idle_seconds):
                await self._server.sweep(client_id=client_id.decode())
        deleted = [await self._server.run("sweep", limit, None, None)]
        deleted += [await self._server.run("purge_expired", table, limit) for table in EXPIRING]
        deleted.append(await self._server.run("purge_salts", limit, replay_seconds))
        deleted.append(await self._server.run("purge_clients", "unused", limit, unused_seconds))
        if idle_seconds is not None:
            deleted.append(await self._server.run("purge_clients", "used", limit, idle_seconds))
        return sum(deleted)

    async def dump(self) -> AsyncIterator[tuple[str, Row]]:
        """Read all tables while nobody writes: whoever dies over it keeps the others from it for a minute."""
        token = uuid.uuid4().hex
        if not await self._server.run("begin_dump", token, LEASE_MILLISECONDS):
            raise StorageUnavailable("another backup or a restore is running")
        try:
            for table, columns in TABLES.items():
                first = 0
                while True:
                    batch = await self._server.run("dump", token, LEASE_MILLISECONDS, table, first, _BATCH)
                    if batch is None:
                        raise StorageUnavailable("the backup took too long over a batch, and writing went on")
                    seen, found = batch
                    for row in map(decode, found):
                        yield table, {name: row[name] for name in columns}
                    if seen < _BATCH:
                        break
                    first += seen
        finally:
            with contextlib.suppress(StorageUnavailable):  # then it ends by itself
                await self._server.run("end_dump", token, again=True)

    async def fill(self, records: AsyncIterator[tuple[str, Row]]) -> None:
        """Write all records while nobody else does; undo them if one fails."""
        token = uuid.uuid4().hex
        state = await self._server.run("begin_fill", token, LEASE_MILLISECONDS)
        if state == b"not empty":
            raise NotEmpty
        if state != b"ready":
            raise StorageUnavailable("a backup or another restore is running")
        facts: list[Row] = []
        batch: list[tuple[str, Row]] = []
        try:
            async for table, row in records:
                if table == "facts":
                    facts.append(row)
                    continue
                batch.append((table, row))
                if len(batch) == _BATCH:
                    await self._fill(token, batch)
                    batch = []
            await self._fill(token, batch)
            if not await self._server.run("end_fill", token, facts, again=True):
                raise StorageUnavailable("the restore took too long, and was undone")
        except BaseException:
            await self._undo_fill(token)
            raise

    async def _fill(self, token: str, batch: list[tuple[str, Row]]) -> None:
        flat = [part for entry in batch for part in entry]
        if not await self._server.run("fill", token, LEASE_MILLISECONDS, len(batch), *flat):
            raise StorageUnavailable("the restore took too long, and was undone")

    async def _undo_fill(self, token: str) -> None:
        while await self._server.run("undo_fill", token, LEASE_MILLISECONDS, _BATCH):
            pass
        await self._server.run("end_fill", token, [], again=True)
