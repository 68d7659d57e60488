"""Numbered SQL files, applied in order, once each, recorded in `authserver.schema_versions`."""

from importlib.resources import files

import asyncpg

from authserver.storage import StorageUnavailable


async def migrate(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Bring the schema up to date, in one transaction, whatever other node tries the same.

    Where nothing is to be done, nothing is asked for but reading: the role of the nodes need not own tables.
    Raises StorageUnavailable where the database was written by a newer release.
    """
    scripts = sorted(
        (entry for entry in files(__name__).iterdir() if entry.name.endswith(".sql")),
        key=lambda entry: entry.name,
    )
    version = await _version(connection)
    if version < len(scripts):
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(0, 0)")
            version = await _version(connection)
            for number, script in enumerate(scripts[version:], version + 1):
                await connection.execute(script.read_text(encoding="utf-8"))
                await connection.execute("INSERT INTO authserver.schema_versions VALUES ($1)", number)
    if version > len(scripts):
        raise StorageUnavailable(
            f"the database has schema {version}, this release knows {len(scripts)}:"
            " run the newer release, or restore the backup that was made before the update"
        )


async def _version(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    # Not to_regclass: that may answer from before the lock was given.
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_tables"
        " WHERE schemaname = 'authserver' AND tablename = 'schema_versions')"
    ):
        return 0
    version: int = await connection.fetchval("SELECT max(version) FROM authserver.schema_versions")
    return version
