"""The Python servers that are measured, as `BENCHMARK` says: `STORAGE,TOKENS`, `none`, `in memory` or `bare`.

`none` is FastMCP without authentication, `in memory` FastMCP's own provider, `bare` an answer of Starlette.
"""

import os
import time
from importlib import import_module
from typing import Any

from fastmcp import FastMCP
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from mcp.server.auth.provider import AccessToken
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from authserver import AuthorizationServer, Scope, choices, limits, logs, requires
from authserver.all_settings import Settings

SIDE = os.environ["BENCHMARK"]
# A busy machine is slow, not wrong: what is given up after these seconds would end the run.
_PATIENCE = {
    "sqlite": ("writer", ["_WAIT_SECONDS"]),
    "postgresql": ("connections", ["_OPERATION_SECONDS"]),
    "redis": ("server", ["_LIMIT_SECONDS", "_CONNECT_SECONDS"]),
}


def measured(storage: str, tokens: str) -> AuthorizationServer:
    """Return a server with other answers than those of the template's own tree."""
    vars(choices).update(
        storage=import_module(f"authserver.storage.{storage}"),
        tokens=import_module(f"authserver.tokens.{tokens}"),
    )
    name, limits_of_it = _PATIENCE[storage]
    vars(import_module(f"authserver.storage.{storage}.{name}")).update(dict.fromkeys(limits_of_it, 60.0))
    settings = type("Settings", (Settings, choices.storage.Settings, choices.tokens.Settings), {})
    return AuthorizationServer([Scope("read", "Read.", default=True)], settings())


def in_memory() -> InMemoryOAuthProvider:
    """Return FastMCP's own provider, with one token."""
    provider = InMemoryOAuthProvider(base_url=os.environ["AUTH_PUBLIC_URL"], required_scopes=["read"])
    provider.access_tokens["access"] = AccessToken(
        token="access", client_id="bench", scopes=["read"], expires_at=int(time.time()) + 86_400
    )
    return provider


ours = "," in SIDE
auth = measured(*SIDE.split(",")) if ours else None
mcp: "FastMCP[Any]" = FastMCP("Benchmark", auth=auth or (in_memory() if SIDE == "in memory" else None))


def add(one: int, other: int) -> int:
    """Add two numbers."""
    return one + other


mcp.tool(requires("read")(add) if ours else add)


async def bare(request: Request) -> JSONResponse:
    """Answer what metadata might be."""
    return JSONResponse({"issuer": os.environ["AUTH_PUBLIC_URL"]})


def create_app() -> Starlette:
    """Return the application as the project's own command makes it."""
    if SIDE == "bare":
        return Starlette(routes=[Route("/", bare)])
    if ours:
        logs.configure()
        # One that is seen: in five minutes nobody looks any more.
        limits.PURGE_EVERY_SECONDS = int(os.environ.get("BENCHMARK_PURGE") or limits.PURGE_EVERY_SECONDS)
    json_response = os.environ.get("BENCHMARK_JSON") == "1"
    return mcp.http_app(stateless_http=True, host_origin_protection=False, json_response=json_response)
