"""The connections to a Redis server: round trips, scripts, time limits, and what the server must be like."""

import asyncio
import contextlib
import re
from typing import Any

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MasterDownError, NoScriptError, ReadOnlyError, RedisError, ResponseError

from authserver import clock, limits
from authserver.settings import SettingsError
from authserver.storage.errors import StorageLost, StorageUnavailable
from authserver.storage.redis.address import Address
from authserver.storage.redis.scripts import Script, load_scripts
from authserver.storage.redis.values import Argument, encode

_LIMIT_SECONDS = 5.0
_CONNECT_SECONDS = 2.0
_WAIT_MILLISECONDS = 2000
_CONNECTIONS = 64
_CONNECTION_SECONDS = 60.0

# As the server says it, and as it repeats what a script was told.
_DEMOTED = re.compile("^(READONLY|MASTERDOWN|UNBLOCKED)|-READONLY")

Command = tuple[bytes, ...]


class Server:
    """The connections of one process. Only `open` and `close` never raise StorageUnavailable."""

    def __init__(self, address: Address, replicas: int) -> None:
        self._address = address
        self._prefix = address.prefix.encode()
        self._replicas = replicas
        self._slots: asyncio.Semaphore
        self._pool: ConnectionPool | None = None
        self._identity = b""

    def pin(self, identity: bytes) -> None:
        """Take what the store is told from others by."""
        self._identity = identity

    def open(self) -> None:
        """Begin anew. Connections are made when they are needed."""
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        # Nothing is repeated behind our back: only the storage knows what may be.
        self._pool = ConnectionPool(
            connection_class=self._address.kind,
            **self._address.options
            | {
                "protocol": 2,
                "retry": Retry(NoBackoff(), 0),
                "socket_timeout": None,
                "socket_connect_timeout": _CONNECT_SECONDS,
                "driver_info": None,
            },
        )

    async def close(self) -> None:
        """Close the connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with contextlib.suppress(RedisError):
                await pool.aclose()

    async def run(self, name: str, *arguments: Argument, again: bool = False) -> Any:
        """Run a script in one round trip; return its answer, after the replicas have it where that is set.

        A script that only reads, or that may run `again` since it can tell that it had run, is sent once more
        when the connection was lost.
        """
        script = load_scripts()[name]
        words = (
            b"0",
            self._prefix,
            self._identity,
            *(part for argument in arguments for part in encode(argument)),
        )
        again = again or not script.writes
        answers = await self._evaluate(script, words, again=again)
        if _is_demoted(answers[0]):
            # Nothing was done. New connections find the server that took its place.
            answers = await self._evaluate(script, words, again=again)
        return self._judge(answers)

    async def _evaluate(self, script: Script, words: Command, *, again: bool) -> list[Any]:
        answers = await self.exchange((b"EVALSHA", script.sha, *words), again=again, writes=script.writes)
        if isinstance(answers[0], NoScriptError):
            answers = await self.exchange((b"EVAL", script.text, *words), again=again, writes=script.writes)
        return answers

    async def sweep(self, *, client_id: str | None = None, subject: str | None = None) -> None:
        """Delete all that is left of the grants of a client or user, so that others come in between."""
        while await self.run("sweep", limits.PURGE_RECORDS, client_id, subject):  # noqa: ASYNC110
            await asyncio.sleep(limits.SWEEP_PAUSE_SECONDS)

    async def time(self) -> float:
        """Return the time of the server, in seconds since 1970."""
        seconds, microseconds = self._judge(await self.exchange((b"TIME",), again=True))
        return int(seconds) + int(microseconds) / 1e6

    async def exchange(self, *commands: Command, again: bool, writes: bool = False) -> list[Any]:
        """Send commands in one round trip; return the answers, a refusal among them as an error."""
        pool = self._pool
        if pool is None:
            raise StorageUnavailable("the storage is not open")
        if writes and self._replicas:
            commands = (*commands, (b"WAIT", b"%d" % self._replicas, b"%d" % _WAIT_MILLISECONDS))
        attempts = 2 if again else 1
        reason = ""
        for _ in range(attempts):
            try:
                async with asyncio.timeout(_LIMIT_SECONDS / attempts), self._slots:
                    answers = await _round_trip(pool, commands)
            except (RedisError, OSError, EOFError) as error:
                reason = _reason(error)
                await pool.disconnect(inuse_connections=False)  # the others may lead nowhere, too
            else:
                if any(map(_is_demoted, answers)):
                    await pool.disconnect(inuse_connections=False)
                return answers
        raise StorageUnavailable(reason)

    def _judge(self, answers: list[Any]) -> Any:
        answer, *acknowledged = answers
        if isinstance(answer, ResponseError):
            if str(answer).startswith("LOST"):
                raise StorageLost
            raise StorageUnavailable(_reason(answer))
        if acknowledged and not (isinstance(acknowledged[0], int) and acknowledged[0] >= self._replicas):
            raise StorageUnavailable("too few replicas have what was written")
        return answer


class Kept:
    """What is kept on a server."""

    def __init__(self, server: Server) -> None:
        self._server = server


async def _round_trip(pool: ConnectionPool, commands: tuple[Command, ...]) -> list[Any]:
    connection: AbstractConnection = await pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        if clock.elapsed() - getattr(connection, "made_at", 0.0) > _CONNECTION_SECONDS:
            await connection.disconnect()  # so that a name that leads elsewhere by now is followed
            await connection.connect()  # type: ignore[no-untyped-call]
        await connection.send_packed_command(connection.pack_commands(commands))
        return [await _answer(connection) for _ in commands]
    finally:
        await pool.release(connection)


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _is_demoted(answer: Any) -> bool:
    """Say whether the server refused since it is no primary any more."""
    return isinstance(answer, (ReadOnlyError, MasterDownError)) or (
        isinstance(answer, ResponseError) and _DEMOTED.search(str(answer)) is not None
    )


def _reason(error: Exception) -> str:
    """Say what went wrong, without what a server may repeat of the command."""
    text = str(error).partition(", with args")[0].partition("\n")[0]
    return f"Redis: {text or 'no answer in time'}"


async def check_server(server: Server, *, durable: bool) -> None:
    """Raise SettingsError where the server is not one that can keep the store."""
    information, appending, syncing = await server.exchange(
        (b"INFO",), (b"CONFIG", b"GET", b"appendonly"), (b"CONFIG", b"GET", b"appendfsync"), again=True
    )
    if isinstance(information, ResponseError):
        raise StorageUnavailable(_reason(information))
    told = dict(line.split(":", 1) for line in information.decode().splitlines() if ":" in line)
    version = told["redis_version"]
    if tuple(map(int, version.split(".")[:2])) < (6, 2):
        raise _refusal(f"Redis {version} is too old: 6.2 or newer is needed")
    if told.get("cluster_enabled") == "1":
        raise _refusal("the server is part of a Redis Cluster, which is not supported")
    if told.get("maxmemory_policy", "noeviction") != "noeviction":
        raise _refusal(
            "the server deletes records when its memory is full: set its maxmemory-policy noeviction"
        )
    if not durable:
        return
    if isinstance(appending, ResponseError) or isinstance(syncing, ResponseError):
        raise SettingsError(
            "AUTH_STORAGE_DURABILITY: the server does not let its CONFIG be read. See that it has"
            " appendonly yes and appendfsync always, then set AUTH_STORAGE_DURABILITY=accept-loss"
        )
    if (appending[1], syncing[1]) != (b"yes", b"always"):
        raise SettingsError(
            "AUTH_STORAGE_DURABILITY: the server may lose what it has answered. Set its appendonly yes and"
            " appendfsync always, or accept the loss of logins. Example: AUTH_STORAGE_DURABILITY=accept-loss"
        )


def _refusal(text: str) -> SettingsError:
    return SettingsError(f"AUTH_STORAGE_URL: {text}. Example: AUTH_STORAGE_URL=redis://127.0.0.1:6379/0")
