"""What Redis is given and what it answers: bytes. Text is UTF-8, times have all their digits."""

from collections.abc import Mapping, Sequence
from typing import Any

from authserver.storage import TABLES

Argument = str | bytes | int | float | None | Mapping[str, Any] | Sequence[Any]

_KINDS: Mapping[str, type] = {
    **{column: kind for columns in TABLES.values() for column, kind in columns.items()},
    "issued_at": float,
    "user_name": str,
    "entitlement": str,
    "verdict": str,
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


def decode(flat: Sequence[bytes]) -> dict[str, Any]:
    """Return a row that a script answered: columns that are null are missing."""
    names = [name.decode() for name in flat[::2]]
    return {name: _value(_KINDS[name], raw) for name, raw in zip(names, flat[1::2], strict=True)}


def _value(kind: type, raw: bytes) -> str | bytes | int | float | bool:
    if kind is bytes:
        return raw
    if kind is str:
        return raw.decode("utf-8", "surrogatepass")
    if kind is bool:
        return raw == b"1"
    return float(raw) if kind is float else int(raw)
