"""What is Redis's own: its address, durability, replicas, lost connections, expiry, and backups meanwhile."""

import asyncio
import contextlib
import multiprocessing
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import engines
import pytest
from engines.redis import RedisEngine, own
from ports import free_port
from pydantic import ValidationError
from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError
from storage import (
    MOMENT,
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
    records,
    redeem,
    rotate,
    round_trips,
    sign_in,
)

from authserver import clock, limits
from authserver.crypto.secret_values import new_seed
from authserver.settings import SettingsError
from authserver.storage import redis as module
from authserver.storage.errors import StorageUnavailable
from authserver.storage.redis import server as connections
from authserver.storage.redis import upkeep
from authserver.storage.redis.address import parse_address
from authserver.storage.sign_ins import Bucket
from authserver.storage.verdicts import Redeemed, Rotated

pytestmark = pytest.mark.anyio

PASSWORD = "correct/horse"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisEngine]:
    """A server that these tests alone stop, kill and spoil."""
    with engines.scratch() as folder:
        engine = own(folder)
        engine.start()
        yield engine
        engine.close()


@pytest.fixture
def name() -> str:
    return uuid4().hex


def made(server: RedisEngine, name: str, **settings: Any) -> module.RedisStorage:
    return module.create(module.Settings.model_validate(server.settings(name) | settings))


@contextlib.asynccontextmanager
async def opened(server: RedisEngine, name: str, **settings: Any) -> AsyncIterator[module.RedisStorage]:
    storage = made(server, name, **settings)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


@pytest.fixture
async def storage(server: RedisEngine, name: str) -> AsyncIterator[module.RedisStorage]:
    async with opened(server, name) as storage:
        yield storage


@contextlib.contextmanager
def configured(server: RedisEngine, name: str, value: str) -> Iterator[None]:
    """Let another configuration hold meanwhile."""
    with server.client() as client:
        before = client.config_get(name)[name]
        client.config_set(name, value)
        try:
            yield
        finally:
            client.config_set(name, before)


