"""The tables: numbered SQL files, each applied once, in order, and recorded in `authserver.schema_versions`.

The first one makes what version 3 of the releases 0.1.0 and 0.2.0 is. Functions are no part of the versions:
all are applied again wherever the number in `authserver.function_versions` is lower than theirs, after what
`additions` makes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg

from authserver.storage.errors import StorageUnavailable
from authserver.storage.postgresql import functions
from authserver.storage.postgresql.schema import additions
from authserver.storage.postgresql.schema.additions import WAIT

# Each node reads the number when it starts, also with a role that was given its rights one by one.
_FUNCTION_VERSIONS = """
    CREATE TABLE IF NOT EXISTS authserver.function_versions (
        version integer PRIMARY KEY,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    GRANT SELECT ON authserver.function_versions TO PUBLIC;
    """


async def is_behind(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Say whether tables or functions are those of an older release, or missing.

    Only reading is asked for: the role of the nodes need not own tables.
    Raises StorageUnavailable where the tables are those of a newer release.
    """
    known = (max(_changes()), functions.NUMBER)
    found = await _recorded(connection)
    if found[0] > known[0]:
        raise StorageUnavailable(
            f"the database has schema {found[0]}, this release knows {known[0]}:"
            " run the newer release, or restore the backup that was made before the update"
        )
    return found < known


@asynccontextmanager
async def alone(connection: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[None]:
    """Keep other nodes from migrating, by a transaction of a connection that is used for nothing else.

    No lock of a session, which would stay with a pooler. No transaction that sees rows either: for such ones
    an index that is built would wait, here and on each node that waits its turn. So a turn is waited for one
    second only; then LockNotAvailableError is raised.
    """
    async with connection.transaction():
        await connection.execute(WAIT)
        await connection.execute("SELECT pg_advisory_xact_lock(0, 0)")
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield


async def migrate(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Bring tables and functions up to date while others use them; the caller is `alone`.

    Each step is done for good, and only where it is missing: what was interrupted or rolled back, by
    LockNotAvailableError for one, is repeated as a whole.
    """
    version, number = await _recorded(connection)
    async with connection.transaction():
        for change, script in _changes().items():
            if change > version:
                await connection.execute(script.read_text(encoding="utf-8"))
                await connection.execute("INSERT INTO authserver.schema_versions VALUES ($1)", change)
    if number < functions.NUMBER:
        await additions.add(connection)
        async with connection.transaction():
            for script in _scripts(functions.__name__):
                await connection.execute(script.read_text(encoding="utf-8"))
            await connection.execute(_FUNCTION_VERSIONS)
            await connection.execute("INSERT INTO authserver.function_versions VALUES ($1)", functions.NUMBER)


def _changes() -> dict[int, Traversable]:
    return {int(script.name[:4]): script for script in _scripts(__name__)}


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
