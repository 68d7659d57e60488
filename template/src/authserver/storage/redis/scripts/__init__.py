"""The Lua scripts: each is one atomic step of the storage, and begins with the helpers that all share.

Those in `read` change nothing. Those in `write` are refused while a backup or a restore runs. Those in `keep`
are what backup and restore consist of.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable


@dataclass(frozen=True, slots=True)
class Script:
    """A script as the server runs it; `writes` says whether it may change anything."""

    text: bytes
    sha: bytes
    writes: bool


@cache
def load_scripts() -> dict[str, Script]:
    """Return all scripts by name."""
    here = files(__name__)
    *helpers, writing = (
        entry.read_bytes() for entry in sorted((here / "helpers").iterdir(), key=lambda entry: entry.name)
    )
    beginnings = {"read": helpers, "write": [*helpers, writing], "keep": helpers}
    return {
        entry.name.removesuffix(".lua"): _compose(beginning, entry, writes=folder != "read")
        for folder, beginning in beginnings.items()
        for entry in (here / folder).iterdir()
    }


def _compose(beginning: list[bytes], entry: Traversable, *, writes: bool) -> Script:
    text = b"\n".join([*beginning, entry.read_bytes()])
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest().encode(), writes)
