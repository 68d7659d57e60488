"""The connections of a process: a pool, a time limit for each operation, and what is done when one breaks.

Nothing is believed of a node that cannot be written to: another is the primary, and knows who was disabled.
So a connection is looked at before it is used, unless it was within a second. One to a node that was demoted,
or did not answer, takes all others with it; new ones find the node that took its place. No connection gets
old, so that an address that moved is followed.

A connection keeps no state between operations, so it may be a pooler's: no `SET`, no `LISTEN`, no temporary
table, no session lock.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeAlias, TypeVar

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from asyncpg.exceptions import ClientConfigurationError, TargetServerAttributeNotMatched

from authserver import clock, limits
from authserver.settings import SettingsError
from authserver.storage.errors import StorageLost, StorageUnavailable
from authserver.storage.facts import CHECK, IDENTITY
from authserver.storage.postgresql.schema import alone, is_behind, migrate
from authserver.storage.rows import record

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_OPERATION_SECONDS = 4.0
_RELEASE_SECONDS = 1.0
_BELIEVED_SECONDS = 1.0
_CONNECTION_SECONDS = 60.0
_PAUSE_SECONDS = 0.05
_MIGRATION_SECONDS = 600.0
_MIGRATION_PAUSE_SECONDS = 1.0

_MINIMUM_VERSION = 130_000
_DEMANDED = {
    # What was answered must outlive a crash.
    "fsync": ("on",),
    "synchronous_commit": ("on", "remote_apply"),
    # What the functions are made for: see functions/shared.sql.
    "default_transaction_isolation": ("read committed",),
    "server_encoding": ("UTF8",),
    # Else no foreign key holds, and what hangs off a grant outlives it.
    "session_replication_role": ("origin", "local"),
}
_MENDED = {"server_encoding": "CREATE DATABASE name TEMPLATE template0 ENCODING 'UTF8'"}
"""What helps where `ALTER ROLE name SET` does not."""

_EXAMPLE = "Example: AUTH_STORAGE_URL=postgresql://name:password@db.example.com/authserver"

_LOOK = """
    SELECT
        pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
        $1::bytea IS NULL OR (
            EXISTS (SELECT FROM authserver.facts WHERE name = $2 AND value = $1)
            AND EXISTS (SELECT FROM authserver.facts WHERE starts_with(name, $3)))
    """
_SWEEP = "SELECT authserver.sweep($1, $2, $3)"

_TROUBLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_DEMOTED = asyncpg.ReadOnlySQLTransactionError
_NO_TABLES = (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError)
_ROLLED_BACK = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_LOST = (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InterfaceError)

# PostgreSQL's text holds neither NUL nor a lone surrogate: they are stored as DLE and four hexadecimal
# digits, and so is DLE itself.
_UNSTORABLE = re.compile("[\0\x10\ud800-\udfff]")
_STORED = re.compile("\x10([0-9a-f]{4})")


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises into StorageUnavailable, without any value of the operation."""
    try:
        yield
    except _NO_TABLES as error:
        raise StorageLost from error
    except _TROUBLE as error:
        raise StorageUnavailable(f"PostgreSQL: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return what went wrong, on one line; the driver's own complaints about values stay unsaid."""
    text = ""
    if isinstance(error, TargetServerAttributeNotMatched):
        text = "no server of the address takes writes: a standby, or default_transaction_read_only is on"
    elif isinstance(error, asyncpg.PostgresError):
        text = str(error.args[0])
    elif isinstance(error, OSError):
        text = str(error)
    return " ".join(text.split()) or type(error).__name__


class _Connection(asyncpg.Connection):
    """A connection that knows how long it has been there, and when it was looked at."""

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self.made_at = clock.elapsed()
        self.looked_at = -_BELIEVED_SECONDS

    async def look(self, identity: bytes | None) -> bool:
        """Say whether the node can be written to; raises StorageLost where its store is another one."""
        now = clock.elapsed()
        if now - self.looked_at < _BELIEVED_SECONDS:
            return True
        found = await self.fetchrow(_LOOK, identity, IDENTITY, CHECK)
        read_only, ours = found or (True, True)
        if not ours:
            raise StorageLost
        self.looked_at = now
        return not read_only


class Connections:
    """All connections of this process to one database."""

    def __init__(self, url: str, *, size: int, pooled: bool) -> None:
        """Take what is connected to; nothing is opened yet. `pooled`: a pooler stands between."""
        self._options: dict[str, Any] = {
            "dsn": url,
            # So that of several hosts one that does not answer leaves time for the next.
            "timeout": _OPERATION_SECONDS / 3,
            "command_timeout": _OPERATION_SECONDS,
            # Nobody reads from a standby either: what was revoked would live there for a moment longer.
            "target_session_attrs": SessionAttribute.read_write,
            "statement_cache_size": 0 if pooled else 100,
            "max_cached_statement_lifetime": 0,
        }
        self._size = size
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._identity: bytes | None = None

    def pin(self, identity: bytes) -> None:
        """Take what the store is told from others by."""
        self._identity = identity

    async def open(self) -> None:
        """Look at the server, bring the schema up to date, open the pool.

        Raises SettingsError where the server does not promise what is needed.
        """
        async with self.own(seconds=_MIGRATION_SECONDS) as connection:
            with translated():
                await _examine(connection)
                await self._migrate(connection)
        with translated():
            self._pool = await asyncpg.create_pool(
                **self._options,
                min_size=0,
                max_size=self._size,
                init=_prepare,
                reset=_keep,
                connection_class=_Connection,
            )

    async def _migrate(self, connection: Connection) -> None:
        """Bring the schema up to date, again and again where others use it: between two tries they go on."""
        deadline = clock.elapsed() + _MIGRATION_SECONDS
        while await is_behind(connection):
            try:
                async with self.own() as guard, alone(guard):
                    await migrate(connection)
            except (*_ROLLED_BACK, asyncpg.LockNotAvailableError, TimeoutError):
                if clock.elapsed() > deadline:
                    raise StorageUnavailable(
                        "PostgreSQL: another node that updates the schema, or an open transaction, was in the"
                        " way all the time. Look into pg_stat_activity, end it, and start again"
                    ) from None
                await asyncio.sleep(_MIGRATION_PAUSE_SECONDS)

    async def close(self) -> None:
        """Close all connections; what is still running is given a moment."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with suppress(*_TROUBLE):
                await asyncio.wait_for(pool.close(), _OPERATION_SECONDS)

    async def run(
        self, statement: str, *values: object, repeatable: bool = False
    ) -> Sequence[asyncpg.Record]:
        """Run one statement and return its rows; raises StorageUnavailable, after 5 seconds at the latest.

        What the server rolled back for the sake of another operation is done again, and so is, once, what it
        refused since it is no primary any more. So is, once and if it is `repeatable`, what may or may not
        have happened when its connection broke.
        """
        demoted = False
        with translated():
            async with asyncio.timeout(_OPERATION_SECONDS):
                while True:
                    try:
                        return await self._run(statement, values)
                    except TimeoutError:
                        raise
                    except _ROLLED_BACK:
                        await asyncio.sleep(_PAUSE_SECONDS)  # the other one goes first
                    except _DEMOTED:
                        if demoted:
                            raise
                        demoted = True
                    except _LOST:
                        if not repeatable:
                            raise
                        repeatable = False

    async def _run(self, statement: str, values: Sequence[object]) -> Sequence[asyncpg.Record]:
        if self._pool is None:
            raise StorageUnavailable("the storage is not open")
        pool = self._pool
        while True:
            connection = await pool.acquire()
            try:
                if await self._is_good(connection):
                    return await connection.fetch(statement, *values)
            except (_DEMOTED, TimeoutError, asyncio.CancelledError):
                # The node that took its place, or the address that moved, is found by new connections only.
                await pool.expire_connections()
                raise
            finally:
                # One that does not become free in time is terminated by the pool.
                with suppress(*_TROUBLE):
                    await pool.release(connection, timeout=_RELEASE_SECONDS)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _is_good(self, connection: Any) -> bool:
        """Say whether a connection may be used; else it, or all of them, are replaced."""
        try:
            if clock.elapsed() - connection.made_at > _CONNECTION_SECONDS:
                await connection.close(timeout=_RELEASE_SECONDS)
                return False
            if await connection.look(self._identity):
                return True
        except _LOST:
            # It broke while nobody used it: nothing was asked yet.
            connection.terminate()
            return False
        assert self._pool is not None  # noqa: S101
        await self._pool.expire_connections()
        return False

    @asynccontextmanager
    async def own(self, seconds: float = _OPERATION_SECONDS) -> AsyncIterator[Connection]:
        """Open a connection for long work, of which each step may take `seconds`."""
        options = self._options | {"command_timeout": seconds}
        with translated():
            try:
                connection: Connection = await asyncpg.connect(**options)
            except (ClientConfigurationError, asyncpg.UndefinedObjectError) as error:
                # Of the second kind are options that libpq knows, and this driver hands to the server.
                raise SettingsError(f"AUTH_STORAGE_URL: {error.args[0]}. {_EXAMPLE}") from None
            except OSError:
                raise
            except ValueError:
                # The text could hold a part of the URL.
                raise SettingsError(f"AUTH_STORAGE_URL: an option of it cannot be read. {_EXAMPLE}") from None
        try:
            with translated():
                await _prepare(connection)
            yield connection
        finally:
            with suppress(*_TROUBLE):
                await connection.close(timeout=_RELEASE_SECONDS)

    async def sweep(self, *, client_id: str | None = None, subject: str | None = None) -> None:
        """Delete all that is left of the grants of a client or user, so that others come in between."""
        while (await self.run(_SWEEP, limits.PURGE_RECORDS, client_id, subject))[0][0]:  # noqa: ASYNC110
            await asyncio.sleep(limits.SWEEP_PAUSE_SECONDS)


class Subject:
    """A subject of the storage: what it asks the database, each time in one round trip."""

    def __init__(self, connections: Connections) -> None:
        self._run = connections.run
        self._sweep = connections.sweep

    async def _value(self, statement: str, *values: object, repeatable: bool = False) -> Any:
        """Return the first column of the first row; None: there is no row."""
        rows = await self._run(statement, *values, repeatable=repeatable)
        return rows[0][0] if rows else None

    async def _said(self, statement: str, *values: object, repeatable: bool = False) -> bool:
        """Return what the first column of the first row says; False: there is no row."""
        return bool(await self._value(statement, *values, repeatable=repeatable))

    async def _record(
        self, kind: type[T], statement: str, *values: object, repeatable: bool = False
    ) -> T | None:
        """Return the record of the first row; None: there is no row."""
        rows = await self._run(statement, *values, repeatable=repeatable)
        return record(kind, rows[0]) if rows else None

    async def _records(self, kind: type[T], statement: str, *values: object) -> list[T]:
        """Return the records of all rows of a statement that only reads."""
        return [record(kind, row) for row in await self._run(statement, *values, repeatable=True)]


async def _examine(connection: Connection) -> None:
    """Raise SettingsError where the server is too old, or does not promise what is needed."""
    names = ("server_version_num", *_DEMANDED)
    columns = ", ".join(f"current_setting('{name}') AS {name}" for name in names)
    found = await connection.fetchrow(f"SELECT {columns}")
    assert found is not None  # noqa: S101
    if int(found["server_version_num"]) < _MINIMUM_VERSION:
        raise SettingsError(
            f"AUTH_STORAGE_URL: the server's version is {found['server_version_num']},"
            f" {_MINIMUM_VERSION} or newer is needed"
        )
    for name, accepted in _DEMANDED.items():
        if found[name] not in accepted:
            mended = _MENDED.get(name, f"ALTER ROLE name SET {name} = '{accepted[0]}'")
            raise SettingsError(
                f"AUTH_STORAGE_URL: the database has {name} = {found[name]}, it must be {accepted[0]}."
                f" Example: {mended}"
            )


async def _prepare(connection: Connection) -> None:
    await connection.set_type_codec(
        "text", schema="pg_catalog", encoder=_to_stored, decoder=_from_stored, format="text"
    )


async def _keep(connection: Connection) -> None:
    """Leave a connection as it is: there is nothing on it to reset."""


def _to_stored(text: str) -> str:
    return _UNSTORABLE.sub(lambda found: f"\x10{ord(found[0]):04x}", text)


def _from_stored(text: str) -> str:
    return _STORED.sub(lambda found: chr(int(found[1], 16)), text)
