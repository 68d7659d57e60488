"""The app under the commands of other ASGI servers: what our own command sets, the guard holds by itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import effort
import httpx2
import pytest
from conftest import Rendered
from engines import Engine
from ports import free_port
from rendering import DEFAULTS

pytestmark = effort.push

_FACTORY = "authserver.asgi:create_app"
_WRAPPED = """
from authserver.asgi import create_app
from granian.utils.proxies import wrap_asgi_with_proxy_headers
from hypercorn.middleware import ProxyFixMiddleware

def granian():
    return wrap_asgi_with_proxy_headers(create_app(), trusted_hosts="*")

def hypercorn():
    return ProxyFixMiddleware(create_app(), mode="legacy", trusted_hops=1)
"""
# As somebody starts them who reads their documentation, with the access log on.
COMMANDS = {
    "fastmcp run": "fastmcp run {project}/src/app/server.py:mcp --transport http --stateless --port {port}",
    "uvicorn": f"uvicorn --factory {_FACTORY} --port {{port}}",
    "uvicorn, without httptools and uvloop": (
        f"uvicorn --factory {_FACTORY} --port {{port}} --http h11 --loop asyncio"
    ),
    "uvicorn, trusting all": f"uvicorn --factory {_FACTORY} --port {{port}} --forwarded-allow-ips=*",
    "hypercorn": f"hypercorn {_FACTORY}() --bind 127.0.0.1:{{port}} --access-logfile -",
    "hypercorn, with ProxyFix": "hypercorn wrapped:hypercorn() --bind 127.0.0.1:{port} --access-logfile -",
    "granian": f"granian --interface asgi --factory {_FACTORY} --port {{port}} --access-log",
    "granian, with proxy headers": (
        "granian --interface asgi --factory wrapped:granian --port {port} --access-log"
    ),
}
_WORKERS = {
    "uvicorn": f"uvicorn --factory {_FACTORY} --port {{port}} --workers 2",
    "hypercorn": f"hypercorn {_FACTORY}() --bind 127.0.0.1:{{port}} --workers 2",
    "granian": f"granian --interface asgi --factory {_FACTORY} --port {{port}} --workers 2",
    "a program of one's own": "python {folder}/own.py {port}",
}
_OWN = """
import sys

import uvicorn
from app.server import mcp

app = mcp.http_app(stateless_http=True)

if __name__ == "__main__":
    uvicorn.run("own:app", port=int(sys.argv[1]), workers=2)
"""


class Running:
    """A server, its output in a file."""

    def __init__(self, project: Path, folder: Path, command: str, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = folder / "output"
        self.data = Path(environment["AUTH_DATA_DIR"])
        (folder / "wrapped.py").write_text(_WRAPPED)
        (folder / "own.py").write_text(_OWN)
        program, *words = [
            word.format(project=project, port=self.port, folder=folder) for word in command.split()
        ]
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name(program)), *words],
                cwd=folder,
                env=os.environ
                | {"PYTHONPATH": f"{project / 'src'}:{folder}", "AUTH_PUBLIC_URL": self.url}
                | environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def wait_until_ready(self) -> "Running":
        deadline = time.monotonic() + 300
        while True:
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            try:
                if httpx2.get(f"{self.url}/readyz", timeout=60).status_code == 200:
                    return self
            except httpx2.TransportError:
                time.sleep(0.1)

    def http(self, local_address: str = "127.0.0.1") -> httpx2.Client:
        return httpx2.Client(
            base_url=self.url,
            transport=httpx2.HTTPTransport(local_address=local_address),
            headers={"Accept": "text/html"},
            follow_redirects=True,
            timeout=60,
        )

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


Start = Callable[..., Running]


@pytest.fixture
def run(rendered: Rendered, running_engines: Callable[[str], Engine], tmp_path: Path) -> Iterator[Start]:
    project = rendered(DEFAULTS | {"login": "proxy"})
    store = running_engines(DEFAULTS["storage"]).settings(uuid4().hex)
    started: list[Running] = []

    def start(command: str, **settings: str) -> Running:
        settings = store | {"proxy_peers": "10.0.0.1,127.0.0.2", "secret_key": "k" * 40} | settings
        environment = {f"AUTH_{name.upper()}": value for name, value in settings.items()}
        started.append(Running(project, tmp_path, command, environment))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.mark.parametrize("command", COMMANDS)
def test_what_our_command_sets_holds_under_every_other(run: Start, command: str) -> None:
    """Attack 31: be the proxy by a header, have as many addresses as one likes, read links in the access log.
    Source: RFC 7239 8.1, CWE-348, CWE-532.
    """
    server = run(COMMANDS[command], limit_registrations_per_minute="3").wait_until_ready()
    with server.http() as http, server.http("127.0.0.2") as proxy:
        for hop in ("10.0.0.1", "127.0.0.2", "10.0.0.1:5000", "127.0.0.1, 10.0.0.1", "10.0.0.1, 127.0.0.1"):
            page = http.get("/account", headers={"Remote-User": "admin", "X-Forwarded-For": hop})
            assert page.status_code == 403, (hop, page.text)
            assert "does not come from the proxy" in page.text
        assert proxy.get("/login", headers={"Remote-User": "alice"}).url.path == "/account"

        body = {"redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "none"}
        answers = [
            http.post("/register", json=body, headers={"X-Forwarded-For": f"198.51.100.{number}"}).status_code
            for number in range(6)
        ]
        assert answers.count(201) == 3, answers
        assert answers.count(429) == 3, answers

        assert http.get("/invite/mcpiv_one-time-link").status_code == 410
        http.get("/login", params={"request": "one-time-request"})
    server.stop()
    written = server.output.read_text()
    assert "one-time" not in written
    assert "the peer was overwritten" in written


@pytest.mark.parametrize("command", _WORKERS)
def test_processes_that_start_others_keep_the_secrets_for_them(run: Start, command: str) -> None:
    """They read them from the environment; only what serves takes them out."""
    server = run(_WORKERS[command]).wait_until_ready()
    with server.http() as http:
        for _ in range(20):
            assert http.get("/readyz", headers={"Connection": "close"}).status_code == 200
    assert not (server.data / "secret.key").exists()


@pytest.mark.parametrize("command", ["fastmcp run", "uvicorn", "hypercorn", "granian"])
def test_a_start_that_fails_is_told(run: Start, command: str, tmp_path: Path) -> None:
    """No server goes on to serve an app that has no store."""
    (tmp_path / "file").touch()
    server = run(COMMANDS[command], data_dir=str(tmp_path / "file"))
    server.process.wait(300)
    assert str(tmp_path / "file") in server.output.read_text()
