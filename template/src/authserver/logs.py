"""Logs: one JSON object a line on standard error; on a terminal, lines for people."""

import logging
import sys

import structlog

_ACCESS_LOGS = ("uvicorn.access", "hypercorn.access", "granian.access", "gunicorn.access")


def silence_access_logs() -> None:
    """Let no ASGI server write the addresses that are asked for: links and queries are secrets.

    The request log of `middleware/guard.py` has what an operator needs.
    """
    for name in _ACCESS_LOGS:
        logging.getLogger(name).disabled = True


def configure() -> None:
    """Send our log, and those of the libraries, through one formatter."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("fastmcp", "mcp", "uvicorn"):
        logger = logging.getLogger(noisy)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(logging.WARNING)
