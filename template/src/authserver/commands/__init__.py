"""What an operator can type: a file for each group of commands, and here what they share.

All of these files are imported for every command, also for `--help`. So a command imports what it works with
when it runs: FastMCP alone takes longer to import than all else together.
"""
# ruff: noqa: PLC0415

import getpass
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from authserver.commands.app import AppError, load_app, without_app
from authserver.errors import OperatorError
from authserver.folders import FOLDERS

if TYPE_CHECKING:
    from authserver.server import AuthorizationServer

Json = Annotated[bool, Parameter(name="--json", help="Print JSON, one object a line.")]

_MARKS = str.maketrans({'"': '\\"', "\\": "\\\\"})


class CommandError(OperatorError):
    """What the operator asked for cannot be done."""


@contextmanager
def operating() -> Iterator[None]:
    """Set up the log, and let every event say who the operator is."""
    from authserver import logs
    from authserver.audit import coming_from

    logs.configure_for_operators()
    with coming_from(address="operator", **_who()):
        yield


@asynccontextmanager
async def opened(*, needs_app: bool = False) -> AsyncIterator["AuthorizationServer"]:
    """Open the server of `app`, with its storage, and close it afterwards; raises OperatorError.

    Where `app` is broken, users and clients can be managed all the same, unless the command needs its scopes
    or tools.
    """
    import fastmcp  # noqa: F401  # sets up a log of its own, before ours

    with operating():
        try:
            _, server = load_app()
        except AppError as error:
            if needs_app:
                raise
            say(f"{error}. Going on without it.", aside=True)
            server = without_app()
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


def shown(value: object) -> str:
    """Return text that somebody else may have chosen as one line in which nothing acts on a terminal."""
    from authserver.logs import printable

    return printable(str(value))


def quoted(value: object) -> str:
    """Return such a value so that it ends where it seems to end: in quotes, unless it is one plain word."""
    text = str(value)
    safe = shown(text.translate(_MARKS))
    return safe if text and text == safe and not {" ", "="} & {*text} else f'"{safe}"'


def say(text: str, *, aside: bool = False) -> None:
    """Print a line: the way of all commands, so that nothing that a stranger chose acts on the terminal.

    `aside` is what no program reads: it goes to the standard error.
    """
    print(shown(text), file=sys.stderr if aside else sys.stdout, flush=True)


def typed() -> str:
    """Return how this command is typed: by `uv run` where it lies in the environment of the project."""
    command = Path(sys.argv[0])
    # An adopted server has its environment in the folder around this one.
    project = FOLDERS.project
    around = [] if project is None else [project / ".venv", project.parent / ".venv"]
    of_project = not {*around}.isdisjoint(command.absolute().parents)
    return f"uv run {command.name}" if of_project else command.name


def print_rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print each row as a line; for people, without what is empty."""
    for row in rows:
        told = [f"{name}={quoted(value)}" for name, value in row.items() if value not in ("", None)]
        say(json.dumps(row) if as_json else "  ".join(told))


def _who() -> dict[str, str]:
    """Return the operating-system user; after `sudo`, which needs root to be believed, also who called it."""
    if os.name != "posix":
        return {"operator": getpass.getuser()}
    import pwd

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, users may be numbers
        name = str(os.getuid())
    caller = os.environ.get("SUDO_USER") if os.getuid() == 0 else None
    return {"operator": name} | ({"sudo_user": caller} if caller else {})
