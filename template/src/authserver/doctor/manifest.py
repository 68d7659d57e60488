"""The files of the template that this project was made with: what they are, and what they were.

`manifest.json` comes with each release. It lists every file of `authserver` and its tests with its hash, and
the answers it is written with.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from authserver import choices
from authserver.findings import Finding, note
from authserver.folders import Folders

MANIFEST = "src/authserver/manifest.json"

Answers = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Project:
    """Where the files of a project lie."""

    source: Path
    """The folder of `authserver` and `app`: `src`, or where they were installed."""
    root: Path | None
    """The folder of the whole project, None where only its packages are installed."""

    def place(self, path: str) -> Path | None:
        """Return where a file of the template lies; None for tests where none are installed."""
        if path.startswith("src/"):
            return self.source / path.removeprefix("src/")
        return self.root / path if self.root and (self.root / "tests" / "authserver").exists() else None

    def name(self, path: Path) -> str:
        """Return what a file is called in reports."""
        return path.relative_to(self.root or self.source.parent).as_posix()


def this_project() -> Project:
    """Return the project that runs."""
    folders = Folders()
    return Project(folders.source, folders.project)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A release, and the hash of each of its files that this project should have."""

    release: str
    hashes: Mapping[str, str]
    elsewhere: Mapping[str, frozenset[str]]
    """Those of files that only projects with other answers have."""


@cache
def load_manifest() -> Manifest:
    """Return the manifest of the release that this project was made with or updated to."""
    return read_manifest((Path(__file__).parents[1] / "manifest.json").read_bytes())


def read_manifest(text: bytes) -> Manifest:
    """Return what a `manifest.json` says to a project of these answers."""
    read = json.loads(text)
    here = {entry["path"]: entry["sha256"] for entry in read["files"] if applies(entry.get("answers", {}))}
    elsewhere: dict[str, frozenset[str]] = {}
    for entry in read["files"]:
        if entry["path"] not in here:
            known = elsewhere.get(entry["path"], frozenset())
            elsewhere[entry["path"]] = known | {entry["sha256"]}
    return Manifest(read["release"], here, elsewhere)


def applies(answers: Answers) -> bool:
    """Say whether a file that is written with these answers is one of this project.

    A question that this release does not ask yet decides nothing.
    """
    return all(_answer(axis) in accepted for axis, accepted in answers.items() if axis in choices.__all__)


def _answer(axis: str) -> str:
    name: str = getattr(choices, axis).__name__
    return name.rpartition(".")[2]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; how lines end does not count."""
    return content_hash(path.read_bytes())


def content_hash(content: bytes) -> str:
    """Return the SHA-256 of what is in a file; how lines end does not count."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def changed_files(project: Project, manifest: Manifest) -> Iterator[Finding]:
    """Find that files of the template are not as the release wrote them. Changing them is the user's right.

    Source: NIST SP 800-53, control SI-7.
    """
    for path, expected in manifest.hashes.items():
        place = project.place(path)
        if place is None:
            continue
        if not place.exists():
            yield note(path, f"missing: release {manifest.release} has it", "Fixes of it will not arrive")
        elif file_hash(place) != expected:
            yield note(path, f"altered: not as release {manifest.release} wrote it", "See that updates merge")
    package = project.source / "authserver"
    for place in sorted(file for file in package.rglob("*") if file.is_file()):
        path = f"src/{place.relative_to(project.source).as_posix()}"
        if "__pycache__" in place.parts or path == MANIFEST or path in manifest.hashes:
            continue
        if file_hash(place) not in manifest.elsewhere.get(path, ()):
            yield note(path, "yours: the template has no such file", "What is yours is safer in src/app")
