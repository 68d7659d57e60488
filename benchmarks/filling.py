"""Very many grants, each with an access and a refresh token, put into a store by its engine itself.

Rows are as a sign-in leaves them, but for their names: copies of the first grant. Indexes of SQL are made
when all rows are in, and rows come in the order of their keys: else it would take hours.
"""

import asyncio
import hashlib
import os
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import asyncpg
from engines.redis import RedisEngine
from redis import Redis
from sides import Store

from authserver.storage.redis import scripts
from authserver.storage.tables import TABLES

_TABLES = ("grants", "access_tokens", "refresh_tokens")
_OTHERS = [name for name in TABLES["grants"] if name not in ("grant_id", "expires_at")]
_BATCH = 1000
# A grant in Redis, with what finds it; and what other programs of the machine need.
_REDIS_BYTES = 3000
_SHARE_OF_MEMORY = 0.5


class Pair(NamedTuple):
    """The digests of the tokens of a grant."""

    access: bytes
    refresh: bytes


async def fill(store: Store, grants: int, *, lives_seconds: float, sampled: int = 1) -> list[Pair]:
    """Add grants whose tokens live so long; return digests of some, from all over, of a grant once."""
    ends = time.time() + lives_seconds
    match store.storage:
        case "sqlite":
            pairs = await asyncio.to_thread(_fill_sqlite, store, grants, ends, sampled)
        case "postgresql":
            pairs = await _fill_postgresql(store, grants, ends, sampled)
        case _:
            pairs = await asyncio.to_thread(_fill_redis, store, grants, ends, sampled)
    return list({pair.refresh: pair for pair in pairs}.values())


def room(store: Store, grants: int) -> int:
    """Return how many of so many grants fit here: Redis keeps them in memory."""
    if store.storage != "redis":
        return grants
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    told = Path("/proc/meminfo").read_text(encoding="utf-8").partition("MemAvailable:")[2]
    free = int(told.split()[0]) * 1024 if told else free
    return min(grants, int(free * _SHARE_OF_MEMORY / _REDIS_BYTES))


def stored_bytes(store: Store) -> int:
    """Return how large a store is: on the disk, of Redis in memory."""
    match store.storage:
        case "sqlite":
            return _path(store).stat().st_size
        case "postgresql":
            return int(asyncio.run(_ask(store, "SELECT pg_database_size(current_database())")))
        case _:
            with _redis(store) as (client, _):
                return int(client.info("memory")["used_memory"])


def expired(store: Store) -> int:
    """Return how many expired grants are not deleted yet."""
    now = time.time()
    match store.storage:
        case "sqlite":
            with closing(sqlite3.connect(_path(store))) as db:
                [count] = db.execute("SELECT count(*) FROM grants WHERE expires_at <= ?", (now,)).fetchone()
                return int(count)
        case "postgresql":
            count = asyncio.run(
                _ask(store, "SELECT count(*) FROM authserver.grants WHERE expires_at <= $1", now)
            )
            return int(count)
        case _:
            with _redis(store) as (client, prefix):
                return int(client.zcount(f"{prefix}grants", "-inf", now))


def _path(store: Store) -> Path:
    return Path(store.settings["data_dir"], "authserver.sqlite")


