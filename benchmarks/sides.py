"""Who is measured: this project in each storage and token format, and what a user would pick instead."""

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import engines
from authserver.settings import MAXIMUM_COUNT
from load import HERE, Ask, Figure, NoAnswer, Refresh, WrongAnswer, on_processor, put_under_load
from ports import free_port

PEERS = HERE / "peers"
PYTHON_PEERS = ("django-oauth-toolkit==3.4.1", "gunicorn>=23")
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

_PATIENCE = 10
_NAMES = {"none": "FastMCP, no authentication", "in memory": "FastMCP, in memory", "bare": "bare Starlette"}
_CALL = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "add", "arguments": {"one": 1, "other": 2}},
    }
)
_CLIENT = json.dumps(
    {
        "redirect_uris": ["http://127.0.0.1:33418/callback"],
        "application_type": "native",
        "client_name": "Benchmark",
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
)


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    name: str
    port: int
    pid: int
    works: dict[str, Ask | Refresh]

    def warm_up(self, work: str) -> None:
        """Ask until it answers; raises WrongAnswer."""
        for _ in range(_PATIENCE):
            with contextlib.suppress(NoAnswer):
                self.measure(work, seconds=1, round_=0)
                return
        raise WrongAnswer(f"{self.name}, {work}: no answer")

    def measure(self, work: str, *, seconds: int, round_: int) -> Figure:
        """Return a figure of one round; raises WrongAnswer."""
        try:
            return put_under_load(self.works[work], self.port, [self.pid], seconds=seconds, round_=round_)
        except WrongAnswer as error:
            raise WrongAnswer(f"{self.name}, {work}: {error}") from None


Start = Callable[[contextlib.ExitStack, str, int], Running]
"""Starts a side for a work, with so many refresh tokens; the stack ends it."""


def ours(storage: str, tokens: str, stack: contextlib.ExitStack, work: str, seeds: int) -> Running:
    """Start this project, as `serve` does; its store lies on a disk, and its log in a file."""
    port = free_port()
    engine = stack.enter_context(engines.running(storage, Path(tempfile.gettempdir())))
    # Limits that are counted, and reached by nobody.
    settings = engine.settings(tokens) | {
        "limit_refreshes_per_hour": str(MAXIMUM_COUNT),
        "limit_registrations_per_minute": str(MAXIMUM_COUNT),
    }
    environment = {
        "BENCHMARK": f"{storage},{tokens}",
        "AUTH_PUBLIC_URL": f"http://127.0.0.1:{port}",
        **{f"AUTH_{name.upper()}": value for name, value in settings.items()},
    }
    words = [sys.executable, str(HERE / "issue.py"), str(seeds)]
    done = subprocess.run(words, env=os.environ | environment, check=True, capture_output=True)
    found = json.loads(done.stdout)
    basic = base64.b64encode(f"{found['rs']}:{found['secret']}".encode()).decode()
    works: dict[str, Ask | Refresh] = {
        **_calls(found["access"]),
        "refresh": Refresh("/token", f"&client_id={found['client']}", found["refresh"]),
        "introspection": Ask(
            "/introspect",
            '"active":true',
            f"token={found['access']}",
            {"Content-Type": FORM, "Authorization": f"Basic {basic}"},
        ),
        "registration": Ask("/register", '"client_id"', _CLIENT, {"Content-Type": JSON}),
        "metadata": Ask("/.well-known/oauth-authorization-server", '"issuer"'),
    }
    if tokens == "jwt":
        works["JWKS"] = Ask("/.well-known/jwks.json", '"keys"')
    environment["BENCHMARK_JSON"] = "1" if work.endswith("JSON") else "0"
    running = Running(f"{storage}, {tokens}", port, _python(stack, environment, port), works)
    _refuses(port, "not a token")
    return running


def python(side: str, stack: contextlib.ExitStack, work: str, seeds: int) -> Running:
    """Start FastMCP without this project, or bare Starlette."""
    port = free_port()
    environment = {"BENCHMARK": side, "AUTH_PUBLIC_URL": f"http://127.0.0.1:{port}"}
    metadata: dict[str, Ask | Refresh] = {"metadata": Ask("/", '"issuer"')}
    works = metadata if side == "bare" else _calls("access" if side == "in memory" else None)
    environment["BENCHMARK_JSON"] = "1" if work.endswith("JSON") else "0"
    return Running(_NAMES[side], port, _python(stack, environment, port), works)


def oidc(stack: contextlib.ExitStack, work: str, seeds: int) -> Running:
    """Start oidc-provider."""
    port, pid, found = _peer(stack, ["node", str(PEERS / "oidc.mjs")], seeds)
    basic = base64.b64encode(f"rs:{found['secret'].replace(' ', '+')}".encode()).decode()
    works: dict[str, Ask | Refresh] = {
        "refresh": Refresh("/token", f"&client_id={found['client']}", found["refresh"]),
        "introspection": Ask(
            "/token/introspection",
            '"active":true',
            f"token={found['access']}",
            {"Content-Type": FORM, "Authorization": f"Basic {basic}"},
        ),
        "registration": Ask("/reg", '"client_id"', _CLIENT, {"Content-Type": JSON}),
        "metadata": Ask("/.well-known/openid-configuration", '"issuer"'),
        "JWKS": Ask("/jwks", '"keys"'),
    }
    return Running("oidc-provider, in memory", port, pid, works)


def cloudflare(stack: contextlib.ExitStack, work: str, seeds: int) -> Running:
    """Start Cloudflare's provider."""
    port, pid, found = _peer(stack, ["node", str(PEERS / "cloudflare.mjs")], seeds)
    works: dict[str, Ask | Refresh] = {
        "refresh": Refresh("/token", f"&client_id={found['client']}", found["refresh"]),
        "registration": Ask("/register", '"client_id"', _CLIENT, {"Content-Type": JSON}),
        "metadata": Ask("/.well-known/oauth-authorization-server", '"issuer"'),
    }
    return Running("Cloudflare, in memory", port, pid, works)


def django(stack: contextlib.ExitStack, work: str, seeds: int) -> Running:
    """Start django-oauth-toolkit."""
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    words = [str(PEERS / ".venv" / "bin" / "python"), str(PEERS / "django_toolkit.py")]
    port, pid, found = _peer(stack, words, seeds, DATABASE=f"{folder}/django.sqlite")
    bearer = {"Content-Type": FORM, "Authorization": f"Bearer {found['access']}"}
    works: dict[str, Ask | Refresh] = {
        "refresh": Refresh("/o/token/", f"&client_id={found['client']}", found["refresh"]),
        "introspection": Ask("/o/introspect/", '"active": true', f"token={found['access']}", bearer),
    }
    return Running("django-oauth-toolkit, SQLite", port, pid, works)


def prepare(*, peers: bool) -> None:
    """Install the peers, in the versions that are written down; nothing happens where they are."""
    if not peers:
        return
    if not (PEERS / "node_modules" / "oidc-provider").exists():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=PEERS, check=True)
    if not (PEERS / ".venv").exists():
        subprocess.run(["uv", "venv", "--quiet", str(PEERS / ".venv")], check=True)
        words = ["uv", "pip", "install", "--quiet", "--python", str(PEERS / ".venv")]
        subprocess.run([*words, *PYTHON_PEERS], check=True)


