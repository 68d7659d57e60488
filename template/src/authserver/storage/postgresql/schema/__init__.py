"""The tables: numbered SQL files, each applied once, in order, and recorded in `authserver.schema_versions`.

The first one makes what version 3 of the releases 0.1.0 and 0.2.0 is. Functions are no part of the versions:
all are applied again wherever the number in `authserver.function_versions` is lower than theirs.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg

from authserver.storage.errors import StorageUnavailable
from authserver.storage.postgresql import functions

# Each node reads the number when it starts, also with a role that was given its rights one by one.
_FUNCTION_VERSIONS = """
    CREATE TABLE IF NOT EXISTS authserver.function_versions (
        version integer PRIMARY KEY,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    GRANT SELECT ON authserver.function_versions TO PUBLIC;
    """


async def migrate(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Bring tables and functions up to date, in one transaction, whatever other node tries the same.

    Where nothing is to be done, nothing is asked for but reading: the role of the nodes need not own tables.
    Raises StorageUnavailable where the tables are those of a newer release.
    """
    changes = {int(script.name[:4]): script for script in _scripts(__name__)}
    known = (max(changes), functions.NUMBER)
    found = await _recorded(connection)
    if found < known:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(0, 0)")
            found = await _recorded(connection)
            for version, script in changes.items():
                if version > found[0]:
                    await connection.execute(script.read_text(encoding="utf-8"))
                    await connection.execute("INSERT INTO authserver.schema_versions VALUES ($1)", version)
            if found[1] < functions.NUMBER:
                for script in _scripts(functions.__name__):
                    await connection.execute(script.read_text(encoding="utf-8"))
                await connection.execute(_FUNCTION_VERSIONS)
                await connection.execute(
                    "INSERT INTO authserver.function_versions VALUES ($1)", functions.NUMBER
                )
    if found[0] > known[0]:
        raise StorageUnavailable(
            f"the database has schema {found[0]}, this release knows {known[0]}:"
            " run the newer release, or restore the backup that was made before the update"
        )


def _scripts(package: str) -> list[Traversable]:
    found = (entry for entry in files(package).iterdir() if entry.name.endswith(".sql"))
    return sorted(found, key=lambda entry: entry.name)


async def _recorded(connection: "asyncpg.Connection[asyncpg.Record]") -> tuple[int, int]:
    """Return the version of the tables and that of the functions; 0: there are none."""
    # Not to_regclass: that may answer from before the lock was given.
    there = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'authserver'")
    names = {row["tablename"] for row in there}
    version = number = 0
    if "schema_versions" in names:
        version = await connection.fetchval("SELECT max(version) FROM authserver.schema_versions")
    if "function_versions" in names:
        number = await connection.fetchval("SELECT max(version) FROM authserver.function_versions")
    return version, number
