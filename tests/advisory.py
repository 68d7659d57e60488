"""Make the machine-readable half of each advisory, docs/advisories/NNNN.json, from its source NNNN.toml.

    uv run python tests/advisory.py

Sources say which commit mended the flaw, and which pieces of code only flawed files have. The flawed versions
are looked up in the history, under whatever name a file had: all of them, not only those of releases, since a
copy without tags is of any commit. docs/advisories/README.md says the rest.
"""

import io
import json
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from manifest import PATH, entries, sha256
from rendering import git, releases

from authserver.doctor.advisories import Advisory, squeezed

_SHORTEST_FRAGMENT = 20
"""Characters without white space: less is found in code of others."""


class CannotTell(Exception):
    """The advisory would not tell flawed code from fixed code."""


@dataclass(frozen=True)
class Source:
    """What somebody wrote of a flaw."""

    id: str
    title: str
    severity: str
    since: str
    """The first release with the flaw."""
    until: str
    """The commit that mended it."""
    fixed: str
    """The first release without it, which may still have to come."""
    files: dict[str, list[str]]
    """Each file that was mended, and what else it was called since then."""
    fragments: list[str]

    @property
    def canary(self) -> str:
        """The test that comes with the fix."""
        return f"tests/authserver/test_advisory_{self.id}.py"


def read(path: Path) -> Source:
    """Return what a source says; raises CannotTell."""
    try:
        return Source(id=path.stem, **tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise CannotTell(f"{path}: {error}") from None


def advisory(repository: Path, source: Source) -> dict[str, Any]:
    """Return the advisory; raises CannotTell."""
    known = releases(repository)
    if source.fixed not in known and known and _number(source.fixed) <= max(map(_number, known)):
        raise CannotTell(f"{source.fixed} was never released: name the release that has the fix")
    fixed = _Fixed(repository, known.get(source.fixed))
    # Where somebody writes the advisory after the fix was released, the canary comes with the next release.
    if not (repository / "template" / source.canary).is_file():
        raise CannotTell(f"there is no {source.canary}")
    for fragment in source.fragments:
        if len(squeezed(fragment)) < _SHORTEST_FRAGMENT:
            raise CannotTell(f"{fragment!r} is too short")
    affected = [
        version
        for version, commit in known.items()
        if _number(version) >= _number(source.since) and not _is_in(repository, source.until, commit)
    ]
    for version in affected:
        places = [place for path, names in source.files.items() for place in (path, *names)]
        texts = [_text(repository, known[version], place) for place in places]
        if not any(text is not None and _holds(text, source.fragments) for text in texts):
            raise CannotTell(f"{version} has none of the fragments")
    flawed = {path: _flawed(repository, source, known, path) for path in source.files}
    for path, text in fixed.all():
        if _holds(text, source.fragments):
            raise CannotTell(f"{source.fixed} still has a fragment, in {path}")
        if any(sha256(text.encode()) in hashes for hashes in flawed.values()):
            raise CannotTell(f"{path} of {source.fixed} is a flawed version")
    made = {
        "format": 1,
        "id": source.id,
        "title": source.title,
        "severity": source.severity,
        "affected": affected,
        "fixed": source.fixed,
        "files": [_file(fixed, path, hashes) for path, hashes in flawed.items()],
        "fragments": source.fragments,
        "canary": source.canary,
    }
    Advisory.model_validate_json(json.dumps(made))
    return made


def text(made: dict[str, Any]) -> str:
    """Return an advisory as its file has it."""
    return f"{json.dumps(made, indent=2)}\n"


class _Fixed:
    """The release with the fix, or the working tree where it still has to come."""

    def __init__(self, repository: Path, commit: str | None) -> None:
        self._repository = repository
        self._commit = commit

    def text(self, path: str) -> str | None:
        """Return what is in a file, None where it is not there."""
        if self._commit:
            return _sources(self._repository, self._commit).get(path)
        place = self._repository / "template" / path
        return place.read_text(encoding="utf-8") if place.is_file() else None

    def all(self) -> Iterator[tuple[str, str]]:
        """Return all sources, with what is in them."""
        if self._commit:
            yield from _sources(self._repository, self._commit).items()
            return
        for name in git(self._repository, "ls-files", "--cached", "template/src/").splitlines():
            path = name.removeprefix("template/")
            if (text := self.text(path)) is not None:
                yield path, text


@cache
def _sources(repository: Path, commit: str) -> dict[str, str]:
    """Return all sources of a commit, by their paths in a project: by one process, and not two for each."""
    command = ["git", "archive", commit, "template/src"]
    archive = subprocess.run(command, cwd=repository, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {
            file.name.removeprefix("template/"): content.read().decode()
            for file in tar
            if (content := tar.extractfile(file)) is not None
        }


def _flawed(repository: Path, source: Source, known: dict[str, str], path: str) -> list[str]:
    """Return the hashes of all flawed versions of a file, oldest first."""
    first = known[source.since]
    found: dict[str, None] = {}
    for place in (path, *source.files[path]):
        options = ("log", "--reverse", "--format=%H", f"{source.until}^", f"^{first}")
        for commit in (first, *git(repository, *options, "--", f"template/{place}").split()):
            text = _text(repository, commit, place)
            if text is not None and _holds(text, source.fragments):
                found[sha256(text.encode())] = None
    if not found:
        raise CannotTell(f"{path}: no version of it has one of the fragments")
    return list(found)


def _file(fixed: _Fixed, path: str, flawed: list[str]) -> dict[str, Any]:
    """Return the hashes of a file, and the answers that it is written with."""
    text, listed = fixed.text(path), fixed.text(PATH)
    if text is None or listed is None:
        raise CannotTell(f"{path}: the release with the fix does not have it")
    answers = next((entry.get("answers") for entry in entries(listed) if entry["path"] == path), None)
    made = {"path": path, "flawed": flawed, "fixed": sha256(text.encode())}
    return made | ({"answers": answers} if answers else {})


def _holds(text: str, fragments: Sequence[str]) -> bool:
    code = squeezed(text)
    return any(squeezed(fragment) in code for fragment in fragments)


def _text(repository: Path, revision: str, path: str) -> str | None:
    name = f"template/{path}"
    return (
        git(repository, "show", f"{revision}:{name}") if git(repository, "ls-tree", revision, name) else None
    )


def _is_in(repository: Path, commit: str, release: str) -> bool:
    return git(repository, "merge-base", commit, release) == git(
        repository, "rev-parse", f"{commit}^{{commit}}"
    )


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def write(repository: Path) -> list[Path]:
    """Make all advisories of a repository; return their files. Raises CannotTell."""
    made = []
    for path in sorted((repository / "docs" / "advisories").glob("*.toml")):
        target = path.with_suffix(".json")
        target.write_text(text(advisory(repository, read(path))), encoding="utf-8")
        made.append(target)
    return made


if __name__ == "__main__":
    try:
        print(*write(Path(__file__).parents[1]), sep="\n")
    except (CannotTell, subprocess.CalledProcessError) as problem:
        sys.exit(f"advisory: {problem}")
