"""The authorization server on a clock of its own: what takes time takes none, and happens in the same order.

Its code is the real one, and so is the engine; only the engine's clock is told what time it is. Argon2 is a
wait of HASH_SECONDS: how long it takes is for the machine to say, and no promise.
"""

import asyncio
import hashlib
import json
import selectors
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any, TypeVar, cast
from unittest import mock

import engines
import structlog
from argon2.exceptions import VerifyMismatchError
from starlette.requests import Request

from authserver import AuthorizationServer, Scope
from authserver.all_settings import Settings
from authserver.crypto.keys import load_keys
from authserver.storage import Storage
from authserver.storage.redis.scripts import Script, load_scripts

T = TypeVar("T")

HASH_SECONDS = 0.1
PASSWORD = "correct horse battery staple"

# Redis drops by its real clock what has ended by ours, so ours is ahead.
_START = 4_000_000_000.0


class _NoWait(selectors.DefaultSelector):
    """Lets time pass in place of waiting for it."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits, and nothing will happen"
        self.passed += max(timeout, 0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = _NoWait()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.passed


class _Subject:
    """A subject of the storage whose operations are over before anything else happens."""

    def __init__(self, subject: object, call: Callable[[Callable[[], Awaitable[Any]]], Any]) -> None:
        self._subject = subject
        self._call = call

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._subject, name)

        async def operation(*values: object, **named: object) -> Any:
            return self._call(lambda: method(*values, **named))

        return operation


class World:
    """A server, and the time in it."""

    def __init__(self, storage: str, engine: engines.Engine, name: str) -> None:
        self._loop = _Loop()
        self._thread_loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._thread_loop.run_forever, daemon=True)
        self._thread.start()
        self._told = _START  # nothing is told before there is anybody to be told
        room = import_module(f"authserver.storage.{storage}")
        settings = Settings.model_validate({"secret_key": "x" * 44, "data_dir": "data"})
        self._real = cast(Storage, room.create(room.Settings(**engine.settings(name))))
        self._tell: Callable[[float], Awaitable[Any]] = partial(_CLOCKS[storage][1], self._real)
        with mock.patch("authserver.clock.now", self.now):
            self.call(self._real.open)
            self.call(partial(_CLOCKS[storage][0], self._real))
            self._told = 0.0
            subjects = ("facts", "clients", "users", "sign_ins", "grants")
            self.storage = cast(
                Storage,
                SimpleNamespace(
                    **{part: _Subject(getattr(self._real, part), self.call) for part in subjects}
                ),
            )
            keys = self.call(lambda: load_keys(settings, self._real))
            self.server, self._crowded = (
                AuthorizationServer([Scope("read", "Read.", default=True)], settings) for _ in range(2)
            )
            self.server._storage, self._crowded._storage = self.storage, self._real
            self.server._keys = self._crowded._keys = keys

    def now(self) -> float:
        """Return the time, in seconds since 1970."""
        return _START + self._loop.time()

    def call(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do something in the store, in no time."""

        async def done() -> T:
            if self.now() != self._told:
                self._told = self.now()
                await self._tell(self._told)
            return await operation()

        return asyncio.run_coroutine_threadsafe(done(), self._thread_loop).result()

    def crowd(self, operation: Callable[[AuthorizationServer], list[Awaitable[Any]]]) -> list[Any]:
        """Let many do something at the same moment; return their answers and errors."""

        async def all_of_them() -> list[Any]:
            return await asyncio.gather(*operation(self._crowded), return_exceptions=True)

        return self.call(all_of_them)

    def run(self, story: Coroutine[Any, Any, T]) -> T:
        """Let something happen, until it has."""
        with (
            mock.patch("authserver.clock.now", self.now),
            mock.patch.object(self._loop, "run_in_executor", _hash),
            mock.patch("argon2.PasswordHasher.hash", return_value="hash"),
            mock.patch("argon2.PasswordHasher.verify", _verify),
            mock.patch("argon2.PasswordHasher.check_needs_rehash", return_value=False),
            structlog.testing.capture_logs(),
        ):
            return self._loop.run_until_complete(story)

    def close(self) -> None:
        """End the world."""
        self.call(self._real.close)
        self._thread_loop.call_soon_threadsafe(self._thread_loop.stop)
        self._thread.join()
        self._thread_loop.close()
        self._loop.close()


@contextmanager
def world(storage: str, engine: engines.Engine, name: str) -> Iterator[World]:
    """Return a world with an empty store, which ends after it."""
    with mock.patch("authserver.storage.redis.server.load_scripts", _scripts):
        made = World(storage, engine, name)
        try:
            yield made
        finally:
            made._told = made.now()
            made.close()


def posted(address: str, cookie: str = "", body: object = None) -> Request:
    """Return a request from that address."""
    headers = [(b"content-type", b"application/json"), (b"cookie", cookie.encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": headers,
        "client": (address, 1),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(body).encode()}

    return Request(scope, receive)


async def _hash(_: object, function: Callable[..., T], *arguments: object) -> T:
    await asyncio.sleep(HASH_SECONDS)
    return function(*arguments)


def _verify(_: object, hashed: str, password: str) -> bool:
    if password != PASSWORD:
        raise VerifyMismatchError
    return True


# --------------------------------------------------------------------------------- the clocks of the engines


async def _nothing(storage: Any, now: float = 0) -> None:
    """SQLite asks `clock.now`."""


async def _prepare_postgresql(storage: Any) -> None:
    run = storage._connections.run
    await run("CREATE TABLE authserver.simulated_clock (at double precision)")
    await run("INSERT INTO authserver.simulated_clock VALUES (0)")
    await run(
        "CREATE FUNCTION authserver.simulated_now() RETURNS timestamptz LANGUAGE sql STABLE"
        " AS 'SELECT to_timestamp(at) FROM authserver.simulated_clock'"
    )
    found = await run(
        "SELECT pg_get_functiondef(oid) AS text FROM pg_proc"
        " WHERE pronamespace = 'authserver'::regnamespace AND proname <> 'simulated_now'"
    )
    for row in found:
        text = row["text"]
        for name in ("clock_timestamp", "statement_timestamp"):
            text = text.replace(f"{name}()", "authserver.simulated_now()")
        await run(text)


async def _tell_postgresql(storage: Any, now: float) -> None:
    await storage._connections.run("UPDATE authserver.simulated_clock SET at = $1", now)


async def _tell_redis(storage: Any, now: float) -> None:
    server = storage._server
    told = (b"SET", server._prefix + b"clock", repr(now).encode())
    await server.exchange(told, again=True, writes=True)


def _scripts() -> dict[str, Script]:
    """Return the scripts of Redis, with our clock."""
    clock = b'{ redis.call("GET", prefix .. "clock") or 4000000000, 0 }'
    found = {}
    for name, script in load_scripts().items():
        assert b'redis.call("TIME")' in script.text
        text = script.text.replace(b'redis.call("TIME")', clock)
        found[name] = Script(text, _sha(text), script.writes)
    return found


def _sha(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


_CLOCKS: dict[str, tuple[Callable[..., Awaitable[None]], Callable[..., Awaitable[None]]]] = {
    "sqlite": (_nothing, _nothing),
    "postgresql": (_prepare_postgresql, _tell_postgresql),
    "redis": (_nothing, _tell_redis),
}
