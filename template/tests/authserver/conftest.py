"""A real server on a real port."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import anyio
import engines
import httpx2
import hypothesis
import logins
import pytest
import structlog
import uvicorn
from counting import _count_attacks
from fastmcp import FastMCP
from fastmcp.server.dependencies import get_access_token
from oauth_client import alive
from operators import Operator
from person import Person, http_client
from ports import free_port

from authserver import AuthorizationServer, Scope, choices, requires
from authserver.all_settings import Settings, load_settings
from authserver.crypto.secret_values import Kind, digest, new
from authserver.folders import FOLDERS
from authserver.storage import Storage
from authserver.storage.users import Ending

__all__ = ["_count_attacks"]

# In the template itself, the tests of all logins lie side by side, and one login is chosen.
collect_ignore = [
    path.name
    for path in Path(__file__).parent.glob("test_login_*.py")
    if path.stem != f"test_login_{choices.login.__name__.rpartition('.')[2]}"
]

# A bounded share for each push, the same each time; `--hypothesis-profile=long` looks further.
_base = hypothesis.settings(database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
for _name in ("default", "ci"):  # Hypothesis takes the second by itself where CI is set
    hypothesis.settings.register_profile(_name, _base, max_examples=15, derandomize=True)
hypothesis.settings.register_profile("long", _base, max_examples=2000, stateful_step_count=100)
# Where only counts whether it fails.
hypothesis.settings.register_profile("unshrunk", _base, max_examples=60, phases=[hypothesis.Phase.generate])

structlog.configure(logger_factory=structlog.ReturnLoggerFactory())

# On this machine, as the chosen login wants to be reached.
ADDRESS = Settings.model_fields["public_url"].default.rpartition(":")[0]

SCOPES = [
    Scope("read", "Read things.", default=True),
    Scope("write", "Read and change things.", includes=("read",)),
    Scope("admin", "Do anything."),
]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No setting of the developer's shell reaches a test, no `.env`, and no `app`."""
    for name in os.environ:
        if name.startswith("AUTH_"):
            monkeypatch.delenv(name)
    monkeypatch.setitem(sys.modules, "app.server", OWN_APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(FOLDERS, "project", tmp_path)
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def engine() -> Iterator[engines.Engine]:
    """The engine of the chosen storage, one for each test process."""
    storage = choices.storage.__name__.rpartition(".")[2]
    with engines.running(storage) as running:
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for another engine."""
    with engines.scratch() as folder:
        yield folder


def new_store(engine: engines.Engine, name: str | None = None) -> dict[str, str]:
    """Return the settings of a store, empty where it has no name, with what the chosen login needs."""
    return logins.chosen().settings() | engine.settings(name or uuid4().hex)


@pytest.fixture
def store(engine: engines.Engine) -> dict[str, str]:
    """The settings of an empty store, and what the chosen login needs."""
    return new_store(engine)


@pytest.fixture
async def storage(store: dict[str, str]) -> AsyncIterator[Storage]:
    """The chosen storage, empty and open."""
    opened: Storage = choices.storage.create(Settings.model_validate(store))
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def operator(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Operator:
    """Somebody who types commands."""
    return Operator(store, monkeypatch, capsys)


def sample(settings: Settings | None) -> "FastMCP[Any]":
    """A server with a tool for each case, independent of what the user made of `app`."""
    mcp: FastMCP[Any] = FastMCP("Sample", auth=AuthorizationServer(SCOPES, settings))

    @mcp.tool
    def whoami() -> dict[str, Any]:
        token = get_access_token()
        assert token is not None
        return {
            "subject": token.subject,
            "name": token.claims["preferred_username"],
            "client": token.client_id,
            "scopes": token.scopes,
        }

    @mcp.tool
    @requires("read")
    def look() -> str:
        return "seen"

    @mcp.tool
    @requires("write")
    async def change(text: str) -> str:
        return f"changed to {text}"

    @mcp.resource("secret://plan")
    @requires("write")
    def plan() -> str:
        return "the plan"

    @mcp.resource("secret://page/{number}")
    @requires("write")
    def secret_page(number: int) -> str:
        return f"page {number}"

    @mcp.prompt
    @requires("write")
    def persuade() -> str:
        return "please"

    return mcp


OWN_APP = SimpleNamespace(mcp=sample(None))
"""In place of `app.server`, which is the user's, and may need what is not here."""


class Live:
    """The sample server, running in a thread. It can be stopped and started again on the same data."""

    def __init__(self, store: dict[str, str], port: int | None = None, **settings: Any) -> None:
        self.port = port or free_port()
        self.url = f"{ADDRESS}:{self.port}"
        self.mcp_url = f"{self.url}/mcp"
        defaults: dict[str, Any] = {
            **store,
            "public_url": self.url,
            "limit_registrations_per_minute": 0,
            "limit_sign_ins_per_minute": 0,
        }
        self.settings = Settings(**defaults | settings)
        self._build: Callable[[Settings], FastMCP[Any]] = sample

    def start(self, build: Callable[[Settings], "FastMCP[Any]"] = sample) -> "Live":
        mcp = build(self.settings)
        assert isinstance(mcp.auth, AuthorizationServer)
        self.auth = mcp.auth
        app = mcp.http_app(stateless_http=True)
        # With proxy headers, as by uvicorn's own command: the guard has to see through them.
        config = uvicorn.Config(app, port=self.port, log_level="critical", ws="none")
        self._server = uvicorn.Server(config)
        # A test that fails does not stop it.
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def http(self, **options: Any) -> httpx2.Client:
        return http_client(self, **options)

    async def on_storage(self, operation: Callable[[Storage], Any]) -> Any:
        """Run an operation on a second connection to the same store, as the command does."""
        storage: Storage = choices.storage.create(self.settings)
        await storage.open()
        try:
            return await operation(storage)
        finally:
            await storage.close()


class Command(Live):
    """The user's own server, run by the command in a process of its own; its output goes to a file."""

    def __init__(self, store: dict[str, str], output: Path) -> None:
        super().__init__(store)
        self.output = output
        self._environment = os.environ | {f"AUTH_{name.upper()}": value for name, value in store.items()}

    def start(self, build: object = None) -> "Command":
        # No `.env` of the developer's reaches it.
        program = "from authserver import cli, folders; folders.FOLDERS.project = None; cli.main()"
        with self.output.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program, "serve", "--port", str(self.port)],
                env=self._environment | {"AUTH_PUBLIC_URL": self.url},
                stdout=file,
                stderr=file,
            )
        with self.http() as http:
            while True:
                assert self._process.poll() is None, self.output.read_text()
                try:
                    http.get("/readyz").raise_for_status()
                except httpx2.ConnectError:
                    time.sleep(0.05)
                else:
                    return self

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(60) in (0, -15)


