"""Facts: each a hash with a name and a value."""

from authserver.storage.facts import Facts
from authserver.storage.redis.server import Kept
from authserver.storage.redis.values import decode


class RedisFacts(Kept, Facts):
    """The facts of a store."""

    async def recall(self, name: str) -> bytes | None:
        flat = await self._server.run("get", "facts", name)
        return decode(flat)["value"] if flat else None

    async def remember(self, name: str, value: bytes) -> bytes:
        """Answer also while a backup runs, if there is a value."""
        stored = await self.recall(name)
        return stored or bytes(await self._server.run("remember", {"name": name, "value": value}, again=True))

    async def all(self, prefix: str) -> dict[str, bytes]:
        found = map(decode, await self._server.run("list_facts", prefix))
        return {row["name"]: row["value"] for row in found}

    async def forget(self, name: str) -> bool:
        return bool(await self._server.run("forget", name))
