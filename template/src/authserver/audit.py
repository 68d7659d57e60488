"""The audit trail: one structured log line for each event of consequence.

Who (subject, client), what, from where; never a code, token, secret or link.
"""

import structlog

_log = structlog.get_logger("authserver.audit")


def audit(event: str, **facts: str | int | None) -> None:
    """Record `event` with its facts."""
    _log.info(event, **{name: value for name, value in facts.items() if value is not None})
