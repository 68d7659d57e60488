"""Logs: one JSON object a line on standard error; on a terminal, lines for people.

Exceptions stand there by their kinds and places, never by their texts or variables, which may hold anything.
"""

import contextlib
import logging
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from logging.handlers import SysLogHandler
from pathlib import Path

import structlog
from structlog.typing import EventDict, Processor

_ACCESS_LOGS = ("uvicorn.access", "hypercorn.access", "granian.access", "gunicorn.access")
_SYSLOG = Path("/dev/log")
_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


_refusals: ContextVar[list[str]] = ContextVar("refusals")


@contextlib.contextmanager
def gathering_refusals() -> Iterator[list[str]]:
    """Give the reasons for which what is in here was refused, the last one last."""
    gathered: list[str] = []
    token = _refusals.set(gathered)
    try:
        yield gathered
    finally:
        _refusals.reset(token)


def refused(reason: str) -> None:
    """Keep why a request is refused for its line in the log: what its sender is told, and no secret."""
    _refusals.get([]).append(reason)


def silence_access_logs() -> None:
    """Let no ASGI server write the addresses that are asked for: links and queries are secrets.

    The request log of `middleware/guard.py` has what an operator needs.
    """
    for name in _ACCESS_LOGS:
        logging.getLogger(name).disabled = True


def configure(name: str | None = None) -> None:
    """Send our log, and those of the libraries, through one formatter; with a name, that log only."""
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(terminal=sys.stderr.isatty()))
    chosen = logging.getLogger(name)
    chosen.handlers = [handler]
    chosen.setLevel(logging.INFO)
    chosen.propagate = False
    if name is not None:
        return
    for noisy in ("fastmcp", "mcp", "uvicorn"):
        logger = logging.getLogger(noisy)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(logging.WARNING)


def configure_under_another_command() -> None:
    """Set up our own log where the program that serves the app has not: `fastmcp run`, say."""
    if not structlog.is_configured():
        configure("authserver")


def configure_for_operators() -> None:
    """Set up the log of a command. Nobody keeps what a terminal shows: the machine's log gets events too."""
    configure()
    with contextlib.suppress(OSError):
        if _SYSLOG.exists():
            handler = SysLogHandler(str(_SYSLOG), SysLogHandler.LOG_AUTHPRIV)
            handler.ident = "authserver: "
            handler.setFormatter(_formatter(terminal=False))
            logging.getLogger("authserver.audit").handlers = [handler]


def printable(text: str, *, lines: bool = False) -> str:
    """Return text in which escapes, control and bidi characters stand as numbers; `lines` keeps its lines."""
    return "".join(
        one if one.isprintable() or (lines and one == "\n") else one.encode("unicode_escape").decode()
        for one in text
    )


def place(error: BaseException) -> str:
    """Return where an exception comes from, and what caused it: kinds and lines of code, no values."""
    told = [*traceback.format_tb(error.__traceback__), f"{type(error).__qualname__}\n"]
    for inner in getattr(error, "exceptions", ()):
        told += ["in a group:\n", place(inner)]
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "".join([place(before), "which led to:\n", *told] if before else told)


def _formatter(*, terminal: bool) -> logging.Formatter:
    rendering: list[Processor] = (
        [_printable, structlog.dev.ConsoleRenderer()] if terminal else [structlog.processors.JSONRenderer()]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _told, *rendering],
    )


def _told(_: object, __: str, event: EventDict) -> EventDict:
    """Put in place of an exception where it comes from: JSON would hold the address of the object."""
    found: object = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    if isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        event["exception"] = place(found)
    return event


def _printable(_: object, __: str, event: EventDict) -> EventDict:
    """Let nothing that a stranger chose act on a terminal; what is no text is shown by `repr` anyway."""
    return {
        name: printable(value, lines=name in ("exception", "place")) if isinstance(value, str) else value
        for name, value in event.items()
    }
