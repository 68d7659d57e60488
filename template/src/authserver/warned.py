"""Warnings about what requests carry."""

import structlog

from authserver import limits

_log = structlog.get_logger("authserver")
_warned: dict[str, set[str]] = {}


def warn_once(what: str, sender: str) -> None:
    """Say so once for each sender: strangers must not fill the log, nor draw on the operator's terminal."""
    senders = _warned.setdefault(what, set())
    if sender not in senders and len(senders) < limits.WARNED_SENDERS:
        senders.add(sender)
        _log.warning(what, sender=sender if sender.isprintable() else ascii(sender))
