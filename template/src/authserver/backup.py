"""Backups: every record as a line of JSON, the same for all storages, so that one moves to another.

They hold what is at rest: digests, password hashes and sealed values. They do not hold the secret key, and
without it no sealed value can be read. The first line says what the file is, the last one how many records
it holds.
"""

import base64
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, TextIO, cast

from authserver import clock
from authserver.crypto.sealing import SECOND_FACTOR, SIGNING_KEY
from authserver.storage import Storage
from authserver.storage.facts import CHECK, IDENTITY
from authserver.storage.tables import FIRST_EPOCH, TABLES, Row, Value

_FORMAT = 1
_ACCESS = (
    "invitations",
    "sessions",
    "tickets",
    "buckets",
    "authorization_requests",
    "codes",
    "refresh_tokens",
    "access_tokens",
)

_ADDED: Mapping[str, Row] = {"users": {"epoch": FIRST_EPOCH}, "sessions": {"epoch": FIRST_EPOCH}}
"""Columns that a backup may lack, or have without a value."""

Records = AsyncIterator[tuple[str, Row]]


class BackupError(Exception):
    """The file is not a whole backup that this release can read. The text is one line."""


async def write(storage: Storage, check: bytes, file: TextIO) -> int:
    """Write a backup; `check` is the check value of the store's secret key. Return how many records."""
    _write_line(file, {"backup": _FORMAT, "made_at": clock.now(), "check": _text(check)})
    count = 0
    async for table, row in storage.dump():
        _write_line(file, [table, {name: _plain(value) for name, value in row.items()}])
        count += 1
    _write_line(file, {"records": count})
    return count


class Backup:
    """A backup to read: when it was made, the check value of its secret key, and its records."""

    def __init__(self, file: Iterable[str]) -> None:
        """Read the first line; raises BackupError."""
        self._lines = iter(file)
        self.count = 0
        try:
            header = self._next_line()
        except BackupError:
            header = None
        if not isinstance(header, dict) or header.get("backup") != _FORMAT:
            raise BackupError("this is no backup that this release can read")
        try:
            self.made_at = float(header["made_at"])
            self.check = base64.b64decode(header["check"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise BackupError("the first line of the backup is damaged") from None

    async def records(self) -> Records:
        """Return all records; raises BackupError where one is damaged or the end is missing."""
        while isinstance(line := self._next_line(), list):
            yield self._record(line)
            self.count += 1
        if line != {"records": self.count}:
            raise BackupError(f"the backup ends early, after {self.count} records")

    def _next_line(self) -> Any:
        try:
            return json.loads(next(self._lines, "null"))
        except (ValueError, RecursionError):
            raise BackupError(f"the backup is damaged after record {self.count}") from None

    def _record(self, line: list[Any]) -> tuple[str, Row]:
        try:
            table, row = line
            return table, _ADDED.get(table, {}) | {
                name: _value(value, TABLES[table][name]) for name, value in row.items() if value is not None
            }
        except (AttributeError, KeyError, TypeError, ValueError):
            raise BackupError(
                f"record {self.count + 1} of the backup is damaged, or of a newer release"
            ) from None


async def without_access(records: Records) -> Records:
    """Leave out whatever opens anything: links, sessions, requests, grants with their codes and tokens.

    Of living grants a revocation stays, for tokens that are checked without the storage. Each user begins an
    epoch that no backup, and nothing since, can have had: epochs grow by one, and this one is the time.
    """
    async for table, row in records:
        if table == "grants":
            if row.get("revoked_at") is None:
                ended: Row = {"grant_id": row["grant_id"], "until": row["access_until"]}
                yield "revocations", ended | {"revoked_at": clock.now()}
        elif table == "users":
            yield table, row | {"epoch": int(clock.now())}
        elif table not in _ACCESS:
            yield table, row


async def without_sealed(records: Records) -> Records:
    """Leave out what opens with the lost secret key only, and the check value of that key."""
    async for table, row in records:
        fact = str(row.get("name")) if table == "facts" else ""
        factor = table == "credentials" and row.get("kind") == SECOND_FACTOR
        if not factor and not fact.startswith((SIGNING_KEY, CHECK, IDENTITY)):
            yield table, row


def _write_line(file: TextIO, value: Any) -> None:
    file.write(json.dumps(value, separators=(",", ":")) + "\n")


def _plain(value: Value) -> Any:
    return _text(value) if isinstance(value, bytes) else value


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _value(value: Any, kind: type) -> Value:
    """Return what a column holds; raises TypeError and ValueError for anything of another kind."""
    if value is None:
        return None
    if kind is bytes:
        return base64.b64decode(value, validate=True)
    if kind is float and value.__class__ is int:
        return float(value)
    if value.__class__ is not kind:  # a bool is no number here
        raise TypeError
    return cast(Value, value)
