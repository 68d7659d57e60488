"""Columns and indexes that came after the tables of this folder, made while nodes of older releases go on.

Each column has a default, and no statement of older nodes names it. So they are no version of the tables,
beside which older nodes could not start again. After a change here raise the number of the functions, too.

Nothing here blocks the service. What is there is not asked for: even ADD COLUMN IF NOT EXISTS waits until all
have left the table, and all others queue behind it. A column is waited for only a second. An index is built
beside those who write.
"""

import asyncpg

COLUMNS = (
    # What was begun under an epoch that has passed opens nothing. What older nodes write is of the first one.
    ("users", "epoch", "bigint NOT NULL DEFAULT 0"),
    ("sessions", "epoch", "bigint NOT NULL DEFAULT 0"),
    # The networks that a client came from: digits of its address, see requests/networks.py. Older ones share
    # one, and so do those that older nodes add.
    ("clients", "place", "text COLLATE \"C\" NOT NULL DEFAULT '0000000000000000'"),
)

INDEXES = (
    ("clients_places", "clients (place, created_at) WHERE completed_at IS NULL"),
    # The oldest spent refresh tokens of a grant are found by it.
    ("refresh_tokens_spent", "refresh_tokens (grant_id, spent_at)"),
)

# For a lock. It is less than an operation of a node may take, which may have to wait for the same time.
WAIT = "SET LOCAL lock_timeout = '1s'"

_COLUMNS = """
    SELECT relname, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'authserver'::regnamespace AND NOT attisdropped
    """
_INDEXES = """
    SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE relnamespace = 'authserver'::regnamespace
    """


async def add(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Make what is missing, outside of any transaction; what was made stays if the next one fails.

    Raises LockNotAvailableError where somebody used a table all the time: it is to be tried again.
    """
    columns = {tuple(row) for row in await connection.fetch(_COLUMNS)}
    for table, column, kind in COLUMNS:
        if (table, column) not in columns:
            # One lock at a time: whoever holds one and waits for the next is waited for by somebody.
            async with connection.transaction():
                await connection.execute(WAIT)
                await connection.execute(f"ALTER TABLE authserver.{table} ADD COLUMN {column} {kind}")
    indexes = {row["relname"]: row["indisvalid"] for row in await connection.fetch(_INDEXES)}
    for name, kind in INDEXES:
        if indexes.get(name) is False:  # its making was interrupted
            await connection.execute(f"DROP INDEX CONCURRENTLY authserver.{name}")
        if not indexes.get(name):
            await connection.execute(f"CREATE INDEX CONCURRENTLY {name} ON authserver.{kind}")
