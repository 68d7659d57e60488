"""The server that is measured: `BENCHMARK=STORAGE,TOKENS`, or `BENCHMARK=none` without authentication."""

import os
from importlib import import_module
from typing import Any

from authserver import choices

SIDE = os.environ["BENCHMARK"]

if SIDE != "none":
    storage, tokens = SIDE.split(",")
    # Before anything else is imported: the answers of the template's own tree are the default ones.
    vars(choices).update(
        storage=import_module(f"authserver.storage.{storage}"),
        tokens=import_module(f"authserver.tokens.{tokens}"),
    )

from authserver import AuthorizationServer, Scope, logs  # noqa: E402
from fastmcp import FastMCP  # noqa: E402
from starlette.applications import Starlette  # noqa: E402

auth = None if SIDE == "none" else AuthorizationServer([Scope("read", "Read.", default=True)])
mcp: "FastMCP[Any]" = FastMCP("Benchmark", auth=auth)


@mcp.tool
def add(one: int, other: int) -> int:
    """Add two numbers."""
    return one + other


def create_app() -> Starlette:
    """Return the application as the project's own command makes it."""
    logs.configure()
    return mcp.http_app(stateless_http=True, host_origin_protection=False)
