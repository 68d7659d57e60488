"""The server of a store is demoted and another takes its place, or it is emptied, under a running node.

The address of the store moves for new connections only, as that of a proxy or a service does, or its name
leads to another address: connections that are open still lead to the demoted server, which lives on.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import effort
import pytest
from balancer import Place, passing_on
from engines import postgresql, scratch
from engines import redis as redis_engine
from oauth_client import OAuthClient, call
from person import Person
from ports import free_port
from redis import Redis
from rendering import DEFAULTS, Answers
from servers import Server

pytestmark = effort.push

_SECONDS = 120
"""A busy machine is slow; a node that does not follow would need far longer than this."""

KEY = "the secret key of the tests, and of no other use"
NAME = "store.test"
HOSTS = ("127.0.0.1", "127.0.0.2")
"""To which the name leads before and after it moves."""


class Pair:
    """Two servers of one store, of which the first is the primary, behind an address that moves."""

    def __init__(self, storage: str, first: Place, second: Place, url: Callable[[int], str]) -> None:
        self.storage = storage
        self.port = free_port()
        self.hosts: Path | None = None
        """The names that a node looks up, where a name moves."""
        self._places = [first, second]
        self._url = url

    @contextmanager
    def reached(self, hosts: Path | None) -> Iterator[None]:
        """Lead to the first server: by an address, or by a name in a file of names."""
        self.hosts = hosts
        with ExitStack() as ways:
            if hosts is None:
                ways.enter_context(passing_on(self.port, lambda: self._places[:1]))
            else:
                for place, host in zip(self._places, HOSTS, strict=True):
                    ways.enter_context(passing_on(self.port, partial(list, [place]), host))
                self._lead_name(HOSTS[0])
            yield

    def _lead_name(self, host: str) -> None:
        if self.hosts is not None:
            self.hosts.write_text(f"127.0.0.1 localhost\n{host} {NAME}\n")

    def store(self) -> dict[str, str]:
        """Return the settings of the node."""
        url = self._url(self.port)
        return {
            "storage_url": url if self.hosts is None else url.replace("127.0.0.1", NAME),
            "secret_key": KEY,
        }

    def direct(self) -> dict[str, str]:
        """Return the settings of who goes directly to the primary, as commands do here."""
        return {"storage_url": self._url(self._places[0][1]), "secret_key": KEY}

    def move(self) -> None:
        """Let the address, or the name, lead to the second server."""
        self._places.pop(0)
        self._lead_name(HOSTS[1])

    def promote(self) -> None:
        """Make the second server the primary, while the first one lives on and takes no writes."""
        raise NotImplementedError

    def empty(self) -> None:
        """Delete all that the second server keeps."""
        raise NotImplementedError


class PostgreSQLPair(Pair):
    def __init__(self, folder: Path) -> None:
        programs = postgresql.find_programs()
        if programs is None:
            pytest.skip("no programs of PostgreSQL on this machine")
        self.first = postgresql.OwnServer(programs, folder)
        self.first.start()
        self._name = self.first.settings("moved")["storage_url"].rpartition("/")[2]
        self.second = postgresql.OwnServer(programs, folder, folder / "standby")
        self.first.run(
            "pg_basebackup",
            f"--dbname={self.first.url}",
            f"--pgdata={self.second.data}",
            "--checkpoint=fast",
            "--write-recovery-conf",
        )
        self.second._prefix = self.first._prefix
        self.second.start()
        super().__init__(
            "postgresql",
            ("127.0.0.1", self.first.port),
            ("127.0.0.1", self.second.port),
            lambda port: self.first.url.replace(f":{self.first.port}/postgres", f":{port}/{self._name}"),
        )

    def promote(self) -> None:
        self.first.ask("ALTER SYSTEM SET default_transaction_read_only = on")
        self.first.ask("SELECT pg_reload_conf()")
        [[written]] = self.first.ask("SELECT pg_current_wal_flush_lsn()::text")
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"
        until(lambda: self.second.ask(replayed)[0][0])
        self.second.ask("SELECT pg_promote()")

    def empty(self) -> None:
        self.second.ask(
            "TRUNCATE authserver.facts, authserver.clients, authserver.users, authserver.grants CASCADE",
            "moved",
        )

    def close(self) -> None:
        self.second.close()
        self.first.close()


class RedisPair(Pair):
    def __init__(self, folder: Path) -> None:
        ports = [free_port(), free_port()]
        first, second = (
            redis_engine.own(folder / str(port), port=str(port), bind="127.0.0.1") for port in ports
        )
        self._servers = [first, second]
        for server in self._servers:
            server.start()
        self.first, self.second = (Redis(port=port) for port in ports)
        self.second.replicaof("127.0.0.1", ports[0])
        until(lambda: self.second.info("replication")["master_link_status"] == "up")
        super().__init__(
            "redis",
            ("127.0.0.1", ports[0]),
            ("127.0.0.1", ports[1]),
            lambda port: f"redis://127.0.0.1:{port}/0",
        )

    def promote(self) -> None:
        assert self.first.wait(1, 60_000) >= 0
        offset = self.first.info("replication")["master_repl_offset"]
        until(lambda: self.second.info("replication")["slave_repl_offset"] >= offset)
        self.second.replicaof("NO", "ONE")
        self.first.replicaof("127.0.0.1", self.second.connection_pool.connection_kwargs["port"])

    def empty(self) -> None:
        self.second.flushall()

    def close(self) -> None:
        for client in (self.first, self.second):
            client.close()
        for server in self._servers:
            server.close()


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


KINDS: tuple[tuple[type[PostgreSQLPair | RedisPair], bool], ...] = (
    (PostgreSQLPair, False),
    (RedisPair, False),
    (PostgreSQLPair, True),
    (RedisPair, True),
)


@pytest.fixture(params=KINDS, ids=["postgresql", "redis", "postgresql by name", "redis by name"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    kind, by_name = request.param
    if by_name and subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("this machine lets nobody have names of their own: unshare --mount")
    with scratch() as folder:
        made = kind(folder)
        try:
            with made.reached(tmp_path / "hosts" if by_name else None):
                yield made
        finally:
            made.close()


@contextmanager
def running(server: Server, hosts: Path | None) -> Iterator[None]:
    """Run a node; one with names of its own, by its command, as a fork would have those of all."""
    if hosts is None:
        with server.running():
            yield
        return
    server.environment["PYTHONPATH"] = str(server.project / "src")
    serve = ("serve", "--host", "127.0.0.1", "--port", str(server.port))
    program = (sys.executable, "-c", "from authserver.cli import main; main()", *serve)
    named = f'mount --bind {hosts} /etc/hosts && exec "$@"'
    with server.running(command=("unshare", "--mount", "sh", "-c", named, "sh", *program)):
        yield


def test_a_node_follows_to_the_new_primary_and_believes_nothing_of_the_old_one(
    pair: Pair, rendered: Callable[[Answers], Path]
) -> None:
    """Attack 34: go on, disabled, by a node that reads a demoted primary. Source: fault 31 of 0.2.0.

    In the end the store is emptied (fault 33): the node issues nothing, and says what happened.
    """
    project = rendered(DEFAULTS | {"storage": pair.storage})
    server = Server(project, pair.store())
    with running(server, pair.hosts):
        owner, guest = Person(server, "owner"), Person(server, "guest")
        owner.join(server.first_account_link)
        guest.join(Server(project, pair.direct(), server.port).invite("guest"))
        client = OAuthClient(server)
        mine, theirs = client.tokens(owner), client.tokens(guest)
        assert [status(server, tokens) for tokens in (mine, theirs)] == [200, 200]

        pair.promote()
        pair.move()
        Server(project, pair.direct()).command("users", "disable", "guest")
        assert set(statuses(lambda: status(server, theirs), 401)) <= {200, 401, 503}
        assert set(statuses(lambda: client.refresh(mine["refresh_token"]).status_code, 200)) <= {200, 503}
        renewed = client.refresh(mine["refresh_token"]).json()
        for _ in range(20):
            assert status(server, theirs) == 401
            assert status(server, renewed) == 200
        assert client.refresh(theirs["refresh_token"]).json()["error"] == "invalid_grant"
        assert status(server, client.tokens(Person(server, "owner"))) == 200

        pair.empty()
        assert set(statuses(lambda: client.http.get("/readyz").status_code, 503)) <= {200, 503}
        new = {"redirect_uris": ["http://127.0.0.1/cb"]}
        assert client.http.post("/register", json=new).status_code == 503
        assert client.refresh(renewed["refresh_token"]).status_code == 503
        assert status(server, renewed) == 503
        until(lambda: "Restore the latest backup" in server.printed)


def statuses(ask: Callable[[], int], last: int) -> list[int]:
    """Ask until the answer is `last`; return all answers."""
    seen = [ask()]

    def asked() -> bool:
        seen.append(ask())
        return seen[-1] == last

    until(asked)
    return seen


def status(server: Server, tokens: dict[str, str]) -> int:
    return call(server, tokens["access_token"], name="whoami", arguments={}).status_code