def _fill_sqlite(store: Store, grants: int, ends: float, sampled: int) -> list[Pair]:
    with closing(sqlite3.connect(_path(store), isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -500000")
        db.execute("BEGIN IMMEDIATE")
        db.execute(
            """
            CREATE TEMP TABLE made AS
            WITH RECURSIVE numbers (number) AS (
                SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?
            )
            SELECT lower(hex(randomblob(16))) AS grant_id FROM numbers ORDER BY 1
            """,
            (grants,),
        )
        with _without_indexes(db):
            others = ", ".join(_OTHERS)
            db.execute(
                f"""
                INSERT INTO grants (grant_id, expires_at, {others})
                SELECT made.grant_id, ?, {", ".join(f"one.{name}" for name in _OTHERS)}
                FROM made, (SELECT * FROM grants LIMIT 1) AS one
                """,
                (ends,),
            )
            for table, scopes in (("access_tokens", "'read', "), ("refresh_tokens", "")):
                db.execute(
                    f"""
                    INSERT INTO {table} (digest, grant_id, {"scopes, " if scopes else ""} expires_at)
                    SELECT randomblob(32), grant_id, {scopes} ? FROM made ORDER BY 1
                    """,
                    (ends,),
                )
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return [
            Pair(access, db.execute(_REFRESH_OF, (grant,)).fetchone()[0])
            for access, grant in (
                db.execute(_ACCESS_AFTER, (b"",) if sampled == 1 else (os.urandom(32),)).fetchone()
                or db.execute(_ACCESS_AFTER, (b"",)).fetchone()
                for _ in range(sampled)
            )
        ]


_ACCESS_AFTER = "SELECT digest, grant_id FROM access_tokens WHERE digest > ? ORDER BY digest LIMIT 1"
_REFRESH_OF = "SELECT digest FROM refresh_tokens WHERE grant_id = ? AND spent_at IS NULL"


@contextmanager
def _without_indexes(db: sqlite3.Connection) -> Iterator[None]:
    places = ", ".join("?" for _ in _TABLES)
    found = db.execute(
        f"""
        SELECT name, sql FROM sqlite_master
        WHERE type = 'index' AND sql NOT NULL AND tbl_name IN ({places})
        """,
        _TABLES,
    ).fetchall()
    for name, _ in found:
        db.execute(f"DROP INDEX {name}")
    yield
    for _, made in found:
        db.execute(made)


async def _ask(store: Store, statement: str, *values: object) -> Any:
    async with _postgresql(store) as connection:
        return await connection.fetchval(statement, *values)


@asynccontextmanager
async def _postgresql(store: Store) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(store.settings["storage_url"])
    try:
        yield connection
    finally:
        await connection.close()


async def _fill_postgresql(store: Store, grants: int, ends: float, sampled: int) -> list[Pair]:
    async with _postgresql(store) as connection:
        for setting in ("session_replication_role = replica", "synchronous_commit = off"):
            await connection.execute(f"SET {setting}")
        for setting in ("work_mem = '512MB'", "maintenance_work_mem = '1GB'", "temp_buffers = '512MB'"):
            await connection.execute(f"SET {setting}")
        indexes = await connection.fetch(
            """
            SELECT indexname, indexdef FROM pg_indexes
            WHERE schemaname = 'authserver' AND tablename = ANY ($1) AND indexname NOT LIKE '%_pkey'
            """,
            list(_TABLES),
        )
        for name, _ in indexes:
            await connection.execute(f"DROP INDEX authserver.{name}")
        await connection.execute(
            'CREATE TEMP TABLE made AS SELECT gen_random_uuid()::text COLLATE "C" AS grant_id'
            f" FROM generate_series(1, {grants}) ORDER BY 1"
        )
        await connection.execute(
            f"""
            INSERT INTO authserver.grants (grant_id, expires_at, {", ".join(_OTHERS)})
            SELECT made.grant_id, {ends}, {", ".join(f"one.{name}" for name in _OTHERS)}
            FROM made, (SELECT * FROM authserver.grants LIMIT 1) AS one
            """
        )
        for table, scopes in (("access_tokens", "'read', "), ("refresh_tokens", "")):
            await connection.execute(
                f"""
                INSERT INTO authserver.{table} (digest, grant_id, {"scopes, " if scopes else ""} expires_at)
                SELECT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), grant_id, {scopes} {ends}
                FROM made ORDER BY 1
                """
            )
        for _, made in indexes:
            await connection.execute(made)
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
        pairs = []
        for _ in range(sampled):
            access = await connection.fetchrow(_ACCESS_AFTER_POSTGRESQL, os.urandom(32))
            access = access or await connection.fetchrow(_ACCESS_AFTER_POSTGRESQL, b"")
            assert access is not None
            refresh = await connection.fetchval(_REFRESH_OF_POSTGRESQL, access["grant_id"])
            pairs.append(Pair(access["digest"], refresh))
        return pairs


_ACCESS_AFTER_POSTGRESQL = _ACCESS_AFTER.replace("access_tokens", "authserver.access_tokens").replace(
    "?", "$1"
)
_REFRESH_OF_POSTGRESQL = _REFRESH_OF.replace("refresh_tokens", "authserver.refresh_tokens").replace("?", "$1")


@contextmanager
def _redis(store: Store) -> Iterator[tuple["Redis", str]]:
    engine = cast("RedisEngine", store.engine)
    prefix = store.settings["storage_url"].rpartition("prefix=")[2]
    with engine.client() as client:
        yield client, prefix


_FILL = """
local template, seed, first, last = argument(), argument(), number_argument(), number_argument()
local ends = argument()
local grant = read("grants", template)
grant.expires_at = ends
for number = first, last do
  grant.grant_id = redis.sha1hex(seed .. number)
  store("grants", grant)
  local token = { grant_id = grant.grant_id, expires_at = ends }
  token.digest = string.sub(redis.sha1hex("refresh" .. grant.grant_id), 1, 32)
  store("refresh_tokens", token)
  token.digest, token.scopes = string.sub(redis.sha1hex("access" .. grant.grant_id), 1, 32), "read"
  store("access_tokens", token)
end
"""


def _fill_redis(store: Store, grants: int, ends: float, sampled: int) -> list[Pair]:
    """Let a script store them, with the helpers of the storage's own scripts."""
    helpers = Path(scripts.__file__).parent / "helpers"
    names = ("arguments", "reading", "storing")
    text = "\n".join([*((helpers / f"{name}.lua").read_text("utf-8") for name in names), _FILL])
    seed = os.urandom(8).hex()
    with _redis(store) as (client, prefix):
        [template] = cast("list[bytes]", client.zrange(f"{prefix}grants", 0, 0))
        client.config_set("appendfsync", "no")
        client.config_set("auto-aof-rewrite-percentage", 0)
        sha = client.script_load(text)
        for first in range(1, grants + 1, _BATCH):
            last = min(first + _BATCH - 1, grants)
            client.evalsha(sha, 0, prefix, "", template, seed, first, last, repr(ends))
        client.config_set("appendfsync", "always")
    named = (hashlib.sha1(f"{seed}{random.randint(1, grants)}".encode()).hexdigest() for _ in range(sampled))
    return [Pair(_short("access", grant), _short("refresh", grant)) for grant in named]


def _short(kind: str, grant: str) -> bytes:
    return hashlib.sha1(f"{kind}{grant}".encode()).hexdigest()[:32].encode()
