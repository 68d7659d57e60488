"""Facts: each a hash with a name and a value."""

from typing_extensions import override

from authserver.storage.facts import Facts
from authserver.storage.redis.server import Kept
from authserver.storage.redis.values import decode


class RedisFacts(Kept, Facts):
    """The facts of a store."""

    @override
    async def recall(self, name: str) -> bytes | None:
        value: bytes | None = await self._server.command(b"HGET", f"facts/{name}", b"value")
        return value

    @override
    async def remember(self, name: str, value: bytes) -> bytes:
        """Answer also while a backup runs, if there is a value."""
        stored = await self.recall(name)
        return stored or bytes(await self._server.run("remember", {"name": name, "value": value}, again=True))

    @override
    async def all(self, prefix: str) -> dict[str, bytes]:
        found = map(decode, await self._server.run("list_facts", prefix))
        return {row["name"]: row["value"] for row in found}

    @override
    async def forget(self, name: str) -> bool:
        return bool(await self._server.run("forget", name))
