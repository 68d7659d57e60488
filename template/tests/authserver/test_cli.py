"""The command, as an operator types it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import anyio
import fastmcp
import httpx2
import pytest
import structlog
from conftest import ADDRESS
from operators import Operator
from ports import free_port

from authserver import choices
from authserver.all_settings import Settings
from authserver.commands.serve import _check_port, _passed
from authserver.doctor.manifest import load_manifest
from authserver.storage import Storage
from authserver.upstream import _DECIDED, refuse_settings


def test_commands_on_users_that_do_not_exist_say_so(operator: Operator) -> None:
    for command in ("disable", "enable", "delete", "scopes"):
        assert "no user nobody" in operator.fails("users", command, "nobody")
    assert operator.rows("users", "list") == []
    assert "no such scope" in operator.fails("users", "scopes", "nobody", "no-such-scope")


def test_a_scope_that_is_named_twice_is_given_once(operator: Operator, store: dict[str, str]) -> None:
    async def add() -> None:
        storage: Storage = choices.storage.create(Settings.model_validate(store))
        await storage.open()
        await storage.users.add("alice", scopes=None)
        await storage.close()

    anyio.run(add)
    operator.types("users", "scopes", "alice", "*", "*")
    assert operator.types("users", "scopes", "alice") == "*\n"


def test_a_client_is_added_listed_and_removed(operator: Operator) -> None:
    uri = "https://claude.ai/api/mcp/auth_callback"
    printed = operator.types("clients", "add", "Claude", uri)
    told = dict(line.split(": ") for line in printed.splitlines())
    assert told["client_secret"].startswith("mcpcs_")
    [row] = operator.rows("clients", "list")
    assert (row["client_id"], row["name"], row["redirect_uris"]) == (
        told["client_id"],
        "Claude",
        uri,
    )
    assert told["client_secret"] not in json.dumps(row)
    assert "Claude" in operator.types("clients", "list")
    operator.types("clients", "approve", told["client_id"])
    operator.types("clients", "remove", told["client_id"])
    assert operator.rows("clients", "list") == []
    assert "no client" in operator.fails("clients", "remove", told["client_id"])
    assert "no client" in operator.fails("clients", "approve", told["client_id"])


def test_a_public_client_has_no_secret(operator: Operator) -> None:
    printed = operator.types("clients", "add", "CLI", "http://127.0.0.1/cb", "--method", "none")
    assert "client_secret" not in printed


def test_a_client_that_cannot_be_added_says_why(operator: Operator) -> None:
    assert "redirect" in operator.fails("clients", "add", "Bad", "javascript:x")
    assert "redirect" in operator.fails("clients", "add", "Bad")
    assert "--method" in operator.fails("clients", "add", "Bad", "https://x.example/", "--method", "x")


def test_grants_and_purge(operator: Operator) -> None:
    assert operator.rows("grants", "list") == []
    assert "no living grant" in operator.fails("grants", "revoke", "unknown")
    assert operator.types("purge") == "0 records deleted\n"


def test_a_wrong_setting_is_one_line(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_PUBLIC_URL", "http://example.com")
    line = operator.fails("users", "list")
    assert line.startswith("my-server: AUTH_PUBLIC_URL: ")
    assert "\n" not in line
    assert line == operator.fails("serve") == operator.fails()  # the default command


@pytest.mark.parametrize(
    ("public_url", "warned"),
    [
        (f"{ADDRESS}:9000", True),
        (ADDRESS, True),
        (f"{ADDRESS}:8000", False),
        ("https://mcp.example.com", False),
    ],
)
def test_a_port_that_the_public_url_does_not_name_is_one_warning(
    store: dict[str, str], public_url: str, warned: bool
) -> None:
    """`docker run -p 9000:8000`, `ssh -L 9000:localhost:8000`: something else leads here."""
    settings = Settings.model_validate(store | {"public_url": public_url})
    with structlog.testing.capture_logs() as logged:
        _check_port(settings, 8000)
    lines = [line["event"] for line in logged if line["log_level"] == "warning"]
    assert len(lines) == warned
    assert all(line.startswith(f"AUTH_PUBLIC_URL says {public_url}, ") for line in lines)


@pytest.mark.parametrize(
    "words", [["--port", "0"], ["--port", "70000"], ["--workers", "0"], ["--host", "a..b"]]
)
def test_an_option_that_cannot_work_is_one_line(operator: Operator, words: list[str]) -> None:
    line = operator.fails("serve", *words)
    assert line.startswith(f"my-server: {words[0]}")
    assert re.search(r" Example: --\S+ \S+", line)
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("STREAMABLE_HTTP_PATH", "/api/mcp", "the MCP endpoint of this server is /mcp"),
        ("STREAMABLE_HTTP_PATH", "mcp", "the MCP endpoint of this server is /mcp"),
        ("SSE_PATH", "/events", "this server speaks Streamable HTTP"),
        ("TRANSPORT", "sse", "this server speaks Streamable HTTP"),
        ("STATELESS_HTTP", "false", "there are no sessions"),
        ("HTTP_SESSION_IDLE_TIMEOUT", "60", "there are no sessions"),
        ("HTTP_HOST_ORIGIN_PROTECTION", "false", "AUTH_PUBLIC_URL and AUTH_ALLOWED_ORIGINS decide"),
        ("HTTP_ALLOWED_HOSTS", '["a.example"]', "AUTH_PUBLIC_URL decides"),
        ("HTTP_ALLOWED_ORIGINS", '["https://a.example"]', "AUTH_ALLOWED_ORIGINS decides"),
        ("DEBUG", "true", "what went wrong is in the log alone"),
        ("HOST", "0.0.0.0", "type serve --host"),
        ("PORT", "9000", "type serve --port"),
        ("PORT", "http", "Input should be a valid integer"),
        ("JSON_RESPONSE", "perhaps", "Input should be a valid boolean"),
    ],
)
def test_a_setting_of_fastmcp_that_changes_nothing_stops_the_start(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    def read_again(**listens: object) -> None:
        """Read them as at the import of FastMCP, which was before this test."""
        monkeypatch.setattr(fastmcp, "settings", type(fastmcp.settings)())
        refuse_settings(**listens)

    monkeypatch.setattr("authserver.upstream.refuse_settings", read_again)
    monkeypatch.setenv(f"FASTMCP_{name}", value)
    line = operator.fails("serve")
    assert re.fullmatch(
        rf"my-server: FASTMCP_{name}: .*{re.escape(told)}.* Example: unset FASTMCP_{name}", line
    )


def test_settings_of_fastmcp_that_say_what_is_so_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = type(fastmcp.settings)
    assert _DECIDED.keys() < settings.model_fields.keys()
    said = {"STREAMABLE_HTTP_PATH": "/mcp", "STATELESS_HTTP": "1", "PORT": "8001", "JSON_RESPONSE": "true"}
    for name, value in said.items():
        monkeypatch.setenv(f"FASTMCP_{name}", value)
    monkeypatch.setattr(fastmcp, "settings", settings())
    refuse_settings(host="127.0.0.1", port=8001)


def serving(store: dict[str, str], folder: Path, *words: str) -> tuple["subprocess.Popen[bytes]", Path]:
    """Start the command on a port, without a public URL; return it, and the file with what it prints."""
    printed = folder / "printed"
    program = "from authserver import cli, folders; folders.FOLDERS.project = None; cli.main()"
    with printed.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", program, "serve", *words],
            env=os.environ | {f"AUTH_{name.upper()}": value for name, value in store.items()},
            stdout=file,
            stderr=file,
        )
    return process, printed


@pytest.mark.anyio
async def test_a_busy_port_is_one_line_and_nothing_is_said_or_made(
    store: dict[str, str], storage: Storage, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        process, printed = serving(store, tmp_path, "--port", str(port))
        assert process.wait(120) == 1
    [line] = printed.read_text().splitlines()
    assert re.search(rf"--port {port}: the server cannot listen there \(.*\)\. Example: ", line)
    assert await storage.facts.all("secret key") == {}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_says_that_it_serves_when_it_does_and_where(
    store: dict[str, str], tmp_path: Path, workers: str
) -> None:
    port = free_port()
    process, printed = serving(store, tmp_path, "--port", str(port), "--workers", workers)
    try:
        while f"Serving {ADDRESS}:{port}/mcp" not in printed.read_text():
            assert process.poll() is None, printed.read_text()
            time.sleep(0.05)
        metadata = httpx2.get(f"http://127.0.0.1:{port}/.well-known/oauth-authorization-server")
        # Whoever made no port known has links that lead here all the same.
        assert metadata.status_code == 421 or metadata.json()["issuer"] == f"{ADDRESS}:{port}"
    finally:
        process.terminate()
        assert process.wait(60) in (0, -15)


def test_a_socket_of_systemd_is_used_by_the_process_that_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for pid, count in ((os.getpid() + 1, 1), (os.getpid(), "x"), (os.getpid(), 0)):
            monkeypatch.setenv("LISTEN_PID", str(pid))
            monkeypatch.setenv("LISTEN_FDS", str(count))
            assert _passed() == []
        monkeypatch.setattr("authserver.commands.serve._FIRST_PASSED", os.dup(listening.fileno()))
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        [passed] = _passed()
        with passed:
            assert passed.getsockname() == listening.getsockname()
        assert "LISTEN_FDS" not in os.environ  # no program that a tool starts takes it for its own


def test_a_command_that_does_not_exist_is_one_line(operator: Operator) -> None:
    assert operator.fails("user", "list") == "my-server: there is no command user. Did you mean users?"
    assert "There are: " in operator.fails("x\x1by")
    assert "\x1b" not in operator.fails("x\x1by")


def test_the_version_is_that_of_the_release(operator: Operator) -> None:
    assert operator.types("--version") == f"authserver {load_manifest().release}\n"


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["users", "--help"], ["users", "lst"], ["--prt", "9000"]]
)
def test_what_needs_no_server_imports_none(words: list[str]) -> None:
    """FastMCP takes seconds where the machine is slow."""
    program = """
