"""What deletes, copies and restores whole tables."""

from collections.abc import AsyncIterator

from authserver.storage import Storage
from authserver.storage.errors import NotEmpty
from authserver.storage.postgresql.connections import Connection, Connections, translated
from authserver.storage.tables import EXPIRING, TABLES, Row

_BATCH = 500


class Upkeep(Storage):
    """The part of the storage that sees all tables. Their names, and those of their columns, are ours."""

    _connections: Connections

    async def purge(
        self,
        *,
        limit: int,
        replay_seconds: float,
        unused_seconds: float,
        idle_seconds: float | None,
    ) -> int:
        """Run one transaction for each sort. What another node deletes right now is skipped."""
        run = self._connections.run
        rows = [
            *await run(
                """
                WITH emptied AS (
                    UPDATE authserver.refresh_tokens SET salt = NULL
                    WHERE digest = ANY (ARRAY(
                        SELECT digest FROM authserver.refresh_tokens
                        WHERE salt IS NOT NULL AND spent_at < authserver.now() - $2
                        LIMIT $1 FOR UPDATE SKIP LOCKED))
                    RETURNING 1)
                SELECT count(*) FROM emptied
                """,
                limit,
                replay_seconds,
            )
        ]
        for table, (key, over) in EXPIRING.items():
            rows += await run(
                f"""
                WITH deleted AS (
                    DELETE FROM authserver.{table}
                    WHERE {key} = ANY (ARRAY(
                        SELECT {key} FROM authserver.{table}
                        WHERE {over} <= authserver.now()
                        LIMIT $1 FOR UPDATE SKIP LOCKED))
                    RETURNING 1)
                SELECT count(*) FROM deleted
                """,  # noqa: S608
                limit,
            )
        [[idle]] = await run("SELECT authserver.end_idle_grants($1, $2)", limit, idle_seconds)
        for client_id in idle:
            await self._connections.sweep(client_id=client_id)
        rows += await run("SELECT authserver.sweep($1, NULL, NULL)", limit)
        rows += await run("SELECT authserver.purge_clients($1, $2, $3)", limit, unused_seconds, idle_seconds)
        return sum(count for [count] in rows)

    async def dump(self) -> AsyncIterator[tuple[str, Row]]:
        """Read all tables in one transaction, some hundred rows at a time."""
        async with self._connections.own() as connection:
            with translated():
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            for table, columns in TABLES.items():
                with translated():
                    await connection.execute(
                        f"DECLARE {table} CURSOR FOR SELECT {', '.join(columns)} FROM authserver.{table}"  # noqa: S608
                    )
                while True:
                    with translated():
                        rows = await connection.fetch(f"FETCH {_BATCH} FROM {table}")
                    for row in rows:
                        yield table, {name: row[name] for name in columns}
                    if len(rows) < _BATCH:
                        break

    async def fill(self, records: AsyncIterator[tuple[str, Row]]) -> None:
        """Write all records in one transaction, on a connection of its own, while nobody else writes."""
        async with self._connections.own() as connection:
            with translated():
                await connection.execute("BEGIN")
                await connection.execute(
                    "LOCK TABLE authserver.clients, authserver.users IN SHARE ROW EXCLUSIVE MODE"
                )
                if await connection.fetchval(
                    "SELECT EXISTS (SELECT FROM authserver.clients) OR EXISTS (SELECT FROM authserver.users)"
                ):
                    raise NotEmpty
            batch: list[Row] = []
            table = ""
            async for name, row in records:
                if batch and (name != table or len(batch) == _BATCH):
                    await _store(connection, table, batch)
                    batch = []
                table = name
                batch.append(row)
            await _store(connection, table, batch)
            with translated():
                await connection.execute("COMMIT")


async def _store(connection: Connection, table: str, rows: list[Row]) -> None:
    if not rows:
        return
    columns = TABLES[table]
    places = ", ".join(f"${number}" for number, _ in enumerate(columns, 1))
    statement = f"""
        INSERT INTO authserver.{table} ({", ".join(columns)})
        VALUES ({places})
        {"ON CONFLICT DO NOTHING" if table == "facts" else ""}
        """  # noqa: S608
    with translated():
        await connection.executemany(statement, [[row.get(name) for name in columns] for row in rows])
