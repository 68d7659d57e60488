"""What an operator can type: a file for each group of commands, and here what they share.

All of these files are imported for every command, also for `--help`. So a command imports what it works with
when it runs: FastMCP alone takes longer to import than all else together.
"""
# ruff: noqa: PLC0415

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from authserver.errors import OperatorError

if TYPE_CHECKING:
    from authserver.server import AuthorizationServer

Json = Annotated[bool, Parameter(name="--json", help="Print JSON, one object a line.")]


class CommandError(OperatorError):
    """What the operator asked for cannot be done."""


@asynccontextmanager
async def opened() -> AsyncIterator["AuthorizationServer"]:
    """Open the server of `app`, with its storage, and close it afterwards; raises OperatorError."""
    from authserver import logs
    from authserver.server import AuthorizationServer

    logs.configure()  # after the import of FastMCP, which sets up a log of its own
    from app.server import mcp

    server = mcp.auth
    if not isinstance(server, AuthorizationServer):
        raise CommandError("app/server.py must set auth=AuthorizationServer(...)")
    await server.open()
    try:
        yield server
    finally:
        await server.close()


def require(found: bool, otherwise: str) -> None:
    """Raise CommandError with the text `otherwise` where nothing was found."""
    if not found:
        raise CommandError(otherwise)


def when(seconds: float | None) -> str | None:
    """Return a time as people and programs read it (ISO 8601)."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat("T", "seconds")


def print_rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print each row as a line; for people, without what is empty."""
    for row in rows:
        if as_json:
            print(json.dumps(row))
        else:
            print("  ".join(f"{name}={value}" for name, value in row.items() if value not in ("", None)))