@pytest.fixture(scope="module")
def live(engine: engines.Engine) -> Iterator[Live]:
    """One server for all tests of a module."""
    server = Live(new_store(engine)).start()
    yield server
    server.stop()


@pytest.fixture
def start(store: dict[str, str]) -> Iterator[Callable[..., Live]]:
    """Start servers of one's own, with settings."""
    started: list[Live] = []

    def start_one(*, build: Callable[[Settings], "FastMCP[Any]"] = sample, **settings: Any) -> Live:
        server = Live(store, **settings).start(build)
        started.append(server)
        return server

    yield start_one
    for server in started:
        server.stop()


def ended(server: Live, access_token: str) -> bool:
    """Say whether the access token is refused: at once, or as soon as its format promises.

    A busy machine gets a minute more.
    """
    promised = server.auth.tokens.revoked_within_seconds
    deadline = time.monotonic() + (promised and promised + 60)
    while alive(server, access_token):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.1)
    return True


@contextmanager
def meanwhile(server: Live, name: str, reading: str) -> Iterator[None]:
    """End the access of a user, once, as soon as the server has read something, as another process may.

    `reading` is an operation of the store, such as `sign_ins.get_credential`.
    """
    room = getattr(server.auth.storage, reading.partition(".")[0])
    method = reading.partition(".")[2]
    read, users = getattr(room, method), server.auth.storage.users

    async def then_end(*args: Any, **options: Any) -> Any:
        found = await read(*args, **options)
        patch.undo()
        user = await users.get(name)
        assert user is not None
        assert await users.end_access(user.subject, Ending())
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, method, then_end)
        yield
        assert getattr(room, method) == read, "nothing was read"


def invite(server: Live, name: str | None, scopes: list[str] | None = None) -> str:
    """Make a one-time link."""
    token = new(Kind.INVITATION)

    async def store(storage: Storage) -> None:
        assert await storage.users.add_invitation(
            digest(Kind.INVITATION, token), name, scopes=scopes, lifetime_seconds=3600
        )

    anyio.run(server.on_storage, store)
    return f"{server.url}/invite/{token}"


def posts(server: Live) -> set[str]:
    """Return the paths of all routes that take a post, but that of MCP."""
    routes = server.auth.get_routes("/mcp")
    return {route.path.replace("{token}", "x") for route in routes if "POST" in (route.methods or ())}


@pytest.fixture(scope="module")
def alice(live: Live) -> Person:
    """A person with an account that may grant everything."""
    return new_person(live, "alice", ["*"])


def new_person(server: Live, name: str, scopes: list[str] | None = None) -> Person:
    person = Person(server, name)
    page = person.join(invite(server, name))
    assert page.status_code == 200, page.text
    anyio.run(server.on_storage, lambda storage: storage.users.set_scopes(name, scopes))
    return person
