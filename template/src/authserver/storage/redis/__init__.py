"""Storage in Redis or Valkey, for several nodes: each operation is one script, which the server runs whole.

The scripts say what is kept and how it is found (`scripts/helpers`), `server.py` how they are reached.
"""

import uuid

from authserver.storage.errors import StorageUnavailable
from authserver.storage.facts import identify
from authserver.storage.redis.address import parse_address
from authserver.storage.redis.clients import RedisClients
from authserver.storage.redis.doctor import checks
from authserver.storage.redis.facts import RedisFacts
from authserver.storage.redis.grants import RedisGrants
from authserver.storage.redis.server import Server, check_server
from authserver.storage.redis.settings import Settings
from authserver.storage.redis.sign_ins import RedisSignIns
from authserver.storage.redis.upkeep import LEASE_MILLISECONDS, Upkeep
from authserver.storage.redis.users import RedisUsers

__all__ = ["Settings", "checks", "create"]

_SCHEMA = 1


def create(settings: Settings) -> "RedisStorage":
    """Return the storage for these settings; nothing is opened yet."""
    address = parse_address(settings.storage_url.get_secret_value())
    server = Server(address, settings.storage_replicas)
    return RedisStorage(server, durable=settings.storage_durability == "demand")


class RedisStorage(Upkeep):
    """The store under one prefix of a server."""

    def __init__(self, server: Server, *, durable: bool) -> None:
        super().__init__(
            facts=RedisFacts(server),
            clients=RedisClients(server),
            users=RedisUsers(server),
            sign_ins=RedisSignIns(server),
            grants=RedisGrants(server),
        )
        self._server = server
        self._durable = durable

    async def open(self) -> None:
        """Refuse a server that would lose records: that is a SettingsError."""
        self._server.open()
        try:
            await check_server(self._server, durable=self._durable)
            await self._prepare()
        except BaseException:
            await self.close()
            raise

    async def _prepare(self) -> None:
        token = uuid.uuid4().hex
        state = (await self._server.run("open", _SCHEMA, token, LEASE_MILLISECONDS)).decode()
        if state == "filling":
            raise StorageUnavailable("a restore is running, the storage is not to be used yet")
        if state == "torn":
            await self._undo_fill(token)
        elif state != "ready":
            raise StorageUnavailable(
                f"the database has {state}, this release knows {_SCHEMA}:"
                " run the newer release, or restore the backup that was made before the update"
            )

    async def close(self) -> None:
        await self._server.close()

    async def pin(self) -> None:
        self._server.pin(await identify(self.facts))

    async def ping(self) -> None:
        """Write, also while a backup runs: it is the server that is asked."""
        await self._server.run("ping", again=True)

    async def now(self) -> float:
        return await self._server.time()
