"""The Lua scripts: each is one atomic step of the storage, and begins with helpers that scripts share.

Those in `read` change nothing. Those in `write` are refused while a backup or a restore runs. Those in `keep`
are what backup and restore consist of.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_HELPERS = {
    "read": ("arguments", "primary", "reading"),
    "write": ("arguments", "refusing", "reading", "storing", "credentials", "grants"),
    "keep": ("arguments", "reading", "storing", "grants"),
}


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
    scripts = {}
    for folder, names in _HELPERS.items():
        helpers = [(here / "helpers" / f"{name}.lua").read_bytes() for name in names]
        for entry in (here / folder).iterdir():
            text = b"\n".join([*helpers, entry.read_bytes()])
            sha = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
            scripts[entry.name.removesuffix(".lua")] = Script(text, sha, writes=folder != "read")
    return scripts
