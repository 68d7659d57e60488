"""Records from rows: a field is the column of its name. Scopes and metadata are text in every engine."""

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, Protocol, TypeVar

from authserver.storage.tables import FIRST_EPOCH
from authserver.storage.verdicts import Gone, Issued, Limited, Redeemed, Replayed, Reused, Rotated

T = TypeVar("T")


class Columns(Protocol):
    """A row of any engine."""

    def __getitem__(self, column: str, /) -> Any:
        """Return the value of that column, None where there is none."""


def record(kind: type[T], row: Columns) -> T:
    """Return the record of a row."""
    key: type = kind  # mypy takes no type[T] for hashable
    return kind(*[read(row[name]) if read else row[name] for name, read in _reading(key)])


def text(scopes: Sequence[str] | None) -> str | None:
    """Return scopes as they are stored; None, for the default scopes, stays None."""
    return None if scopes is None else " ".join(scopes)


def folded(name: str) -> str:
    """Return a user's name as it is compared: without regard to case."""
    return name.casefold()


def redemption(row: Columns | None) -> Redeemed | Replayed | Gone:
    """Return the verdict on a code; no row: nothing is alive."""
    if row is None:
        return Gone()
    if row["verdict"] == "replayed":
        return Replayed(grant_id=row["grant_id"], subject=row["subject"])
    return Redeemed(record(Issued, row))


def rotated(row: Columns | None, salt: bytes) -> Rotated | Reused | Limited | Gone:
    """Return the verdict on a refresh token that was presented with `salt`; no row: nothing is alive."""
    if row is None:
        return Gone()
    if row["verdict"] == "limited":
        return Limited(wait_seconds=row["wait"])
    if row["verdict"] == "reused":
        return Reused(grant_id=row["grant_id"], subject=row["subject"])
    return Rotated(record(Issued, row), row["salt"], repeated=row["salt"] != salt)


@cache
def _reading(kind: type) -> list[tuple[str, Callable[[Any], Any] | None]]:
    """Return the fields of a record, each with what reads its column, None where it is taken as it is."""
    special: dict[str, Callable[[Any], Any]] = {
        "scopes": _scopes,
        "entitlement": _scopes,
        "metadata": json.loads,
        "redirect_uri_explicit": bool,  # SQLite has no booleans
        "epoch": lambda epoch: epoch or FIRST_EPOCH,  # Redis keeps it from the first change on
    }
    return [(field.name, special.get(field.name)) for field in fields(kind)]


def _scopes(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(text.split())
