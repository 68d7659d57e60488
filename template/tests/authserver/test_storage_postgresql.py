"""What is PostgreSQL's own: its server that goes away and comes back, poolers, locks, its text."""

import asyncio
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import resources
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import asyncpg
import engines
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from engines.postgresql import Connection, OwnServer, Server, find_programs
from ports import free_port
from pydantic import ValidationError
from storage import (
    REQUEST,
    add_client,
    add_request,
    add_user,
    again,
    dumped,
    full,
    granted,
    lives,
    new_client,
    new_code,
    new_tokens,
    purge,
    redeem,
    rotate,
    round_trips,
    sign_in,
    test_grants,
    test_refresh_tokens,
    test_sign_ins,
    test_upkeep,
)

from authserver import clock
from authserver.crypto.secret_values import new_seed
from authserver.model.records import Client, User
from authserver.settings import SettingsError
from authserver.storage import postgresql as engine
from authserver.storage.errors import StorageUnavailable
from authserver.storage.postgresql import connections, functions, schema
from authserver.storage.postgresql.schema import additions
from authserver.storage.users import Ending, NewCredential
from authserver.storage.verdicts import Gone, Redeemed, Replayed, Rotated

pytestmark = pytest.mark.anyio

# The number of the functions, and the SHA-256 of their files, and of what was added to the tables.
FUNCTIONS = (1, "682c18bd4face60da241c0c1e377afe7667089b6d28cda39db9dfea7b43f7b3e")

