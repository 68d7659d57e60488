"""What Redis is given and what it answers: bytes. Text is UTF-8, times have all their digits."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from authserver.storage.rows import record
from authserver.storage.tables import TABLES

T = TypeVar("T")

Argument = str | bytes | int | float | None | Mapping[str, Any] | Sequence[Any]

_KINDS: Mapping[str, type] = {
    **{column: kind for columns in TABLES.values() for column, kind in columns.items()},
    "issued_at": float,
    "user_name": str,
    "entitlement": str,
    "verdict": str,
    "wait": float,
}


def encode(argument: Argument) -> list[bytes]:
    """Return an argument of a script; a row or a list begins with its length, and a row has no None."""
    match argument:
        case None:
            return [b""]
        case bytes():
            return [argument]
        case str():
            return [argument.encode("utf-8", "surrogatepass")]
        case int() | float():
            return [repr(+argument).encode()]
        case Mapping():
            given = [(column, value) for column, value in argument.items() if value is not None]
            return [b"%d" % len(given), *(part for pair in given for item in pair for part in encode(item))]
        case _:
            return [b"%d" % len(argument), *(part for item in argument for part in encode(item))]


class Found(dict[str, Any]):
    """A row that was answered: columns that are null are missing, and read as None."""

    def __missing__(self, column: str) -> None:
        """Return None."""


def decode(flat: Sequence[bytes]) -> Found:
    """Return a row that a script answered."""
    names = [name.decode() for name in flat[::2]]
    return Found({name: _value(_KINDS[name], raw) for name, raw in zip(names, flat[1::2], strict=True)})


def found(kind: type[T], flat: Sequence[bytes] | None) -> T | None:
    """Return the record that was answered; None where there is none."""
    return record(kind, decode(flat)) if flat else None


def each(kind: type[T], answered: Sequence[Sequence[bytes]]) -> list[T]:
    """Return the records that were answered."""
    return [record(kind, decode(flat)) for flat in answered]


def _value(kind: type, raw: bytes) -> str | bytes | int | float | bool:
    if kind is bytes:
        return raw
    if kind is str:
        return raw.decode("utf-8", "surrogatepass")
    if kind is bool:
        return raw == b"1"
    return float(raw) if kind is float else int(raw)