import atexit, sys
atexit.register(lambda: print(*sys.modules))
from authserver.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "authserver.cli" in loaded
    libraries = ("anyio", "fastmcp", "jinja2", "mcp", "pydantic", "starlette", "structlog", "uvicorn")
    assert not loaded.intersection(libraries)


def test_no_worker_is_killed_while_it_starts(store: dict[str, str], tmp_path: Path) -> None:
    app = """
import ctypes, multiprocessing

def note(what):
    with open("noted", "a") as file:
        print(what, file=file)

if multiprocessing.parent_process():
    note("begun")
    ctypes.PyDLL(None).sleep(5)  # keeps the interpreter's lock, so no other thread answers meanwhile

from authserver import AuthorizationServer, Scope
from fastmcp import FastMCP

mcp = FastMCP("Slow", auth=AuthorizationServer([Scope("read", "Read things.", default=True)]))
if multiprocessing.parent_process():
    note("imported")
"""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").touch()
    (tmp_path / "app" / "server.py").write_text(app)
    port = free_port()
    settings = store | {"public_url": f"{ADDRESS}:{port}"}
    program = """
from authserver import cli, limits

limits.SILENT_WORKER_SECONDS = 3
cli.main()
"""
    server = subprocess.Popen(
        [sys.executable, "-c", program, "serve", "--workers", "2", "--port", str(port)],
        env=os.environ | {f"AUTH_{name.upper()}": value for name, value in settings.items()},
    )
    noted: list[str] = []
    while noted.count("begun") <= 2 and noted.count("imported") < 2:
        assert server.poll() is None
        time.sleep(0.1)
        if (tmp_path / "noted").exists():
            noted = (tmp_path / "noted").read_text().split()
    server.terminate()
    assert server.wait(15) in (0, -15)
    assert noted.count("begun") == 2