UNSTORABLE = ["NUL \0 and \0", "a lone surrogate \ud800", "DLE \x10 and \x100000", "\0", "\udfff\ud800"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of this module's own, since its tests stop it."""
    with engines.running("postgresql") as running:
        assert isinstance(running, Server)
        yield running


@pytest.fixture
def store() -> str:
    return uuid4().hex


@pytest.fixture
def url(server: Server, store: str) -> str:
    return server.settings(store)["storage_url"]


def created(url: str, **settings: Any) -> engine.PostgreSQLStorage:
    return engine.create(engine.Settings.model_validate({"storage_url": url} | settings))


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[engine.PostgreSQLStorage]:
    storage = created(url, **settings)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


@pytest.fixture
async def storage(url: str) -> AsyncIterator[engine.PostgreSQLStorage]:
    async with opened(url) as storage:
        yield storage


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection: Connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def other(url: str) -> AsyncIterator[Connection]:
    """Somebody else who works in the same database."""
    async with connected(url) as connection:
        yield connection


WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
    """


async def waiting(other: Connection, how_many: int = 1) -> None:
    """Return once an operation waits for a lock, or several do."""
    for _ in range(6000):
        await other.execute("SELECT pg_stat_clear_snapshot()")  # a transaction keeps what it has seen
        if await other.fetchval(WAITING) == how_many:
            return
        await asyncio.sleep(0.01)
    pytest.fail("nobody waits")


# ------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hush",
        "mysql://name:hush@host/name",
        "postgresql://name:hush@host",
        "postgresql://name:hush@host/",
        "postgresql://name:hush/hush@host/name",
        "postgresql://name:hush@hush@host/name",
        "postgresql://name:hush#hush@host/name",
        "postgresql://name:hush?hush@host/name",
        "postgresql://name:hush@host:port/name",
    ],
)
def test_a_wrong_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        created(url)
    assert "hush" not in str(refusal.value)
    assert "percent-encoded" in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://name:p%40ss@host/name",
        "postgres://host:5432/name?sslmode=verify-full",
        "postgresql://name@one:5432,two:5433/name",
        "postgresql:///name?host=/run/postgresql",
        "postgresql://[::1]:5432/name",
        "postgresql://host?dbname=name",
    ],
)
def test_a_url_may_be_written_as_postgresql_knows_it(url: str) -> None:
    settings = engine.Settings.model_validate({"storage_url": url})
    assert settings.storage_url.get_secret_value() == url
    assert url not in repr(settings)


@pytest.mark.parametrize(
    "option", ["sslmode=never", "hush", "connect_timeout=5", "channel_binding=require", "unknown=hush"]
)
async def test_a_wrong_option_of_the_url_stops_the_start(url: str, option: str) -> None:
    with pytest.raises(SettingsError, match=r"^AUTH_STORAGE_URL: .*Example: ") as refusal:
        await created(f"{url}?{option}").open()
    assert "hush" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


async def test_a_wrong_password_is_unavailable_and_not_shown(server: Server, url: str) -> None:
    if not isinstance(server, OwnServer):
        pytest.skip("the server of TEST_STORAGE_URL may trust everybody")
    wrong = urlsplit(url)._replace(netloc=f"postgres:hush@{urlsplit(url).netloc.rpartition('@')[2]}").geturl()
    with pytest.raises(StorageUnavailable, match="password authentication failed") as refusal:
        await created(wrong).open()
    assert "hush" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("synchronous_commit", "off"),
        ("synchronous_commit", "local"),
        ("default_transaction_isolation", "serializable"),
        ("session_replication_role", "replica"),
    ],
)
async def test_a_database_that_promises_too_little_stops_the_start(url: str, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^AUTH_STORAGE_URL: .*{name} = {value}.*Example: "):
        await created(f"{url}?{name}={value}").open()
    async with opened(f"{url}?synchronous_commit=remote_apply"):
        pass


async def test_a_database_of_another_encoding_stops_the_start_and_says_how_to_make_one(
    server: Server, url: str
) -> None:
    name = f"latin_{uuid4().hex}"
    server.ask(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        with pytest.raises(SettingsError, match=r"server_encoding = LATIN1, .*Example: CREATE DATABASE name"):
            await created(urlsplit(url)._replace(path=f"/{name}").geturl()).open()
    finally:
        server.ask(f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_server_that_takes_no_writes_is_said_to_be_one(url: str) -> None:
    with pytest.raises(StorageUnavailable, match="no server of the address takes writes: a standby, or"):
        await created(f"{url}?default_transaction_read_only=on").open()


async def test_an_old_server_stops_the_start(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_MINIMUM_VERSION", 990_000)
    with pytest.raises(SettingsError, match="990000 or newer"):
        await created(url).open()


async def test_a_closed_storage_is_unavailable(url: str) -> None:
    async with opened(url) as storage:
        pass
    for closed in (storage, created(url)):
        with pytest.raises(StorageUnavailable):
            await closed.clients.get("x")


# -------------------------------------------------------------------------------------------- schema


async def versions(other: Connection) -> tuple[list[int], list[int]]:
    """Return which tables, and which functions, a database was given so far."""
    tables, numbers = [
        await other.fetch(f"SELECT version FROM authserver.{name} ORDER BY version")
        for name in ("schema_versions", "function_versions")
    ]
    return [row["version"] for row in tables], [row["version"] for row in numbers]


async def made_of(other: Connection) -> list[str]:
    """Return the text of each function."""
    rows = await other.fetch(
        "SELECT pg_get_functiondef(oid) AS text FROM pg_proc"
        " WHERE pronamespace = 'authserver'::regnamespace ORDER BY oid::regprocedure::text"
    )
    return [row["text"] for row in rows]


# What releases 0.1.0 and 0.2.0 leave.
OF_A_RELEASE = "; ".join(
    (
        "DROP TABLE authserver.function_versions",
        *(f"DROP INDEX authserver.{name}" for name, _ in additions.INDEXES),
        *(f"ALTER TABLE authserver.{table} DROP COLUMN {column}" for table, column, _ in additions.COLUMNS),
    )
)

INVALID = """
    SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE relnamespace = 'authserver'::regnamespace AND NOT indisvalid
    """

OTHER_BODY = """
    CREATE OR REPLACE FUNCTION authserver.revoke_grant(_grant_id text) RETURNS boolean
    LANGUAGE plpgsql SET search_path = '' AS $$ BEGIN RETURN false; END $$;
    """


async def test_many_who_open_at_once_make_the_schema_once(url: str, other: Connection) -> None:
    storages = [created(url) for _ in range(10)]
    await asyncio.gather(*(storage.open() for storage in storages))
    assert await versions(other) == ([3], [functions.NUMBER])
    await add_client(storages[0])
    for storage in storages:
        assert await storage.clients.get("client") is not None
        await storage.close()


async def test_a_database_of_a_newer_release_is_left_alone(
    url: str, storage: engine.PostgreSQLStorage, other: Connection
) -> None:
    await other.execute("INSERT INTO authserver.schema_versions VALUES (99)")
    with pytest.raises(StorageUnavailable, match="newer release"):
        await created(url).open()


@pytest.mark.parametrize(
    "older",
    [
        "DROP TABLE authserver.function_versions",
        "UPDATE authserver.function_versions SET version = 0",
        OF_A_RELEASE,
    ],
)
async def test_older_functions_are_replaced_and_nothing_is_lost(
    url: str, storage: engine.PostgreSQLStorage, other: Connection, older: str
) -> None:
    _, tokens = await granted(storage)
    now = await made_of(other)
    await other.execute(f"{older}; {OTHER_BODY}")
    assert await made_of(other) != now
    storages = [created(url) for _ in range(10)]
    await asyncio.gather(*(opening.open() for opening in storages))
    assert await made_of(other) == now
    tables, numbers = await versions(other)
    assert (tables, max(numbers)) == ([3], functions.NUMBER)
    [grant] = await storage.grants.all()
    for opening in storages:
        assert isinstance(await rotate(opening, tokens.refresh or b""), Rotated)
        await opening.close()
    assert await storage.grants.revoke(grant.grant_id)  # also for the node that was there before


async def test_what_is_there_is_not_asked_for(
    url: str, storage: engine.PostgreSQLStorage, other: Connection
) -> None:
    """Somebody writes all the time."""
    await other.execute("UPDATE authserver.function_versions SET version = 0")
    async with other.transaction():
        await other.execute(
            "LOCK authserver.users, authserver.sessions, authserver.clients, authserver.refresh_tokens"
            " IN ROW EXCLUSIVE MODE"
        )
        async with asyncio.timeout(20), opened(url):
            pass


async def test_a_column_that_is_waited_for_blocks_nobody(
    url: str, storage: engine.PostgreSQLStorage, other: Connection
) -> None:
    """Neither others, for long, nor the one that it waits for, at all: that would be a deadlock."""
    await other.execute(OF_A_RELEASE)
    async with connected(url) as third:
        async with other.transaction(isolation="repeatable_read"):
            await other.execute("SELECT FROM authserver.clients; SET LOCAL lock_timeout = '100ms'")
            opening = asyncio.ensure_future(created(url).open())
            await waiting(third)
            await other.execute("SELECT FROM authserver.users")
            async with asyncio.timeout(20):
                await third.execute("SELECT FROM authserver.clients")
            assert not opening.done()
        await opening
    assert await versions(other) == ([3], [functions.NUMBER])


async def test_an_index_is_built_beside_writers_and_again_if_that_was_interrupted(
    url: str, storage: engine.PostgreSQLStorage, other: Connection
) -> None:
    """A deadlock interrupts it: it waits for a transaction, which waits for the table."""
    older = "DROP TABLE authserver.function_versions; DROP INDEX authserver.refresh_tokens_spent"
    await other.execute(f"{older}; SET deadlock_timeout = '1min'")  # so it is not the other's to end it
    async with connected(url) as third, connected(url) as fourth:
        async with other.transaction(isolation="repeatable_read"):
            await other.execute("SELECT FROM authserver.facts")
            async with third.transaction():
                await third.execute("LOCK authserver.refresh_tokens IN ROW EXCLUSIVE MODE")
                opening = asyncio.ensure_future(created(url).open())
                await waiting(third)
                async with asyncio.timeout(20):
                    await fourth.execute("UPDATE authserver.refresh_tokens SET salt = NULL")
                locking = asyncio.ensure_future(
                    other.execute("LOCK authserver.refresh_tokens IN SHARE UPDATE EXCLUSIVE MODE")
                )
                await waiting(third, 2)
            await locking
            assert await third.fetch(INVALID) != []
        await opening
        assert await third.fetch(INVALID) == []
        assert await versions(third) == ([3], [functions.NUMBER])


async def test_a_node_tries_to_get_its_turn_and_then_says_for_what_it_waited(
    url: str, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "WAIT", "SET LOCAL lock_timeout = '0.3s'")
    monkeypatch.setattr(connections, "_MIGRATION_PAUSE_SECONDS", 0.1)
    async with other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock(0, 0)")
        opening = asyncio.ensure_future(created(url).open())
        await waiting(other)
        await waiting(other, 0)
        await waiting(other)  # again
        elapsed = clock.elapsed
        monkeypatch.setattr(clock, "elapsed", lambda: elapsed() + 1000)
        with pytest.raises(StorageUnavailable, match="another node that updates the schema"):
            await opening


async def test_old_nodes_share_no_limit_of_refreshing(
    storage: engine.PostgreSQLStorage, other: Connection
) -> None:
    """They know none: the grants of all of them would wait for each other."""
    _, tokens = await granted(storage)
    async with other.transaction():
        verdict = await other.fetchval(
            "SELECT verdict FROM authserver.rotate_refresh_token($1, 'read', 'salt', 60, 'a', 'r', 60, 60)",
            tokens.refresh,
        )
        assert verdict == "rotated"
        assert await other.fetch("SELECT FROM authserver.buckets") == []
        assert await other.fetch("SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted") == []


async def test_newer_functions_are_left_alone_and_used(
    url: str, storage: engine.PostgreSQLStorage, other: Connection
) -> None:
    """A node of the release before starts again while others run a newer one."""
    await granted(storage)
    await other.execute(
        f"INSERT INTO authserver.function_versions VALUES ({functions.NUMBER + 1}); {OTHER_BODY}"
    )
    newer = await made_of(other)
    async with opened(url) as restarted:
        [grant] = await restarted.grants.all()
        assert not await restarted.grants.revoke(grant.grant_id)
    assert await made_of(other) == newer
    assert await versions(other) == ([3], [functions.NUMBER, functions.NUMBER + 1])


def test_functions_that_change_get_a_higher_number() -> None:
    """Databases have those of the number before: under the same one, they would keep them.

    So it is with the columns and indexes that came after the tables.
    """
    package = resources.files(functions)
    names = sorted(entry.name for entry in package.iterdir() if entry.name.endswith(".sql"))
    text = "".join((package / name).read_text(encoding="utf-8") for name in names)
    text += f"{additions.COLUMNS}{additions.INDEXES}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert (functions.NUMBER, digest) == FUNCTIONS, "raise NUMBER, then write both here"


async def test_a_role_that_may_not_change_the_schema_can_serve(
    url: str, storage: engine.PostgreSQLStorage, other: Connection, store: str
) -> None:
    """It was given its rights before there was a number of the functions, which it reads nevertheless."""
    name = f"serving_{store}"
    await other.execute(f"""
        DROP TABLE authserver.function_versions;
        CREATE ROLE {name} LOGIN PASSWORD 'secret';
        GRANT USAGE ON SCHEMA authserver TO {name};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA authserver TO {name};
    """)
    place = urlsplit(url).netloc.rpartition("@")[2]
    as_role = urlsplit(url)._replace(netloc=f"{name}:secret@{place}").geturl()
    with pytest.raises(StorageUnavailable, match="permission denied"):
        await created(as_role).open()
    async with opened(url), opened(as_role) as serving:
        _, tokens = await granted(serving)
        assert isinstance(await rotate(serving, tokens.refresh or b""), Rotated)
        assert await serving.clients.remove("client")


# -------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_server_that_ends_is_unavailable_until_it_is_back(
    server: Server, storage: engine.PostgreSQLStorage, end: str
) -> None:
    await storage.facts.remember("answered", b"1")
    await asyncio.gather(*(storage.facts.recall("answered") for _ in range(20)))  # several connections
    getattr(server, end)()
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="PostgreSQL: "):
            await storage.facts.remember("later", b"1")
        with pytest.raises(StorageUnavailable):
            await storage.facts.recall("answered")
    server.start()
    assert await storage.facts.recall("answered") == b"1"
    assert await storage.facts.remember("later", b"1") == b"1"


async def test_a_server_that_hangs_is_unavailable_until_it_goes_on(
    server: Server, storage: engine.PostgreSQLStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isinstance(server, OwnServer):
        pytest.skip("the server of TEST_STORAGE_URL is not ours to halt")
    await storage.facts.remember("answered", b"1")
    monkeypatch.setattr(connections, "_OPERATION_SECONDS", 0.2)
    monkeypatch.setattr(connections, "_RELEASE_SECONDS", 0.1)
    processes = server.processes()
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="TimeoutError"):
            await storage.facts.recall("answered")
    for process in processes:
        os.kill(process, signal.SIGCONT)
    monkeypatch.undo()
    assert await storage.facts.recall("answered") == b"1"


async def test_a_connection_that_is_cut_is_replaced_and_what_can_be_repeated_is(
    storage: engine.PostgreSQLStorage, other: Connection
) -> None:
    """The server ends the connection while the operation waits for a lock."""
    _, tokens = await granted(storage)
    await storage.facts.remember("fact", b"1")
    for operation, outcome in (
        (rotate(storage, tokens.refresh or b""), Rotated),
        (storage.facts.forget("fact"), StorageUnavailable),
    ):
        async with other.transaction():
            await other.execute("SELECT FROM authserver.grants FOR UPDATE")
            await other.execute("SELECT FROM authserver.facts FOR UPDATE")
            running = asyncio.ensure_future(operation)
            await waiting(other)
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        [done] = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(done, outcome)
    assert await storage.facts.recall("fact") == b"1"


class Wire:
    """A wire to the server that counts what is sent, and can lose the next answer."""

    def __init__(self, url: str) -> None:
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port
        port = free_port()
        netloc = urlsplit(url).netloc.rpartition(":")[0]
        self.url = urlsplit(url)._replace(netloc=f"{netloc}:{port}").geturl() + "?sslmode=disable"
        self._listening = asyncio.start_server(self._connected, "127.0.0.1", port)
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._old: set[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = set()
        self.sent = 0
        self.losing = False
        self.frozen = False

    async def __aenter__(self) -> Self:
        self._server = await self._listening
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def freeze(self) -> None:
        """Let nothing through on the connections that are open now."""
        self.frozen, self._old = True, set(self._open)

    def drop(self) -> None:
        """End those connections."""
        for _, writer in self._old:
            writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.append((reader, writer))
        answers, requests = await asyncio.open_connection(self._host, self._port)

        async def ask() -> None:
            while data := await reader.read(65536):
                if self.frozen and (reader, writer) in self._old:
                    continue  # as where a machine has gone without a word
                self.sent += 1
                requests.write(data)
            requests.close()

        async def answer() -> None:
            while data := await answers.read(65536):
                if self.losing:
                    self.losing = False
                    break
                writer.write(data)
            writer.close()

        await asyncio.gather(ask(), answer(), return_exceptions=True)


async def test_an_operation_whose_answer_is_lost_is_told_that_it_had_won(url: str) -> None:
    """It was committed: repeated blindly, it would look like a replay."""
    async with Wire(url) as wire, opened(wire.url, storage_connections=1) as storage:
        await add_client(storage)
        code = await new_code(storage, await add_user(storage))
        tokens = new_tokens()
        await redeem(storage, b"")  # now the statement is prepared: what is lost next is its answer
        wire.losing = True
        assert isinstance(await redeem(storage, code, tokens), Redeemed)
        await rotate(storage, b"")
        wire.losing = True
        verdict = await rotate(storage, tokens.refresh or b"")
        assert isinstance(verdict, Rotated)
        assert not verdict.repeated
        await storage.sign_ins.add_ticket(b"ticket", b"value", lifetime_seconds=100)
        await storage.sign_ins.take_ticket(b"")
        wire.losing = True
        with pytest.raises(StorageUnavailable):
            await storage.sign_ins.take_ticket(b"ticket")
        assert await storage.sign_ins.take_ticket(b"ticket") is None
        assert not wire.losing


async def test_an_operation_is_one_round_trip(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_BELIEVED_SECONDS", 600.0)
    async with Wire(url) as wire, opened(wire.url, storage_connections=1) as storage:
        assert set(await round_trips(storage, lambda: wire.sent)) == {1}


async def test_an_operation_that_waits_too_long_is_given_up_and_not_done_late(
    storage: engine.PostgreSQLStorage, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await granted(storage)
    [grant] = await storage.grants.all()
    monkeypatch.setattr(connections, "_OPERATION_SECONDS", 0.3)
    async with other.transaction():
        await other.execute("SELECT FROM authserver.grants FOR UPDATE")
        with pytest.raises(StorageUnavailable, match="TimeoutError"):
            await storage.grants.revoke(grant.grant_id)
        assert await other.fetchval(WAITING) == 0
    monkeypatch.undo()
    assert await storage.grants.all() == [grant]


async def test_who_finds_no_free_connection_in_time_is_told(
    url: str, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(url, storage_connections=1) as storage:
        await storage.facts.remember("fact", b"1")
        assert await asyncio.gather(*(storage.facts.recall("fact") for _ in range(50))) == [b"1"] * 50
        async with other.transaction():
            await other.execute("SELECT FROM authserver.facts FOR UPDATE")
            stuck = asyncio.ensure_future(storage.facts.forget("fact"))
            await waiting(other)
            monkeypatch.setattr(connections, "_OPERATION_SECONDS", 0.1)
            with pytest.raises(StorageUnavailable, match="TimeoutError"):
                await storage.facts.recall("fact")
        assert await stuck


async def test_a_standby_is_unavailable_until_it_is_promoted(folder: Path) -> None:
    """The server fails over: another takes its address, first to read only."""
    programs = find_programs()
    if programs is None:
        pytest.skip("no programs of PostgreSQL on this machine")
    first = OwnServer(programs, folder)
    first.start()
    url = first.settings("moved")["storage_url"]
    second = OwnServer(programs, folder, folder / "standby", first.port)
    try:
        async with opened(url) as storage:
            await storage.facts.remember("answered", b"1")
            first.run(
                "pg_basebackup",
                f"--dbname={first.url}",
                f"--pgdata={second.data}",
                "--checkpoint=fast",
                "--write-recovery-conf",
            )
            first.kill()
            second.start()
            for _ in range(2):
                with pytest.raises(StorageUnavailable):
                    await storage.facts.recall("answered")
                with pytest.raises(StorageUnavailable):
                    await created(url).open()
            second.ask("SELECT pg_promote()")
            assert await storage.facts.recall("answered") == b"1"
            assert await storage.facts.remember("later", b"1") == b"1"
    finally:
        second.close()
        first.close()


async def test_a_primary_that_is_demoted_is_left_and_not_believed(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 34: read from a demoted primary, by connections that stay. Source: fault 31 of 0.2.0."""
    monkeypatch.setattr(connections, "_BELIEVED_SECONDS", 0.0)
    async with opened(url, storage_connections=3) as storage:
        user, tokens = await granted(storage)
        await asyncio.gather(*(storage.clients.get("client") for _ in range(3)))
        server.ask("ALTER SYSTEM SET default_transaction_read_only = on")
        server.ask("SELECT pg_reload_conf()")
        try:
            await becomes(lambda: storage.clients.get("client"), False)
            for operation in (
                lambda: storage.clients.get("client"),
                lambda: storage.users.get_by_subject(user.subject),
                lambda: storage.grants.get_access_token(tokens.access or b""),
                lambda: storage.grants.list_revocations(None),
                lambda: storage.facts.forget("x"),
                storage.ping,
            ):
                for _ in range(3):
                    assert not await done(operation)
        finally:
            server.ask("ALTER SYSTEM RESET default_transaction_read_only")
            server.ask("SELECT pg_reload_conf()")
        await becomes(storage.ping, True)
        assert await lives(storage, tokens)


async def done(operation: Callable[[], Awaitable[object]]) -> bool:
    """Say whether the operation was done."""
    try:
        await operation()
    except StorageUnavailable:
        return False
    return True


async def becomes(operation: Callable[[], Awaitable[object]], possible: bool) -> None:
    """Wait until the operation is done, or not done any more."""
    for _ in range(1000):
        if await done(operation) is possible:
            return
        await asyncio.sleep(0.02)
    pytest.fail("nothing has changed")


async def test_what_ends_by_the_clock_is_read_from_no_standby(url: str, other: Connection) -> None:
    """Attack 34: a pooler sends the look here and the read there. Source: fault 31, its siblings."""
    async with opened(url):
        assert await other.fetchval("SELECT authserver.now()") > 0
        await other.execute("SET default_transaction_read_only = on")
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await other.fetchval("SELECT authserver.now()")


async def test_one_connection_without_an_answer_takes_the_others_with_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine has gone without a word: each connection to it would be waited for, one after the other."""
    async with Wire(url) as wire, opened(wire.url, storage_connections=3) as storage:
        await asyncio.gather(*(storage.clients.get("client") for _ in range(3)))
        wire.freeze()
        monkeypatch.setattr(connections, "_OPERATION_SECONDS", 0.3)
        with pytest.raises(StorageUnavailable, match="TimeoutError"):
            await storage.clients.get("client")
        monkeypatch.setattr(connections, "_OPERATION_SECONDS", 60.0)
        async with asyncio.timeout(30):
            for _ in range(3):
                assert await storage.clients.get("client") is None
        wire.drop()


async def test_no_connection_gets_old(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name or a service that moved is followed."""
    async with opened(url, storage_connections=1) as storage:
        run = storage._connections.run
        first, again = [(await run("SELECT pg_backend_pid()"))[0][0] for _ in range(2)]
        later = clock.elapsed() + 61
        monkeypatch.setattr(clock, "elapsed", lambda: later)
        [[next_one]] = await run("SELECT pg_backend_pid()")
        assert first == again != next_one


async def test_a_connection_that_the_server_ended_for_being_idle_is_replaced(
    url: str, other: Connection
) -> None:
    """SQLSTATE 57P05. Nothing was asked on it yet, so also what may not be repeated is done."""
    async with opened(url):
        name = await other.fetchval("SELECT current_database()")
    if not await other.fetchval("SELECT count(*) FROM pg_settings WHERE name = 'idle_session_timeout'"):
        pytest.skip("this PostgreSQL has no idle_session_timeout")
    await other.execute(f'ALTER DATABASE "{name}" SET idle_session_timeout = 500')
    async with opened(url) as storage:
        for _ in range(2):
            assert not await storage.grants.revoke("x")
            await asyncio.sleep(1)


async def test_a_read_only_database_is_unavailable(url: str, other: Connection) -> None:
    async with opened(url):
        pass
    name = await other.fetchval("SELECT current_database()")
    await other.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    with pytest.raises(StorageUnavailable):
        await created(url).open()


# --------------------------------------------------------------------------------------------- races


async def test_a_deadlock_with_a_stranger_is_survived(
    url: str, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server rolls one of both back: if that is ours, it is done again.

    Each looks once for a deadlock, a second after it began to wait. So it is ours that closes the circle: it
    waits for the third until the other waits for it.
    """
    monkeypatch.setattr(connections, "_OPERATION_SECONDS", 60.0)
    async with opened(url) as storage, connected(url) as third:
        user, _ = await granted(storage)
        await sign_in(storage, user, seconds=99)
        async with other.transaction():
            await other.execute("SET LOCAL deadlock_timeout = '1min'")
            await other.execute("SELECT FROM authserver.sessions FOR UPDATE")
            async with third.transaction():
                await third.execute("SELECT FROM authserver.grants FOR UPDATE")
                disabling = asyncio.ensure_future(storage.users.disable("alice"))
                await waiting(third)
                locking = asyncio.ensure_future(other.execute("SELECT FROM authserver.users FOR UPDATE"))
                await waiting(third, 2)
            await locking
        assert await disabling
        assert await storage.grants.all() == []


async def test_codes_and_refresh_tokens_have_one_winner_among_several_processes(
    url: str, other: Connection
) -> None:
    """Several pools stand for several processes: the server knows only connections."""
    async with opened(url) as one, opened(url) as two, opened(url) as three:
        all_three = [one, two, three] * 20
        _, tokens = await granted(one)
        async with other.transaction():
            await other.execute("SELECT FROM authserver.grants FOR UPDATE")
            rotating = asyncio.gather(*(rotate(storage, tokens.refresh or b"") for storage in all_three))
            await waiting(other, 30)  # all connections there are
        rotated = [verdict for verdict in await rotating if isinstance(verdict, Rotated)]
        assert sorted(verdict.repeated for verdict in rotated) == [False] + [True] * 59
        assert len({verdict.salt for verdict in rotated}) == 1
        code = await new_code(one, await add_user(one))
        async with other.transaction():
            await other.execute("SELECT FROM authserver.grants FOR UPDATE")
            redeeming = asyncio.gather(*(redeem(storage, code) for storage in all_three))
            await waiting(other, 30)
        kinds = [type(verdict) for verdict in await redeeming]
        assert (kinds.count(Redeemed), kinds.count(Replayed), kinds.count(Gone)) == (1, 1, 58)


async def test_a_grant_that_races_its_users_end_is_dead_for_good(
    url: str, storage: engine.PostgreSQLStorage, other: Connection
) -> None:
    """The user is found alive, then the grant waits for its client, and meanwhile the user is disabled."""
    await add_client(storage)
    user = await add_user(storage)
    request, session = await add_request(storage), await sign_in(storage, user)
    async with opened(url) as second:
        async with other.transaction():
            await other.execute("SELECT FROM authserver.clients FOR UPDATE")
            creating = asyncio.ensure_future(
                storage.grants.create(
                    request, session=session, scopes=(), grant_seconds=99, code=request, code_seconds=99
                )
            )
            await waiting(other)
            disabling = asyncio.ensure_future(second.users.disable("alice"))
            await waiting(other, 2)
        assert await creating is not None
        assert await disabling
    assert await storage.users.enable("alice")
    assert await redeem(storage, request) == Gone()


@pytest.mark.parametrize("what", ["session", "grant", "credential"])
async def test_what_was_begun_waits_for_the_end_of_access_and_is_not_stored(
    storage: engine.PostgreSQLStorage, other: Connection, what: str
) -> None:
    """Access is ended, but not committed yet, when it goes on."""
    await add_client(storage)
    user = await add_user(storage)
    session, request = await sign_in(storage, user), await add_request(storage)
    begun: dict[str, Callable[[], Awaitable[object]]] = {
        "session": lambda: storage.sign_ins.add_session(
            b"begun", user.subject, epoch=0, device="", lifetime_seconds=99, limit=9
        ),
        "grant": lambda: storage.grants.create(
            request, session=session, scopes=(), grant_seconds=99, code=b"begun", code_seconds=99
        ),
        "credential": lambda: storage.users.end_access(
            user.subject, Ending(epoch=0, put=NewCredential("second-factor", b"", 0))
        ),
    }
    async with other.transaction():
        ended = "SELECT authserver.end_access($1, NULL, NULL, false, NULL, NULL, NULL, '{}', NULL, false)"
        assert await other.fetchval(ended, user.subject) == 1
        going_on = asyncio.ensure_future(begun[what]())
        await waiting(other)
    assert not await going_on


async def test_purges_at_once_delete_each_record_once(url: str, storage: engine.PostgreSQLStorage) -> None:
    user = await add_user(storage)
    for _ in range(100):
        await sign_in(storage, user, seconds=0)
    async with opened(url) as two, opened(url) as three:
        counts = await asyncio.gather(
            *(purge(purging, limit=30) for purging in [storage, two, three] for _ in range(3))
        )
    assert sum(counts) + await purge(storage) == 100


async def test_everything_at_once_never_deadlocks(
    url: str, storage: engine.PostgreSQLStorage, server: Server, store: str, other: Connection
) -> None:
    """Operations that lock the same records, in every order, in two processes: each is answered."""
    dice = random.Random(1)
    names = ["alice", "bob"]

    async def live(storage: engine.PostgreSQLStorage) -> None:
        client = new_client(dice.choice(["client", "second", "third"]))
        await add_client(storage, client, shares=(2, 2, 2, 2))
        user = await add_user_again(storage, dice.choice(names))
        if user is None:
            return
        request = new_seed()
        asked = replace(REQUEST, client_id=client.client_id)
        await storage.grants.add_request(request, asked, lifetime_seconds=99, limit=99)
        lifetime = dice.choice([0, 99])
        await add_session(storage, user, request)
        await storage.grants.create(
            request, session=request, scopes=(), grant_seconds=lifetime, code=request, code_seconds=99
        )
        tokens = new_tokens()
        for _ in range(2):
            verdict = await redeem(storage, request, tokens)
            await add_session(storage, user, new_seed(), lifetime)
            for _ in range(3):
                await rotate(storage, tokens.refresh or b"", replay_seconds=dice.choice([0, 60]))
            if isinstance(verdict, Redeemed):
                await storage.grants.add_access_token(
                    new_seed(), grant_id=verdict.issued.grant_id, scopes=(), expires_at=time.time()
                )

    async def end_access(storage: engine.PostgreSQLStorage) -> None:
        if user := await storage.users.get(dice.choice(names)):
            put = NewCredential("password", b"", dice.choice([0, 1, 2]))
            await storage.users.end_access(user.subject, Ending(put=put, delete=["other"], grants=True))

    ends: list[Callable[[engine.PostgreSQLStorage], Awaitable[Any]]] = [
        end_access,
        lambda storage: storage.users.disable(dice.choice(names)),
        lambda storage: storage.users.enable(dice.choice(names)),
        lambda storage: storage.users.delete(dice.choice(names)),
        lambda storage: storage.clients.remove("client"),
        lambda storage: purge(storage, unused_seconds=0, idle_seconds=0, replay_seconds=0),
    ]
    async with opened(url) as second:
        for _ in range(6):
            both = [storage, second]
            await asyncio.gather(
                *(live(dice.choice(both)) for _ in range(20)),
                *(end(dice.choice(both)) for _ in range(3) for end in ends),
            )
    assert (
        await other.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
    )
    server.check(store)


async def add_user_again(storage: engine.PostgreSQLStorage, name: str) -> User | None:
    link = new_seed()
    await storage.users.add_invitation(link, name, scopes=None, lifetime_seconds=100)
    return await storage.users.claim_invitation(link, name=name, credential=("password", b"secret"))


async def add_session(
    storage: engine.PostgreSQLStorage, user: User, digest: bytes, seconds: float = 99
) -> None:
    await storage.sign_ins.add_session(
        digest, user.subject, epoch=user.epoch, device="", lifetime_seconds=seconds, limit=3
    )


# --------------------------------------------------------------------------------------- text, clock


@pytest.mark.parametrize("text", UNSTORABLE)
async def test_text_that_postgresql_cannot_hold_comes_back_letter_by_letter(
    storage: engine.PostgreSQLStorage, url: str, server: Server, text: str
) -> None:
    for nobody in (storage.clients.get(text), storage.users.get(text), storage.facts.recall(text)):
        assert await nobody is None
    await add_client(storage, Client(text, {"client_name": text}, None, text, 0, 0, None))
    user = await add_user(storage, text)
    request = replace(REQUEST, client_id=text, state=text, redirect_uri=text)
    digest = await add_request(storage, request)
    await storage.facts.remember(text + "fact", b"1")
    found = await storage.clients.get(text)
    assert found is not None
    assert (found.client_id, found.metadata, found.address) == (text, {"client_name": text}, text)
    assert await storage.users.get(text) == user
    assert user.name == text
    assert await storage.grants.get_request(digest) == request
    assert list(await storage.facts.all(text)) == [text + "fact"]
    dump = await dumped(storage)
    async with opened(server.settings(uuid4().hex)["storage_url"]) as filled:
        await filled.fill(again(dump))
        assert await filled.clients.get(text) == found


async def test_large_values_come_back(storage: engine.PostgreSQLStorage) -> None:
    large = os.urandom(3_000_000)
    assert await storage.facts.remember("large", large) == large
    await add_client(storage, new_client(client_name=large.hex()))
    found = await storage.clients.get("client")
    assert found is not None
    assert found.metadata["client_name"] == large.hex()


async def test_time_is_the_servers(
    storage: engine.PostgreSQLStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await add_user(storage)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    await sign_in(storage, user, b"session")
    monkeypatch.setattr(time, "time", lambda: 1e11)
    found = await storage.sign_ins.get_session(b"session")
    monkeypatch.undo()
    assert found is not None
    assert abs(found.created_at - time.time()) < 60


# -------------------------------------------------------------------------------------------- backup


async def test_a_dump_is_one_moment_and_may_be_left_early(
    storage: engine.PostgreSQLStorage, other: Connection
) -> None:
    for number in range(1200):  # more than are read at a time
        await storage.facts.remember(f"{number}", b"")
    dump = storage.dump()
    assert (await anext(dump))[0] == "facts"
    await add_client(storage)
    async with aclosing(cast(AsyncGenerator[Any, None], storage.dump())) as left:
        await anext(left)
    rest = [table async for table, _ in dump]
    assert rest == ["facts"] * 1199
    # The pool's connections and this one are left.
    statement = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
    )
    assert await other.fetchval(statement) == 1


# ------------------------------------------------------------------------------------- pooler and TLS


@pytest.fixture(scope="module")
def pooler(server: Server) -> Iterator[int]:
    """The port of a PgBouncer in transaction mode, with few connections for all of its clients."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no pgbouncer on this machine")
    place, port = urlsplit(server.url), free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # it refuses to run as root, too
        users, settings = Path(folder, "users"), Path(folder, "settings")
        users.write_text(f'"{place.username}" "{unquote(place.password or "")}"\n')
        settings.write_text(
            f"[databases]\n* = host={place.hostname} port={place.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = {'scram-sha-256' if place.password else 'trust'}\nauth_file = {users}\n"
            "pool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 500\n"
            + ("user = nobody\n" if os.geteuid() == 0 else "")
        )
        with subprocess.Popen([program, "-q", settings], stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 300
            while True:
                assert process.poll() is None
                assert time.monotonic() < deadline
                with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield port
            process.terminate()


@pytest.fixture
async def pooled(pooler: int, url: str) -> AsyncIterator[engine.PostgreSQLStorage]:
    place = urlsplit(url)
    through = place._replace(netloc=f"{place.netloc.rpartition(':')[0]}:{pooler}").geturl()
    async with opened(through, storage_pooler=True, storage_connections=20) as storage:
        yield storage


@pytest.mark.parametrize(
    "promise",
    [
        test_grants.test_of_a_hundred_redemptions_one_wins_and_its_grant_is_dead,
        partial(test_refresh_tokens.test_parallel_rotations_all_get_the_one_first_salt, uses=100),
        test_grants.test_consent_given_and_refused_at_once_has_one_outcome,
        test_sign_ins.test_attempts_beyond_the_burst_wait_and_are_not_counted,
        test_upkeep.test_a_dump_holds_every_sort_of_record_with_all_its_columns,
        test_upkeep.test_purge_takes_the_expired_and_leaves_the_living,
    ],
)
async def test_the_contract_holds_behind_a_pooler(
    pooled: engine.PostgreSQLStorage, promise: Callable[..., Awaitable[None]]
) -> None:
    await promise(storage=pooled)


async def test_dumps_behind_a_pooler_do_not_hinder_each_other(
    pooled: engine.PostgreSQLStorage, server: Server
) -> None:
    """Two at once, and one after the other on the same connections of the pooler; then one is restored."""
    await full(pooled)
    dumps = await asyncio.gather(*(dumped(pooled) for _ in range(2)))
    dumps.append(await dumped(pooled))
    assert dumps[0] == dumps[1] == dumps[2]
    async with opened(server.settings(uuid4().hex)["storage_url"]) as other:
        await other.fill(again(dumps[0]))


async def test_a_server_without_tls_is_refused_where_tls_is_demanded(url: str) -> None:
    with pytest.raises(StorageUnavailable, match="rejected SSL upgrade"):
        await created(f"{url}?sslmode=require").open()


def certificate(folder: Path, name: str) -> Path:
    """Make a certificate for 127.0.0.1 that vouches for itself, and its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC).replace(tzinfo=None)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.crt"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    file.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


async def test_the_certificate_of_the_server_is_checked(server: Server, url: str, tmp_path: Path) -> None:
    if not isinstance(server, OwnServer):
        pytest.skip("the server of TEST_STORAGE_URL has its own certificate")
    own, foreign = certificate(server.folder, "own"), certificate(tmp_path, "foreign")
    key = own.with_suffix(".key")
    key.chmod(0o600)
    owner = server.data.stat()
    os.chown(key, owner.st_uid, owner.st_gid)
    try:
        for name, value in (("ssl_cert_file", own), ("ssl_key_file", key), ("ssl", "on")):
            server.ask(f"ALTER SYSTEM SET {name} = '{value}'")
    except asyncpg.InvalidParameterValueError:
        pytest.skip("this PostgreSQL was built without TLS")
    server.ask("SELECT pg_reload_conf()")
    while server.ask("SHOW ssl")[0]["ssl"] != "on":
        pass
    async with opened(f"{url}?sslmode=verify-full&sslrootcert={own}") as storage:
        rows = await storage._connections.run("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert rows[0]["ssl"]
    with pytest.raises(StorageUnavailable, match="certificate verify failed"):
        await created(f"{url}?sslmode=verify-full&sslrootcert={foreign}").open()
    other_name = url.replace("127.0.0.1", "localhost")
    with pytest.raises(StorageUnavailable, match="certificate verify failed"):
        await created(f"{other_name}?sslmode=verify-full&sslrootcert={own}").open()
    with pytest.raises(ValidationError, match="sslrootcert names no file"):
        created(f"{url}?sslmode=verify-full&sslrootcert=/nowhere")


# ------------------------------------------------------------------------------------------- doctor


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("postgresql://name@127.0.0.1/db", True),
        ("postgresql:///db?host=/run/postgresql", True),
        ("postgresql://name@db.example.com/db?sslmode=verify-full", True),
        ("postgresql://name@db.example.com/db?sslmode=verify-ca", True),
        ("postgresql://name@db.example.com/db?sslmode=require", False),
        ("postgresql://name@db.example.com/db", False),
        ("postgresql://name@localhost,db.example.com:5433/db", False),
        ("postgresql:///db?host=db.example.com", False),
    ],
)
def test_doctor_demands_tls_that_is_verified_off_this_machine(
    url: str, safe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)
    monkeypatch.delenv("PGHOST", raising=False)
    found = [str(finding) for finding in engine.checks(engine.Settings.model_validate({"storage_url": url}))]
    assert [line.startswith("unsafe: AUTH_STORAGE_URL: ") for line in found] == [True] * (not safe)


def test_doctor_knows_the_variables_of_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = engine.Settings.model_validate({"storage_url": "postgresql://db.example.com/db"})
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert list(engine.checks(settings)) == []
