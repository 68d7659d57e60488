"""Whether an advisory concerns this project, as far as its files can tell.

An advisory names each flawed file with the hashes of its flawed versions, and pieces of code that only they
have. So the flaw is found where a file was moved, renamed, merged into another or edited. Where a file cannot
be judged, the canary can: the test that came with the fix, and fails wherever the flaw is.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from authserver.doctor.manifest import Manifest, Project, applies, file_hash
from authserver.errors import OperatorError
from authserver.findings import Finding, Level

_CODE = {".py", ".lua", ".sql", ".html", ".js"}
_LEFT_OUT = {"node_modules", "__pycache__", "tests"}

_LONGEST_BYTES = 1 << 20
"""No advisory is longer: this is what a file, or a device, may make doctor read."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it holds characters that cannot be shown")
    return text


Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Axis = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fragment = Annotated[str, Field(pattern=r"\S")]
Version = Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]


class AdvisoryError(OperatorError):
    """The file is no advisory that can be read; the text says why, in one line."""


class FlawedFile(BaseModel):
    """A file with the flaw."""

    model_config = ConfigDict(frozen=True)

    path: Annotated[str, Field(pattern=r"^src/authserver(/[A-Za-z0-9_]+)*/[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$")]
    flawed: tuple[Hash, ...] = Field(min_length=1)
    fixed: Hash
    answers: dict[Axis, tuple[str, ...]] = {}
    """The answers that it is written with, where not with all."""


class Advisory(BaseModel):
    """What is machine-readable of an advisory. Keys that are not known here are left to newer releases."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1]
    id: Line
    title: Line
    severity: Literal["low", "moderate", "high", "critical"]
    affected: tuple[Version, ...] = Field(min_length=1)
    fixed: Version
    files: tuple[FlawedFile, ...] = Field(min_length=1)
    fragments: tuple[Fragment, ...]
    canary: Annotated[str, Field(pattern=r"^tests/authserver/test_advisory_[a-z0-9_]+\.py$")]


def read_file(path: Path) -> bytes:
    """Return what is in a file; raises AdvisoryError where it cannot be read or is too long."""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_BYTES + 1)
    except OSError as error:
        raise AdvisoryError(f"{path}: {error.strerror}") from None
    if len(content) > _LONGEST_BYTES:
        raise AdvisoryError(f"{path}: it is too long for an advisory")
    return content


def read_advisory(path: Path, content: bytes) -> Advisory:
    """Return the advisory that a file holds; raises AdvisoryError."""
    try:
        return Advisory.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        why = f"{place if place.isprintable() else ascii(place)}: {first['msg']}"
        raise AdvisoryError(f"{path}: this is no advisory that can be read: {why}") from None


def judge(advisory: Advisory, project: Project, manifest: Manifest) -> Iterator[Finding]:
    """Say of each file that the advisory names how it is, and where else its code lies."""
    named = {project.source / file.path.removeprefix("src/"): file for file in advisory.files}
    for place in _code(project):
        if place not in named and (why := _flaw(advisory, place)):
            yield Finding(Level.VULNERABLE, project.name(place), why, f"Mend it as {advisory.fixed} does")
    for place, file in named.items():
        yield _judge_file(advisory, file, place, manifest, project)


def _judge_file(
    advisory: Advisory, file: FlawedFile, place: Path, manifest: Manifest, project: Project
) -> Finding:
    canary = project.place(advisory.canary)
    ask = f"Run the canary: uv run pytest {advisory.canary}"
    if canary is None or not canary.exists():
        ask = f"Run copier update, which brings {advisory.canary}, and run that"
    if not place.is_file():
        if not applies(file.answers):
            return Finding(Level.NOT_AFFECTED, file.path, "projects with these answers do not have it")
        return Finding(Level.MISSING, file.path, "you moved or removed it, and no fix can reach it", ask)
    if why := _flaw(advisory, place):
        return Finding(Level.VULNERABLE, file.path, why, f"Run copier update: {advisory.fixed} has the fix")
    found = file_hash(place)
    if found == file.fixed:
        return Finding(Level.FIXED, file.path, f"it is that of {advisory.fixed}")
    base = manifest.release.partition("+")[0]
    if found == manifest.hashes.get(file.path) and base not in advisory.affected:
        return Finding(Level.FIXED, file.path, f"it is that of {manifest.release}, which has no such flaw")
    return Finding(Level.ALTERED, file.path, "whether the flaw is in it cannot be told from the file", ask)


def _flaw(advisory: Advisory, place: Path) -> str:
    """Return what of the flaw is in a file, '' for nothing."""
    if any(file_hash(place) in file.flawed for file in advisory.files):
        return f"it is a file with the flaw of {advisory.id}, {advisory.title}"
    code = squeezed(place.read_text(encoding="utf-8", errors="replace"))
    if any(squeezed(fragment) in code for fragment in advisory.fragments):
        return f"code with the flaw of {advisory.id} is in it, {advisory.title}"
    return ""


def squeezed(code: str) -> str:
    """Return code without white space, so that neither indentation nor line breaks hide a piece of it."""
    return "".join(code.split())


def _code(project: Project) -> Iterator[Path]:
    """Return all code that may run: of the project, or of its two packages where only they are installed."""
    folders = [project.root] if project.root else [project.source / name for name in ("authserver", "app")]
    while folders:
        for place in sorted(folders.pop().iterdir()):
            if place.name.startswith(".") or place.name in _LEFT_OUT or place.is_symlink():
                continue
            if place.is_dir() and not (place / "pyvenv.cfg").exists():
                folders.append(place)
            elif place.suffix in _CODE and place.is_file():
                yield place
