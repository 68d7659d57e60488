"""Facts: a table of names and values."""

from typing_extensions import override

from authserver.storage.facts import Facts
from authserver.storage.postgresql.connections import Subject


class PostgreSQLFacts(Subject, Facts):
    """The facts of a database."""

    @override
    async def recall(self, name: str) -> bytes | None:
        value: bytes | None = await self._value(
            "SELECT value FROM authserver.facts WHERE name = $1", name, repeatable=True
        )
        return value

    @override
    async def remember(self, name: str, value: bytes) -> bytes:
        stored: bytes = await self._value(
            """
            INSERT INTO authserver.facts AS stored (name, value)
            VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET value = stored.value
            RETURNING value
            """,
            name,
            value,
            repeatable=True,
        )
        return stored

    @override
    async def all(self, prefix: str) -> dict[str, bytes]:
        rows = await self._run(
            "SELECT name, value FROM authserver.facts WHERE starts_with(name, $1)", prefix, repeatable=True
        )
        return {row["name"]: row["value"] for row in rows}

    @override
    async def forget(self, name: str) -> bool:
        return await self._said("DELETE FROM authserver.facts WHERE name = $1 RETURNING true", name)
