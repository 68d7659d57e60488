"""Warnings about what requests carry."""

import structlog

from authserver import limits

_log = structlog.get_logger("authserver")
_warned: set[tuple[str, str]] = set()


def warn_once(what: str, sender: str) -> None:
    """Say so once for each sender: strangers must not fill the log, nor draw on the operator's terminal."""
    if (what, sender) not in _warned and len(_warned) < limits.WARNED_SENDERS:
        _warned.add((what, sender))
        _log.warning(what, sender=sender if sender.isprintable() else ascii(sender))
