"""Make the machine-readable half of an advisory from revisions of this repository.

    uv run python tests/advisory.py 0001 --title "..." --severity high --flawed 1.2.0 --fixed 1.2.1
        --file src/authserver/model/clients.py --fragment "asked.startswith(registered)"

writes docs/advisories/0001.json. The fixed revision has the canary, tests/authserver/test_advisory_0001.py.
docs/advisories/README.md says the rest.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from authserver.doctor.advisories import Advisory, squeezed
from manifest import PATH, entries, release, sha256
from rendering import git

_SHORTEST_FRAGMENT = 20
"""Characters without white space: less is found in code of others."""


class CannotTell(Exception):
    """The advisory would not tell flawed code from fixed code."""


def advisory(repository: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Return the advisory; raises CannotTell."""
    canary = f"tests/authserver/test_advisory_{asked.id}.py"
    if not _exists(repository, asked.fixed, canary):
        raise CannotTell(f"{asked.fixed} has no {canary}")
    _check_fragments(repository, asked)
    made = {
        "format": 1,
        "id": asked.id,
        "title": asked.title,
        "severity": asked.severity,
        "affected": list(dict.fromkeys(_release(repository, revision) for revision in asked.flawed)),
        "fixed": _release(repository, asked.fixed),
        "files": [_file(repository, asked, path) for path in asked.file],
        "fragments": asked.fragment,
        "canary": canary,
    }
    Advisory.model_validate_json(json.dumps(made))
    return made


def _file(repository: Path, asked: argparse.Namespace, path: str) -> dict[str, Any]:
    """Return the hashes of a file, and the answers that it is written with."""
    flawed = [
        _hash(repository, revision, path) for revision in asked.flawed if _exists(repository, revision, path)
    ]
    fixed = _hash(repository, asked.fixed, path)
    if not flawed or fixed in flawed:
        raise CannotTell(f"{path}: the fix does not change it")
    listed = entries(_text(repository, asked.fixed, PATH))
    [answers] = [entry.get("answers") for entry in listed if entry["path"] == path]
    made = {"path": path, "flawed": list(dict.fromkeys(flawed)), "fixed": fixed}
    return made | ({"answers": answers} if answers else {})


def _check_fragments(repository: Path, asked: argparse.Namespace) -> None:
    """Raise CannotTell unless each flawed revision has one of the fragments, and the fixed one has none."""
    for fragment in asked.fragment:
        if len(squeezed(fragment)) < _SHORTEST_FRAGMENT:
            raise CannotTell(f"{fragment!r} is too short")
    for revision in asked.flawed:
        found = [path for path in asked.file if _holds(repository, revision, path, asked.fragment)]
        if asked.fragment and not found:
            raise CannotTell(f"{revision} has none of the fragments")
    for name in git(repository, "ls-tree", "-r", "--name-only", asked.fixed, "template/src/").splitlines():
        path = name.removeprefix("template/")
        if _holds(repository, asked.fixed, path, asked.fragment):
            raise CannotTell(f"{asked.fixed} still has a fragment, in {path}")


def _holds(repository: Path, revision: str, path: str, fragments: Sequence[str]) -> bool:
    if not _exists(repository, revision, path):
        return False
    code = squeezed(_text(repository, revision, path))
    return any(squeezed(fragment) in code for fragment in fragments)


def _exists(repository: Path, revision: str, path: str) -> bool:
    return bool(git(repository, "ls-tree", revision, f"template/{path}"))


def _text(repository: Path, revision: str, path: str) -> str:
    return git(repository, "show", f"{revision}:template/{path}")


def _hash(repository: Path, revision: str, path: str) -> str:
    return sha256(_text(repository, revision, path).encode())


def _release(repository: Path, revision: str) -> str:
    return release(git(repository, "show", f"{revision}:CHANGELOG.md")).partition("+")[0]


def write(repository: Path, words: Sequence[str]) -> Path:
    """Write the advisory that a command line asks for; return its file. Raises CannotTell."""
    parser = argparse.ArgumentParser(description="Make the machine-readable half of an advisory.")
    parser.add_argument("id", help="four digits, the next ones")
    parser.add_argument("--title", required=True, help="the flaw in one line")
    parser.add_argument("--severity", required=True, choices=["low", "moderate", "high", "critical"])
    parser.add_argument(
        "--flawed", required=True, action="append", help="a release with the flaw; each of them"
    )
    parser.add_argument("--fixed", required=True, help="the release with the fix")
    parser.add_argument("--file", required=True, action="append", help="a flawed file, as projects have it")
    parser.add_argument("--fragment", default=[], action="append", help="code that only flawed files have")
    asked = parser.parse_args(words)
    target = repository / "docs" / "advisories" / f"{asked.id}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(advisory(repository, asked), indent=2) + "\n", encoding="utf-8")
    return target


if __name__ == "__main__":
    try:
        print(write(Path(__file__).parents[1], sys.argv[1:]))
    except (CannotTell, subprocess.CalledProcessError) as problem:
        sys.exit(f"advisory: {problem}")