# --------------------------------------------------------------------------------- where the store is


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:6379",
        f"http://:{PASSWORD}@host",
        f"redis://:{PASSWORD}@host",  # the slash is not encoded
        "redis://:hunter2@/0",
        "redis://:hunter2@host/name",
        "redis://:hunter2@host/0#1",
        "redis://:hunter2@host/0?prefix=a/b",
        "redis://:hunter2@host/0?prefix=",
        "redis://:hunter2@host/0?prefix=a&prefix=b",
        "redis://:hunter2@host/0?retry_on_timeout=yes",
        "redis://:hunter2@host/0?ssl_ca_certs=ca.pem",  # without TLS
        "rediss://:hunter2@host/0?ssl_cert_reqs=maybe",
        "rediss://:hunter2@host/0?ssl_nonsense=1",
        "redis://:hunter2@host/0?db=x",
        "unix://?db=0",
    ],
)
def test_a_wrong_address_is_one_line_without_the_password(url: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        module.Settings.model_validate({"storage_url": url})
    [error] = refusal.value.errors(include_url=False, include_input=False)
    assert error["loc"] == ("storage_url",)
    assert "\n" not in error["msg"]
    for secret in ("hunter2", "correct", "horse"):
        assert secret not in str(refusal.value)


def test_an_address_says_how_to_connect_and_hides_the_password() -> None:
    address = parse_address("redis://us%40er:hunter%2F2@host:6380/3?prefix=notes:")
    assert address.prefix == "notes:"
    assert address.options == {
        "host": "host",
        "port": 6380,
        "db": 3,
        "username": "us@er",
        "password": "hunter/2",
    }
    assert "hunter" not in repr(address)
    assert parse_address("redis://host").prefix == "authserver:"


def test_tls_checks_the_name_of_the_server_and_takes_options() -> None:
    address = parse_address("rediss://host/0?ssl_ca_certs=ca.pem&ssl_min_version=772")
    connection: Any = address.kind(**address.options)
    assert (connection.ca_certs, connection.min_version) == ("ca.pem", 772)
    assert (connection.cert_reqs.name, connection.check_hostname) == ("CERT_REQUIRED", True)


async def test_stores_of_one_server_know_nothing_of_each_other(server: RedisEngine, name: str) -> None:
    async with opened(server, name) as one, opened(server, f"{name}-2") as other:
        await full(one)
        await other.facts.remember("fact", b"other")
        await other.fill(again(await dumped(one)))
        await one.users.delete("alice")
        assert await other.users.get("alice") is not None


# ---------------------------------------------------------------------- what the server must be like


@pytest.mark.parametrize(
    ("option", "value", "setting"),
    [
        ("appendfsync", "everysec", "AUTH_STORAGE_DURABILITY"),
        ("appendonly", "no", "AUTH_STORAGE_DURABILITY"),
        ("maxmemory-policy", "allkeys-lru", "AUTH_STORAGE_URL"),
    ],
)
async def test_a_server_that_may_lose_records_is_refused(
    server: RedisEngine, name: str, option: str, value: str, setting: str
) -> None:
    with configured(server, option, value):
        with pytest.raises(SettingsError, match=rf"^{setting}: .*{option}.* Example: {setting}="):
            await made(server, name).open()
        if setting == "AUTH_STORAGE_DURABILITY":
            async with opened(server, name, storage_durability="accept-loss") as storage:
                await storage.ping()


async def test_where_the_configuration_cannot_be_read_the_operator_is_told_what_to_set(
    server: RedisEngine, name: str
) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", "on", ">hunter2", "~*", "+@all", "-config")
    url = server.settings(name)["storage_url"].replace("unix://", "unix://limited@")
    limited = {"storage_url": f"{url}&password=hunter2"}
    with pytest.raises(SettingsError, match=r"appendonly yes and appendfsync always.*accept-loss"):
        await made(server, name, **limited).open()
    async with opened(server, name, **limited, storage_durability="accept-loss") as storage:
        await full(storage)
    limited["storage_url"] = f"{url}&password=hunter3"
    with pytest.raises(StorageUnavailable, match=r"invalid username-password") as refusal:
        await made(server, name, **limited).open()
    assert "hunter" not in str(refusal.value)


def low_port() -> int:
    """Return a free port to which 10,000 can be added, as a cluster does."""
    return next(port for port in iter(free_port, None) if port < 50_000)


async def test_a_cluster_is_refused(folder: Path, name: str) -> None:
    cluster = own(folder, **{"cluster-enabled": "yes", "port": str(low_port())})
    cluster.start()
    try:
        with pytest.raises(SettingsError, match=r"^AUTH_STORAGE_URL: .*Cluster.* Example: "):
            await made(cluster, name).open()
    finally:
        cluster.close()


async def test_many_open_an_empty_store_at_once(server: RedisEngine, name: str) -> None:
    storages = [made(server, name) for _ in range(20)]
    await asyncio.gather(*(storage.open() for storage in storages))
    await asyncio.gather(*(storage.facts.remember("fact", b"1") for storage in storages))
    await asyncio.gather(*(storage.close() for storage in storages))
    assert {key for key, _, _ in server.keys(name)} == {"schema", "facts", "facts/fact"}


async def test_a_store_of_a_newer_release_is_left_alone(server: RedisEngine, name: str) -> None:
    async with opened(server, name):
        pass
    with server.client() as client:
        client.set(f"{server.prefix(name)}schema", 99)
    with pytest.raises(
        StorageUnavailable, match=r"schema 99, this release knows 1: run the newer release, or restore"
    ):
        await made(server, name).open()


# ------------------------------------------------------------------------------- trouble with the server


async def recovers(operation: Callable[[], Awaitable[Any]]) -> Any:
    """Try until the storage is there again, as clients do; nothing of ours is started again."""
    for _ in range(200):
        try:
            return await operation()
        except StorageUnavailable:
            await asyncio.sleep(0.02)
    return await operation()


async def test_a_server_that_is_away_is_unavailable_and_found_again(
    server: RedisEngine, storage: module.RedisStorage
) -> None:
    user, tokens = await granted(storage)
    assert tokens.refresh
    server.stop()
    for operation in (
        storage.ping,
        lambda: storage.facts.recall("x"),
        lambda: storage.clients.get("client"),
        lambda: storage.grants.get_access_token(b"x"),
        lambda: storage.sign_ins.take_attempt([Bucket(b"x", 1, 1)]),
        lambda: rotate(storage, tokens.refresh or b""),
        lambda: dumped(storage),
    ):
        with pytest.raises(StorageUnavailable):
            await operation()
    with pytest.raises(StorageUnavailable):
        await storage.open()
    server.start()
    await storage.open()
    assert await storage.users.get("alice") == user
    assert await lives(storage, tokens)


async def test_what_was_answered_outlives_a_kill(server: RedisEngine, storage: module.RedisStorage) -> None:
    answered: list[str] = []
    enough = asyncio.Event()
    unanswered = 0

    async def work(worker: int) -> None:
        nonlocal unanswered
        for number in range(200):
            fact = f"{worker}-{number}"
            try:
                await storage.facts.remember(fact, b"1")
            except StorageUnavailable:
                unanswered += 1
                await asyncio.sleep(0.005)
            else:
                answered.append(fact)
                if len(answered) == 500:
                    enough.set()

    async def kill() -> None:
        await enough.wait()
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(0.05)
        await asyncio.to_thread(server.start)

    await asyncio.gather(kill(), *(work(worker) for worker in range(10)))
    assert unanswered
    assert len(answered) > 1000
    assert set(answered) <= set(await storage.facts.all(""))


async def test_a_server_that_hangs_is_unavailable_soon(
    server: RedisEngine, storage: module.RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LIMIT_SECONDS", 0.2)
    await storage.facts.remember("before", b"1")
    assert server.process
    server.process.send_signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(15):
            outcomes = await asyncio.gather(
                *(storage.facts.recall("before") for _ in range(200)),
                storage.facts.forget("x"),
                return_exceptions=True,
            )
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert all(isinstance(outcome, StorageUnavailable) for outcome in outcomes)
    monkeypatch.undo()
    assert await storage.facts.recall("before") == b"1"


async def test_scripts_that_the_server_forgot_are_sent_again(
    server: RedisEngine, storage: module.RedisStorage
) -> None:
    _, tokens = await granted(storage)
    with server.client() as client:
        client.script_flush()
    assert await lives(storage, tokens)


async def test_a_server_that_is_busy_is_unavailable_until_it_is_free(
    server: RedisEngine, storage: module.RedisStorage
) -> None:
    def keep_busy() -> None:
        with server.client() as client, contextlib.suppress(Exception):
            client.eval("while true do end", 0)

    async def ask_on() -> None:
        while True:
            await storage.facts.recall("x")

    busy = threading.Thread(target=keep_busy)
    with configured(server, "lua-time-limit", "1"), server.client() as client:
        busy.start()
        with pytest.raises(StorageUnavailable, match="BUSY"):
            await ask_on()
        client.script_kill()
        busy.join()
        assert await storage.facts.recall("x") is None


async def test_a_full_memory_refuses_whole_operations(
    server: RedisEngine, storage: module.RedisStorage
) -> None:
    user, tokens = await granted(storage)
    assert tokens.refresh
    request = await add_request(storage)
    before = records(await dumped(storage))
    with configured(server, "maxmemory", "1"):
        for operation in (
            storage.ping,
            lambda: storage.facts.remember("fact", b"1"),
            lambda: rotate(storage, tokens.refresh or b""),
            lambda: add_client(storage, new_client("second")),
        ):
            with pytest.raises(StorageUnavailable, match="maxmemory"):
                await operation()
        assert await storage.grants.get_request(request) == REQUEST
    assert records(await dumped(storage)) == before
    assert await lives(storage, tokens)
    assert await storage.users.all() == [user]


async def test_a_server_that_became_a_replica_is_unavailable_for_reads_too(
    server: RedisEngine, storage: module.RedisStorage, name: str
) -> None:
    """It lags behind: what was revoked still lives there."""
    _, tokens = await granted(storage)
    with server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            for operation in (
                lambda: storage.grants.get_access_token(tokens.access or b""),
                storage.users.all,
                lambda: storage.facts.forget("x"),
                storage.ping,
                lambda: storage.clients.get("client"),
            ):
                with pytest.raises(StorageUnavailable, match=r"replica|READONLY"):
                    await operation()
            with pytest.raises(StorageUnavailable, match="replica"):
                await made(server, name).open()
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")
    assert await lives(storage, tokens)


@pytest.mark.parametrize(
    ("answer", "demoted"),
    [
        (ReadOnlyError("You can't write against a read only replica."), True),
        (MasterDownError("Link with MASTER is down and replica-serve-stale-data is set to 'no'."), True),
        (ResponseError("READONLY You can't write against a read only replica."), True),
        (ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed"), True),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), False),
        (ResponseError("MISCONF Redis is configured to save RDB snapshots"), False),
        (b"READONLY", False),
        (None, False),
    ],
)
def test_what_a_server_says_that_is_no_primary_any_more(answer: object, demoted: bool) -> None:
    """Attack 34: go on with a server that was demoted. Source: fault 31, its siblings; Redis, replication."""
    assert connections._is_demoted(answer) is demoted


async def test_no_connection_gets_old(storage: module.RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name or a service that moved is followed."""
    client_id: connections.Command = (b"CLIENT", b"ID")
    first, again = [await storage._server.exchange(client_id, again=False) for _ in range(2)]
    later = clock.elapsed() + 61
    monkeypatch.setattr(clock, "elapsed", lambda: later)
    assert first == again != await storage._server.exchange(client_id, again=False)


async def test_replicas_have_what_was_answered_where_that_is_set(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_WAIT_MILLISECONDS", 1000)
    port = low_port()
    first, second = own(folder, port=str(port)), own(folder / "second")
    first.start()
    second.start()
    try:
        with second.client() as replica:
            replica.execute_command("REPLICAOF", "127.0.0.1", str(port))
            for _ in range(200):
                if replica.info("replication")["master_link_status"] == "up":
                    break
                await asyncio.sleep(0.05)
            async with opened(first, name, storage_replicas=1) as storage:
                _, tokens = await granted(storage)
                replica.execute_command("REPLICAOF", "NO", "ONE")
                with pytest.raises(StorageUnavailable, match="too few replicas"):
                    await storage.facts.remember("fact", b"1")
                assert await storage.clients.get("client") is not None
        first.kill()
        url = first.settings(name)["storage_url"].replace(str(first.socket), str(second.socket))
        async with opened(second, name, storage_url=url) as storage:
            assert await lives(storage, tokens)
    finally:
        first.close()
        second.close()


# --------------------------------------------------------------------- a connection lost in the middle


class Cutter:
    """Stands between: it counts what is sent; it can let the server work and keep the answer to itself."""

    def __init__(self, behind: Path) -> None:
        self._behind = behind
        self.cuts = 0
        self.sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._behind)

        async def forward() -> None:
            while data := await reader.read(65536):
                self.sent += 1
                back.write(data)
            back.close()

        async def answer() -> None:
            while data := await there.read(65536):
                if self.cuts:
                    self.cuts -= 1
                    break
                writer.write(data)
            writer.close()

        with contextlib.suppress(ConnectionError):
            await asyncio.gather(forward(), answer())
        back.close()
        writer.close()


@pytest.fixture
async def cutter(server: RedisEngine) -> AsyncIterator[Cutter]:
    cutter = Cutter(server.socket)
    listening = await asyncio.start_unix_server(cutter.serve, server.socket.with_name("cutter"))
    yield cutter
    listening.close()


@pytest.fixture
async def behind(server: RedisEngine, name: str, cutter: Cutter) -> AsyncIterator[module.RedisStorage]:
    """A storage that speaks through the cutter, open and with every script known to the server."""
    url = server.settings(name)["storage_url"].replace("/socket?", "/cutter?")
    async with opened(server, name, storage_url=url) as storage:
        yield storage


async def test_an_operation_that_can_tell_is_repeated_after_a_cut(
    behind: module.RedisStorage, cutter: Cutter
) -> None:
    await add_client(behind)
    user = await add_user(behind)
    code, tokens, second = await new_code(behind, user), new_tokens(), new_tokens()
    await redeem(behind, await new_code(behind, user))  # the scripts are known
    cutter.cuts = 1
    assert isinstance(await redeem(behind, code, tokens), Redeemed)
    assert cutter.cuts == 0
    assert tokens.refresh
    cutter.cuts = 1
    verdict = await rotate(behind, tokens.refresh, second)
    assert isinstance(verdict, Rotated)
    assert not verdict.repeated
    assert await lives(behind, second)
    cutter.cuts = 1
    await add_client(behind, new_client("second"))
    cutter.cuts = 1
    digest = new_seed()
    assert await behind.grants.add_request(digest, REQUEST, lifetime_seconds=100, limit=1)
    cutter.cuts = 1
    assert await behind.facts.remember("fact", b"1") == b"1"
    assert cutter.cuts == 0


async def test_an_operation_that_cannot_tell_is_unavailable_after_a_cut(
    behind: module.RedisStorage, cutter: Cutter
) -> None:
    """It was done, but to say so would be a guess."""
    bucket = Bucket(b"one", 1, 100)
    await add_client(behind)
    # The server knows the scripts.
    await behind.sign_ins.take_attempt([Bucket(b"other", 1, 100)])
    await add_user(behind, "bob")
    for operation in (
        lambda: behind.sign_ins.take_attempt([bucket]),
        lambda: behind.users.add_invitation(b"link", "alice", scopes=None, lifetime_seconds=100),
        lambda: behind.users.claim_invitation(b"link", name="", credential=None),
    ):
        await behind.facts.recall("x")  # connected
        cutter.cuts = 1
        with pytest.raises(StorageUnavailable):
            await operation()
        assert cutter.cuts == 0
    assert await behind.sign_ins.take_attempt([bucket]) > 0
    assert await behind.users.get("alice") is not None


async def test_an_operation_is_one_round_trip(behind: module.RedisStorage, cutter: Cutter) -> None:
    assert set(await round_trips(behind, lambda: cutter.sent)) == {1}


async def test_an_operation_is_repeated_once_only(behind: module.RedisStorage, cutter: Cutter) -> None:
    cutter.cuts = 100
    with pytest.raises(StorageUnavailable):
        await behind.facts.recall("fact")
    assert cutter.cuts == 98
    cutter.cuts = 0
    assert await behind.facts.recall("fact") is None


async def test_operations_that_are_given_up_leave_no_connection_behind(
    storage: module.RedisStorage,
) -> None:
    for seconds in (0, 0.001, 0.002, 0.005):
        tasks = [asyncio.ensure_future(storage.facts.remember(str(number), b"1")) for number in range(300)]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    pool = storage._server._pool
    assert pool is not None
    assert not pool._in_use_connections
    assert len(await asyncio.gather(*(storage.facts.recall(str(number)) for number in range(300)))) == 300


# -------------------------------------------------------------------------------- what is kept, how long


@pytest.mark.parametrize("text", ["", "\0", "a\0b", "\ud800", "x" * 3_000_000, "é\u0301\u202e\uffff"])
async def test_text_comes_back_letter_by_letter(storage: module.RedisStorage, text: str) -> None:
    await add_client(storage, new_client("client", address=f"a{text}", client_name=text))
    client = await storage.clients.get("client")
    assert client is not None
    assert (client.address, client.metadata["client_name"]) == (f"a{text}", text)
    user = await storage.users.add(f"u{text}", scopes=None)
    assert await storage.users.get(f"u{text}") == user
    request = replace(REQUEST, state=text, code_challenge=text)
    digest = await add_request(storage, request)
    assert await storage.grants.take_request(digest) == request
    await storage.facts.remember(f"f{text}", text.encode(errors="surrogatepass"))
    assert await storage.facts.all("f") == {f"f{text}": text.encode(errors="surrogatepass")}


async def test_times_have_all_their_digits(storage: module.RedisStorage) -> None:
    """Lua by itself writes no more than four after the point."""
    users = [await storage.users.add(str(number), scopes=None) for number in range(10)]
    assert any(user.created_at != round(user.created_at, 4) for user in users)
    assert await storage.users.all() == users


async def test_redis_drops_by_itself_what_has_ended(
    server: RedisEngine, storage: module.RedisStorage, name: str
) -> None:
    """Records that end, and the sets that find them by a value; all else stays until it is deleted."""
    await full(storage)
    stays = ("facts", "clients", "users", "credentials")
    with server.client() as client:
        for key, kind, _ in server.keys(name):
            if "/" in key:
                expires = client.pttl(f"{server.prefix(name)}{key}".encode(errors="surrogateescape")) > 0
                assert expires != key.startswith(stays), (key, kind)


async def test_nothing_finds_what_redis_dropped_by_itself(
    server: RedisEngine, storage: module.RedisStorage, name: str
) -> None:
    await full(storage)
    kept = {"schema", "facts", "clients", "users", "credentials"}
    with server.client() as client:
        for key, _, _ in list(server.keys(name)):
            path = f"{server.prefix(name)}{key}".encode(errors="surrogateescape")
            if client.pttl(path) > 0:
                client.delete(path)
            elif key not in kept and "/" not in key and not key.startswith("clients"):
                # Their time is over, and so is the hour for which Redis waited.
                for member in client.zrange(path, 0, -1):
                    client.zadd(path, {member: 1})
    while await purge(storage):
        pass
    for key, _, _ in server.keys(name):
        assert key.replace(":", ".").replace("/", ".").partition(".")[0] in kept, key
    server.check(name)


async def test_what_hangs_off_a_grant_is_erased_with_it(
    server: RedisEngine, storage: module.RedisStorage, name: str
) -> None:
    """Attack 32: leave spent tokens behind. Source: fault 14 of 0.2.0."""
    for first in ("client", "user"):
        _, tokens = await granted(storage)
        for _ in range(3):
            await rotate(storage, tokens.refresh or b"", tokens := new_tokens(), kept=1)
        assert await (
            storage.clients.remove("client") if first == "client" else storage.users.delete("alice")
        )
        left = {key.replace(":", ".").replace("/", ".").partition(".")[0] for key, _, _ in server.keys(name)}
        assert not left & {"grants", "codes", "refresh_tokens", "access_tokens"}
        await storage.clients.remove("client")
        await storage.users.delete("alice")
    server.check(name)


async def dropped(server: RedisEngine, name: str, *tables: str) -> None:
    """Delete the records of tables, as Redis does by itself an hour after they ended."""
    with server.client() as client:
        for key, kind, _ in list(server.keys(name)):
            if kind == b"hash" and key.startswith(tuple(f"{table}/" for table in tables)):
                client.delete(f"{server.prefix(name)}{key}".encode(errors="surrogateescape"))


async def test_a_removal_goes_on_over_what_redis_dropped(
    server: RedisEngine, storage: module.RedisStorage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is left would be deleted in one step, for which everybody waits."""
    monkeypatch.setattr(limits, "PURGE_RECORDS", 2)
    _, tokens = await granted(storage)
    for _ in range(6):
        await rotate(storage, tokens.refresh or b"", tokens := new_tokens())
    await dropped(server, name, "refresh_tokens", "access_tokens", "codes")
    [grant] = await storage.grants.all()
    await storage.grants.revoke(grant.grant_id)
    await storage._server.sweep(client_id="client")
    left = {key.replace(":", ".").replace("/", ".").partition(".")[0] for key, _, _ in server.keys(name)}
    assert "grants" not in left


async def test_a_purge_goes_on_over_what_redis_dropped(
    server: RedisEngine, storage: module.RedisStorage, name: str
) -> None:
    user = await add_user(storage)
    for _ in range(5):
        await sign_in(storage, user, seconds=MOMENT)
    await asyncio.sleep(2 * MOMENT)
    await dropped(server, name, "sessions")
    assert [await purge(storage, limit=3) for _ in range(3)] == [3, 2, 0]


async def chained(storage: module.RedisStorage, number: int) -> tuple[str, list[bytes]]:
    """Refresh a new grant so often; return its id and the refresh tokens, oldest first."""
    _, tokens = await granted(storage)
    chain = [tokens.refresh or b""]
    for _ in range(number):
        new = new_tokens()
        await rotate(storage, chain[-1], new, kept=1000)
        chain.append(new.refresh or b"")
    [grant] = await storage.grants.all()
    return grant.grant_id, chain


async def test_a_forgotten_token_costs_a_bounded_look(
    server: RedisEngine, storage: module.RedisStorage, name: str
) -> None:
    """Attack 32: block Redis by showing one forgotten token, of a grant that was refreshed without end.
    Source: fault 14 of 0.2.0.
    """
    grant_id, [spent, _] = await chained(storage, 1)
    prefix = server.prefix(name).encode()
    record, find = prefix + b"refresh_tokens/", prefix + b"refresh_tokens.grant_id/" + grant_id.encode()
    with server.client() as client:
        fields = client.hgetall(record + spent)

        def leave(number: int, ends: float) -> None:
            with client.pipeline(transaction=False) as pipeline:
                for one in range(number):
                    digest = b"\xff%.0f %d" % (ends, one)
                    pipeline.hset(record + digest, mapping=fields | {b"digest": digest})
                    pipeline.zadd(find, {digest: ends})
                pipeline.execute()

        def calls() -> int:
            told = client.info("commandstats")
            return sum(told.get(f"cmdstat_{one}", {"calls": 0})["calls"] for one in ("hgetall", "hexists"))

        ends = client.zrange(find, -1, -1, withscores=True)[0][1]
        leave(1500, ends - 100)
        for number in (0, 100):
            leave(number, ends)  # near the end of a grant, all of them end with it
            before = calls()
            assert await storage.grants.get_forgotten(grant_id) is not None
            assert calls() - before < 120
        leave(1500, ends + 100)
        before = calls()
        await storage.grants.get_forgotten(grant_id)
        assert calls() - before < 1020


@pytest.mark.parametrize("each", [1, 2])
async def test_a_full_store_finds_who_makes_room_without_a_look_at_all(
    server: RedisEngine, storage: module.RedisStorage, each: int
) -> None:
    """Attack 22, 32: keep Redis busy by registrations in a full store. Source: RFC 7591 5."""

    async def register(number: int, network: str) -> None:
        client = new_client(f"client-{number}", network)
        await add_client(storage, client, shares=(9000, 9000, 9000, 400 * each))

    for number in range(400 * each):
        await register(number, f"2001:db8:{number // each:x}::/64")
    names = ("zscore", "hget", "zrange", "zrangebylex", "zrevrange")
    with server.client() as client:

        def calls() -> int:
            told = client.info("commandstats")
            return sum(told.get(f"cmdstat_{one}", {"calls": 0})["calls"] for one in names)

        before = calls()
        await register(9999, "192.0.2.1")
        assert calls() - before < 50


async def test_what_nodes_of_the_release_before_spent_is_forgotten_too(
    server: RedisEngine, storage: module.RedisStorage, name: str
) -> None:
    """Attack 32: leave spent tokens behind. Source: fault 14 of 0.2.0."""
    grant_id, chain = await chained(storage, 10)
    with server.client() as client:
        assert client.delete(f"{server.prefix(name)}refresh_tokens:spent/{grant_id}") == 1
    for _ in range(12):
        await asyncio.sleep(0.01)
        new = new_tokens()
        await rotate(storage, chain[-1], new, kept=2, replay_seconds=0.001)
        chain.append(new.refresh or b"")
    left = [row["digest"] async for table, row in storage.dump() if table == "refresh_tokens"]
    assert set(left) == set(chain[-3:])
    server.check(name)


async def test_what_is_purged_leaves_nothing_behind(
    server: RedisEngine, storage: module.RedisStorage, name: str
) -> None:
    await add_client(storage)
    user = await add_user(storage)
    before = server.sizes(name)
    for _ in range(3):
        code = await new_code(storage, user, code_seconds=MOMENT, grant_seconds=MOMENT)
        await redeem(storage, code)
        [grant] = await storage.grants.all()
        await storage.grants.revoke(grant.grant_id)
        await add_request(storage, seconds=MOMENT)
        await sign_in(storage, user, seconds=MOMENT)
        await storage.sign_ins.add_ticket(new_seed(), b"", lifetime_seconds=MOMENT)
        await storage.sign_ins.take_attempt([Bucket(new_seed(), 1, MOMENT)])
        await storage.users.add_invitation(new_seed(), new_seed().hex(), scopes=None, lifetime_seconds=MOMENT)
    await asyncio.sleep(2 * MOMENT)
    while await purge(storage):
        pass
    after = server.sizes(name)
    # The client is in use now.
    assert {key for key in after if not key.startswith("clients")} == {
        key for key in before if not key.startswith("clients")
    }
    server.check(name)


async def test_purges_of_several_nodes_delete_each_record_once(
    server: RedisEngine, storage: module.RedisStorage, name: str
) -> None:
    user = await add_user(storage)
    for _ in range(100):
        await sign_in(storage, user, seconds=MOMENT)
    await asyncio.sleep(2 * MOMENT)
    async with opened(server, name) as one, opened(server, name) as other:
        deleted = await asyncio.gather(*(purge(node, limit=15) for node in (storage, one, other) * 4))
    assert sum(deleted) == 100


async def test_salts_and_clients_are_purged_in_bounded_batches(storage: module.RedisStorage) -> None:
    for number in range(7):
        await add_client(storage, new_client(f"client-{number}"))
    await asyncio.sleep(MOMENT)
    assert [await purge(storage, limit=3, unused_seconds=0) for _ in range(4)] == [3, 3, 1, 0]


async def test_a_client_with_a_grant_is_not_unused(storage: module.RedisStorage) -> None:
    await add_client(storage)
    await new_code(storage, await add_user(storage))
    await add_client(storage, new_client("second"))
    await asyncio.sleep(MOMENT)
    assert await purge(storage, limit=1, unused_seconds=0) == 1
    assert [client.client_id for client in await storage.clients.all()] == ["client"]


def rotate_elsewhere(settings: dict[str, str], token: bytes) -> list[tuple[bytes, bool]]:
    """Use one token many times in another process; return the salts and who was first."""

    async def run() -> list[tuple[bytes, bool]]:
        storage = module.create(module.Settings.model_validate(settings))
        await storage.open()
        try:
            verdicts = await asyncio.gather(*(rotate(storage, token) for _ in range(50)))
            return [(each.salt, each.repeated) for each in verdicts if isinstance(each, Rotated)]
        finally:
            await storage.close()

    return asyncio.run(run())


async def test_parallel_rotations_of_several_processes_get_one_salt(
    server: RedisEngine, storage: module.RedisStorage, name: str
) -> None:
    _, tokens = await granted(storage)
    assert tokens.refresh
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        running = [pool.submit(rotate_elsewhere, server.settings(name), tokens.refresh) for _ in range(2)]
        verdicts = [verdict for done in running for verdict in await asyncio.to_thread(done.result)]
    assert len(verdicts) == 100
    assert len({salt for salt, _ in verdicts}) == 1
    assert sum(not repeated for _, repeated in verdicts) == 1


# ----------------------------------------------------------------------------------------------- backup


async def test_nobody_writes_while_a_backup_runs(
    storage: module.RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_BATCH", 2)
    _, tokens = await granted(storage)
    assert tokens.access
    assert tokens.refresh
    for number in range(5):
        await add_client(storage, new_client(f"client-{number}"))
    before = records(await dumped(storage))
    rows = []
    async for row in storage.dump():
        rows.append(row)
        with pytest.raises(StorageUnavailable, match="backup"):
            await rotate(storage, tokens.refresh)
        assert await storage.grants.get_access_token(tokens.access) is not None
        await storage.ping()
    assert records(rows) == before
    assert await lives(storage, tokens)


async def test_a_backup_that_is_given_up_lets_others_write_at_once(storage: module.RedisStorage) -> None:
    await full(storage)
    dump: Any = storage.dump()
    await anext(dump)
    with pytest.raises(StorageUnavailable, match="another backup"):
        await anext(storage.dump())
    await dump.aclose()
    await storage.facts.forget("fact")


async def test_a_backup_that_died_lets_others_write_after_a_while(
    storage: module.RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And if it only slept, it says that it is no snapshot any more."""
    monkeypatch.setattr(upkeep, "LEASE_MILLISECONDS", 50)
    monkeypatch.setattr(upkeep, "_BATCH", 1)
    await full(storage)
    dump = storage.dump()
    await anext(dump)
    await recovers(lambda: storage.facts.forget("fact"))
    with pytest.raises(StorageUnavailable, match="too long"):
        [row async for row in dump]


async def test_nobody_uses_a_store_that_is_being_restored(
    server: RedisEngine, storage: module.RedisStorage, name: str
) -> None:
    await full(storage)
    dump = await dumped(storage)
    async with opened(server, f"{name}-2") as other:

        async def watched() -> AsyncIterator[Any]:
            for entry in dump:
                with pytest.raises(StorageUnavailable, match="restore"):
                    await add_client(other)
                with pytest.raises(StorageUnavailable, match="restore"):
                    await made(server, f"{name}-2").open()
                with pytest.raises(StorageUnavailable, match="restore"):
                    await other.fill(again(dump))
                yield entry

        await other.fill(watched())
        assert records(await dumped(other)) == records(dump)
    server.check(f"{name}-2")


async def test_a_restore_that_died_is_undone_by_whoever_opens_the_store_next(
    server: RedisEngine, storage: module.RedisStorage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_BATCH", 3)
    await full(storage)
    dump = await dumped(storage)
    async with opened(server, f"{name}-2") as other:
        await other.facts.remember("own", b"1")

        async def dies() -> AsyncIterator[Any]:
            for entry in dump[:-1]:
                yield entry
            await other.close()  # as a crash does: nothing of it can be undone
            yield dump[-1]

        with pytest.raises(StorageUnavailable):
            await other.fill(dies())
    assert server.sizes(f"{name}-2")["grants"] > 0
    with server.client() as client:
        client.delete(f"{server.prefix(f'{name}-2')}maintenance")  # its time runs out
    storages = [made(server, f"{name}-2") for _ in range(5)]
    outcomes = await asyncio.gather(*(one.open() for one in storages), return_exceptions=True)
    assert None in outcomes
    assert all(outcome is None or isinstance(outcome, StorageUnavailable) for outcome in outcomes)
    for one in storages:
        await one.close()
    async with opened(server, f"{name}-2") as other:
        assert await dumped(other) == [("facts", {"name": "own", "value": b"1"})]
        await other.fill(again(dump))
        assert records(await dumped(other)) == records(dump)


# ------------------------------------------------------------------------------------------- doctor


@pytest.mark.parametrize(
    ("url", "unsafe"),
    [
        ("redis://:password@127.0.0.1:6379/0", 0),
        ("redis://127.0.0.1:6379/0", 0),
        ("unix:///run/redis.sock", 0),
        ("rediss://:password@redis.example.com", 0),
        ("rediss://:password@redis.example.com?ssl_cert_reqs=none", 1),
        ("rediss://redis.example.com", 1),
        ("redis://:password@redis.example.com", 1),
        ("redis://redis.example.com", 2),
    ],
)
def test_doctor_demands_verified_tls_and_a_password_off_this_machine(url: str, unsafe: int) -> None:
    found = list(module.checks(module.Settings.model_validate({"storage_url": url})))
    assert sum(not finding.harmless for finding in found) == unsafe
    assert {finding.about for finding in found} <= {"AUTH_STORAGE_URL"}


def test_doctor_says_what_accepted_loss_means() -> None:
    settings = {"storage_url": "redis://:password@127.0.0.1", "storage_durability": "accept-loss"}
    [finding] = module.checks(module.Settings.model_validate(settings))
    assert str(finding).startswith("note: AUTH_STORAGE_DURABILITY: ")
