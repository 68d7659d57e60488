"""Who is measured: this project in each storage and token format, and what a user would pick instead."""

import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import engines
import others
import started
from load import FORM, HERE, JSON, Ask, Refresh, WrongAnswer
from ports import free_port
from started import Running, Works

from authserver.settings import MAXIMUM_COUNT

CALL = "tools/call, JSON"
STREAM = "tools/call, event stream"

_STORE = "measured"
_NAMES = {"none": "FastMCP, no authentication", "in memory": "FastMCP, in memory", "bare": "bare Starlette"}
_CALL = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "add", "arguments": {"one": 1, "other": 2}},
    }
)


Start = Callable[[contextlib.ExitStack, str, int], Running]
"""Starts a side for a work, with so many refresh tokens; the stack ends it."""


@dataclass(frozen=True)
class Store:
    """A store of a storage of ours, on a disk, and the server on it; the stack ends its engine."""

    storage: str
    tokens: str
    engine: engines.Engine
    settings: dict[str, str]
    port: int

    @classmethod
    def new(cls, stack: contextlib.ExitStack, storage: str, tokens: str = "opaque") -> "Store":
        """Start the engine."""
        engine = stack.enter_context(engines.running(storage, Path(tempfile.gettempdir())))
        return cls(storage, tokens, engine, engine.settings(_STORE), free_port())

    @property
    def environment(self) -> dict[str, str]:
        """What the server reads: limits that are counted, and reached by nobody."""
        settings = self.settings | {
            "public_url": f"http://127.0.0.1:{self.port}",
            "limit_refreshes_per_hour": str(MAXIMUM_COUNT),
            "limit_registrations_per_minute": str(MAXIMUM_COUNT),
            "limit_sign_ins_per_minute": str(MAXIMUM_COUNT),
        }
        named = {f"AUTH_{name.upper()}": value for name, value in settings.items()}
        return {"BENCHMARK": f"{self.storage},{self.tokens}", **named}

    def issue(self, seeds: int) -> Works:
        """Issue refresh tokens, each of a grant of its own; return what can be asked with them."""
        words = [sys.executable, str(HERE / "issue.py"), str(seeds)]
        done = subprocess.run(
            words, env=os.environ | self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise WrongAnswer(f"{self.storage}, {self.tokens}: no tokens were issued: {done.stderr}")
        return _works(json.loads(done.stdout))

    def serve(
        self,
        stack: contextlib.ExitStack,
        works: Works,
        *,
        workers: int = 1,
        pinned: bool = True,
        **environment: str,
    ) -> Running:
        """Start a server as `serve` does; its log is in a file."""
        own = self.environment | environment
        pid = started.python(stack, own, self.port, workers=workers, pinned=pinned)
        _refuses(self.port, "not a token")
        return Running(f"{self.storage}, {self.tokens}", self.port, pid, works)


def ours(storage: str, tokens: str, stack: contextlib.ExitStack, work: str, seeds: int) -> Running:
    """Start this project."""
    store = Store.new(stack, storage, tokens)
    return store.serve(stack, store.issue(seeds), BENCHMARK_JSON=_form(work))


def python(side: str, stack: contextlib.ExitStack, work: str, seeds: int) -> Running:
    """Start FastMCP without this project, or bare Starlette."""
    port = free_port()
    environment = {
        "BENCHMARK": side,
        "AUTH_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "BENCHMARK_JSON": _form(work),
    }
    metadata: Works = {"metadata": Ask("/", '"issuer"')}
    works = metadata if side == "bare" else _calls("access" if side == "in memory" else None)
    return Running(_NAMES[side], port, started.python(stack, environment, port), works)


def plan(storages: list[str], *, peers: bool) -> dict[str, dict[str, list[Start]]]:
    """Return for each part its works, and the sides of each, what others are compared with first."""
    own = {
        (storage, tokens): partial(ours, storage, tokens)
        for storage in storages
        for tokens in ("opaque", "jwt")
    }
    opaque: list[Start] = [own[storage, "opaque"] for storage in storages]
    oidc: list[Start] = [others.oidc] if peers else []
    cloudflare: list[Start] = [others.cloudflare] if peers else []
    better_auth: list[Start] = [others.better_auth] if peers else []
    django: list[Start] = [others.django] if peers else []
    keys: list[Start] = [others.oidc_keys] if peers else []
    calls: list[Start] = [partial(python, "none"), partial(python, "in memory"), *own.values()]
    return {
        "calls": {CALL: calls, STREAM: calls},
        "refresh": {"refresh": [*oidc, *cloudflare, *better_auth, *django, *own.values()]},
        "introspection": {"introspection": [*oidc, *django, *opaque]},
        "documents": {
            "metadata": [*oidc, *cloudflare, *better_auth, partial(python, "bare"), opaque[0]],
            # Of others, what discovery leads to is compared with discovery.
            "JWKS": [*oidc, *keys, own[storages[0], "jwt"]],
        },
        "registration": {"registration": [*oidc, *cloudflare, *better_auth, *opaque]},
    }


def _works(found: dict[str, Any]) -> Works:
    basic = base64.b64encode(f"{found['rs']}:{found['secret']}".encode()).decode()
    return {
        **_calls(found["access"]),
        "refresh": Refresh("/token", f"&client_id={found['client']}", found["refresh"]),
        "introspection": Ask(
            "/introspect",
            '"active":true',
            f"token={found['access']}",
            {"Content-Type": FORM, "Authorization": f"Basic {basic}"},
        ),
        "registration": Ask("/register", '"client_id"', others.CLIENT, {"Content-Type": JSON}),
        "metadata": Ask("/.well-known/oauth-authorization-server", '"issuer"'),
        "JWKS": Ask("/.well-known/jwks.json", '"keys"'),
    }


def _form(work: str) -> str:
    """Return which form of answers calls get: BENCHMARK_JSON."""
    return "0" if work == STREAM else "1"


def _calls(token: str | None) -> Works:
    headers = {"Content-Type": JSON, "Accept": "application/json, text/event-stream"}
    headers["MCP-Protocol-Version"] = "2025-11-25"
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    ask = Ask("/mcp", '"text":"3"', _CALL, headers)
    return {CALL: ask, STREAM: ask}


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
    yield from others.versions()
