"""Logs: one JSON object a line on standard error; on a terminal, lines for people.

Exceptions stand there by their kinds and places, never by their texts or variables, which may hold anything.
An event is rendered once, and what only informs is written a moment later, off the event loop.
"""

import asyncio
import contextlib
import json
import logging
import select
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.contextvars import get_contextvars
from structlog.typing import EventDict

from authserver import clock

_ACCESS_LOGS = ("uvicorn.access", "hypercorn.access", "granian.access", "gunicorn.access")
_SYSLOG = Path("/dev/log")
# What a pipe takes in one piece: several processes may write to it (POSIX, write).
_PIECE = getattr(select, "PIPE_BUF", 512)
# So long a line about a request waits for others, and so many wait where nobody reads the log.
_SECONDS = 0.02
_LINES = 10_000
# Nothing but ASCII: what a stranger chose acts on no terminal that shows the file.
_JSON = json.JSONEncoder(default=repr)


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
    """Send our log, and those of the libraries, to standard error in one form; with a name, ours only."""
    _written.begin(sys.stderr)
    structlog.configure(
        processors=[_as_it_is],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_Logger,
        cache_logger_on_first_use=True,
    )
    if name is not None:
        return
    root = logging.getLogger()
    root.handlers = [_OfLibraries()]
    root.setLevel(logging.INFO)
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
            _written.machines_log = handler


@contextlib.contextmanager
def behind() -> Iterator[None]:
    """Let lines about requests be written a moment later while a server runs; at the end none waits."""
    _written.may_wait = True
    try:
        yield
    finally:
        _written.may_wait = False
        _written.flush()


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


class _Written:
    """Writes lines in their order, whole ones together.

    A process that is killed loses what `authserver` told since `_SECONDS`: lines about requests.
    Events of the audit, warnings and errors are written before whoever logs them goes on.
    """

    may_wait = False
    machines_log: SysLogHandler | None = None

    def __init__(self) -> None:
        self._lines: deque[EventDict] = deque()
        self._writing = threading.Lock()
        self._due = False

    def begin(self, stream: TextIO) -> None:
        """Write there."""
        self._stream = stream
        self._render = (
            partial(_for_people, structlog.dev.ConsoleRenderer()) if stream.isatty() else _JSON.encode
        )

    def take(self, logger: str, level: str, event: EventDict) -> None:
        """Take what is to be written."""
        # What the event says itself counts, also where something of that name is bound.
        line = {**get_contextvars(), **event, "level": level, "logger": logger, "timestamp": clock.now()}
        if "exc_info" in line:
            _tell(line)
        self._lines.append(line)
        if self.machines_log and logger == "authserver.audit":
            self.machines_log.emit(logging.makeLogRecord({"msg": _told(_dated(line), _JSON.encode)}))
        if not (self.may_wait and level == "info" and logger == "authserver"):
            self.flush()
        elif len(self._lines) > _LINES:
            self.flush()  # nothing is lost: whoever logs waits for the reader
        elif not self._due:
            self._flush_soon()

    def _flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # in a thread
            self.flush()
            return
        self._due = True
        loop.call_later(_SECONDS, loop.run_in_executor, None, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            self._due = False
            piece = ""
            while self._lines:
                line = f"{_told(_dated(self._lines.popleft()), self._render)}\n"
                if piece and len(piece) + len(line) > _PIECE:
                    self._write(piece)
                    piece = ""
                piece += line
            if piece:
                self._write(piece)

    def _write(self, piece: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            self._stream.write(piece)
            self._stream.flush()


_written = _Written()


class _Logger:
    """What structlog hands events to."""

    def __init__(self, name: str = "app") -> None:
        self._name = name

    def info(self, event: EventDict) -> None:
        _written.take(self._name, "info", event)

    def warning(self, event: EventDict) -> None:
        _written.take(self._name, "warning", event)

    def error(self, event: EventDict) -> None:
        _written.take(self._name, "error", event)

    def critical(self, event: EventDict) -> None:
        _written.take(self._name, "critical", event)


class _OfLibraries(logging.Handler):
    """Takes what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; an error in it stops nobody."""
        try:
            told = {"event": record.getMessage(), "exc_info": record.exc_info}
            _written.take(record.name, record.levelname.lower(), told)
        except Exception:  # noqa: BLE001  # as logging has it
            self.handleError(record)


def _as_it_is(_: object, __: str, event: EventDict) -> tuple[tuple[EventDict], dict[str, Any]]:
    """Hand the event to the logger as it is."""
    return (event,), {}


def _dated(line: EventDict) -> EventDict:
    """Return a line with its time as RFC 3339 writes it, to the microsecond."""
    at = datetime.fromtimestamp(line["timestamp"], UTC).isoformat(timespec="microseconds")
    return {**line, "timestamp": at.removesuffix("+00:00") + "Z"}


def _for_people(renderer: structlog.dev.ConsoleRenderer, line: EventDict) -> str:
    return str(renderer(None, "", _printable(line)))


def _told(line: EventDict, rendered: Callable[[EventDict], str]) -> str:
    """Return a line as text; without what no text can be made of, since nobody who logs shall fail for it."""
    try:
        return rendered(line)
    except Exception as error:  # noqa: BLE001  # a value that holds itself, or whose repr fails
        plain = {str(name): value for name, value in line.items() if isinstance(value, (str, int, float))}
        return rendered(plain | {"left_out": type(error).__name__})


def _tell(event: EventDict) -> None:
    """Put in place of an exception where it comes from: JSON would hold the address of the object."""
    found: object = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    if isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        event["exception"] = place(found)


def _printable(event: EventDict) -> EventDict:
    """Let nothing that a stranger chose act on a terminal; what is no text is shown by `repr` anyway."""
    return {
        name: printable(value, lines=name in ("exception", "place")) if isinstance(value, str) else value
        for name, value in event.items()
    }
