"""The server that is measured: `BENCHMARK=STORAGE,TOKENS`, or `BENCHMARK=none` without authentication."""

import os
from importlib import import_module
from typing import Any

from authserver import AuthorizationServer, Scope, choices, logs
from authserver.all_settings import Settings
from fastmcp import FastMCP
from starlette.applications import Starlette


def measured(storage: str, tokens: str) -> AuthorizationServer:
    """Return a server with other answers than those of the template's own tree."""
    vars(choices).update(
        storage=import_module(f"authserver.storage.{storage}"),
        tokens=import_module(f"authserver.tokens.{tokens}"),
    )
    settings = type("Settings", (Settings, choices.storage.Settings, choices.tokens.Settings), {})
    return AuthorizationServer([Scope("read", "Read.", default=True)], settings())


SIDE = os.environ["BENCHMARK"]

auth = None if SIDE == "none" else measured(*SIDE.split(","))
mcp: "FastMCP[Any]" = FastMCP("Benchmark", auth=auth)


@mcp.tool
def add(one: int, other: int) -> int:
    """Add two numbers."""
    return one + other


def create_app() -> Starlette:
    """Return the application as the project's own command makes it."""
    logs.configure()
    return mcp.http_app(stateless_http=True, host_origin_protection=False)