def plan(storages: list[str], *, peers: bool) -> dict[str, list[Start]]:
    """Return the sides of each work, the one that all others are compared with first."""
    own = {
        (storage, tokens): partial(ours, storage, tokens)
        for storage in storages
        for tokens in ("opaque", "jwt")
    }
    opaque: list[Start] = [own[storage, "opaque"] for storage in storages]
    node: list[Start] = [oidc, cloudflare] if peers else []
    calls: list[Start] = [partial(python, "none"), partial(python, "in memory"), *own.values()]
    last: list[Start] = [django] if peers else []
    return {
        "tools/call, JSON": calls,
        "tools/call, event stream": calls,
        "refresh": [*node[:1], *own.values(), *node[1:], *last],
        "introspection": [*node[:1], *opaque, *last],
        "metadata": [*node[:1], opaque[0], *node[1:], partial(python, "bare")],
        "JWKS": [*node[:1], own[storages[0], "jwt"]],
        "registration": [*node[:1], *opaque, *node[1:]],
    }


def _calls(token: str | None) -> dict[str, Ask | Refresh]:
    headers = {"Content-Type": JSON, "Accept": "application/json, text/event-stream"}
    headers["MCP-Protocol-Version"] = "2025-11-25"
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    ask = Ask("/mcp", '"text":"3"', _CALL, headers)
    return {"tools/call, JSON": ask, "tools/call, event stream": ask}


def _python(stack: contextlib.ExitStack, environment: dict[str, str], port: int) -> int:
    """Start a Python server, and return its process."""
    words = [sys.executable, "-m", "uvicorn", "--factory", "measured:create_app", "--port", str(port)]
    words += ["--no-access-log", "--no-proxy-headers", "--no-server-header", "--log-level", "critical"]
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    log = stack.enter_context(Path(folder, "log").open("wb"))  # noqa: SIM115
    process = subprocess.Popen(
        [*on_processor(0), *words], cwd=HERE, env=os.environ | environment, stderr=log, stdout=log
    )
    stack.callback(_end, process)
    _wait(port, process)
    return process.pid


def _peer(
    stack: contextlib.ExitStack, words: list[str], seeds: int, **environment: str
) -> tuple[int, int, dict[str, Any]]:
    """Start a peer, which prints one line of what it issued; return its port, process and that."""
    port = free_port()
    process = subprocess.Popen(
        [*on_processor(0), *words, str(port), str(seeds)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(_end, process)
    assert process.stdout is not None
    found = json.loads(process.stdout.readline())
    _wait(port, process)
    return port, process.pid, found


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        with socket.socket() as visitor:
            if visitor.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise WrongAnswer("a server did not start")


def _refuses(port: int, token: str) -> None:
    """Raise WrongAnswer where a call with any token is answered."""
    headers = {"Content-Type": JSON, "Authorization": f"Bearer {token}"}
    request = Request(f"http://127.0.0.1:{port}/mcp", data=_CALL.encode(), headers=headers)
    with contextlib.suppress(OSError), urlopen(request):
        raise WrongAnswer("a call with a wrong token was answered")


def versions() -> Iterator[str]:
    """Yield what was measured, with its version."""
    for package in ("fastmcp", "mcp", "starlette", "uvicorn", "uvloop", "httptools"):
        yield f"{package} {version(package)}"
    described = json.loads((PEERS / "package.json").read_text())
    yield from (f"{name} {number}" for name, number in described["dependencies"].items())
    yield PYTHON_PEERS[0].replace("==", " ")
