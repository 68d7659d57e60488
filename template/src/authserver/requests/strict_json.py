"""JSON of others, read so that no two parsers differ about it."""

import json
from typing import Any


def loads(text: str | bytes) -> Any:
    """Return a JSON value; raises ValueError.

    At any depth a name stands once in an object (RFC 8259 section 4: else some take the first value, some the
    last), and a number is one (section 6: no NaN, no Infinity).
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return members


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
