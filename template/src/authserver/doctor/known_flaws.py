"""Known flaws of the libraries that are installed here, from a file: nobody is asked.

The file holds records in the format of OSV (https://ossf.github.io/osv-schema/), as osv.dev publishes them
for PyPI in one zip.
"""

import json
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from importlib.metadata import distributions, entry_points
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from authserver import clock, limits
from authserver.errors import OperatorError
from authserver.findings import Finding, Level, note, unsafe

Record = Mapping[str, Any]


class FlawsError(OperatorError):
    """The file is no list of known flaws that can be read; the text says why, in one line."""


def installed() -> dict[str, Version]:
    """Return the version of each library that is installed here; not of the project itself."""
    own = {
        found.dist.name
        for found in entry_points(group="console_scripts")
        if found.value == "authserver.cli:main" and found.dist
    }
    return {
        canonicalize_name(library.name): Version(library.version)
        for library in distributions()
        if library.name not in own
    }


def judge(file: Path, libraries: Mapping[str, Version], accepted: Collection[str]) -> Iterator[Finding]:
    """Say which libraries have flaws that the file knows, but for the accepted ones (ids or aliases).

    Raises FlawsError where the file cannot be read, or knows nothing of PyPI.
    """
    newest, count = 0.0, 0
    unused = set(accepted)
    for name, record in _records(file):
        try:
            affected = [entry for entry in record.get("affected", ()) if _is_of_pypi(entry)]
            count += bool(affected)
            newest = max(newest, datetime.fromisoformat(record["modified"]).timestamp())
            names = {str(record["id"]), *record.get("aliases", ())}
            for entry in () if record.get("withdrawn") else affected:
                library = canonicalize_name(entry["package"]["name"])
                if library in libraries and is_affected(entry, libraries[library]):
                    unused -= names
                    yield _finding(library, libraries[library], record, entry, sorted(names & {*accepted}))
        except (LookupError, TypeError, ValueError, AttributeError):
            raise FlawsError(f"{file}: {name} is no record of OSV that can be read") from None
    if not count:
        raise FlawsError(f"{file}: it has no record of PyPI")
    yield from (note(name, "it was accepted, and nothing here has it") for name in sorted(unused))
    days = (clock.now() - newest) / 86_400
    if days > limits.KNOWN_FLAWS_DAYS:
        yield unsafe(str(file), f"its newest record is {days:.0f} days old", "Get a new one")


def is_affected(entry: Record, version: Version) -> bool:
    """Say whether a version is among the affected ones (OSV schema, "Evaluation").

    Where a range cannot be read, it is, unless all affected versions are listed.
    """
    listed = entry.get("versions")
    if version in map(_version, listed or ()):
        return True
    ranges = [one for one in entry.get("ranges", ()) if one["type"] != "GIT"]
    if not ranges:
        return listed is None
    try:
        return any(_is_in(one["events"], version) for one in ranges)
    except InvalidVersion:
        return listed is None


def _is_of_pypi(entry: Record) -> bool:
    return str(entry.get("package", {}).get("ecosystem", "")).partition(":")[0] == "PyPI"


def _version(text: str) -> Version | None:
    """Return a version, None where it is none that can be ordered (PEP 440)."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _is_in(events: Iterable[Record], version: Version) -> bool:
    """Say whether the last event up to a version leaves it flawed."""
    ordered = sorted(
        (Version(text), kind) for event in events for kind, text in event.items() if kind != "limit"
    )
    flawed = False
    for at, kind in ordered:
        if version > at or (version == at and kind != "last_affected"):
            flawed = kind == "introduced"
    return flawed


def _finding(library: str, version: Version, record: Record, entry: Record, accepted: list[str]) -> Finding:
    """Return one line about a flaw."""
    names = ", ".join([record["id"], *sorted(record.get("aliases", ()))])
    what = f"{names}: {record.get('summary') or record.get('details', '')[:200] or 'no summary'}"
    if accepted:
        return note(f"{library} {version}", f"{what}. It was accepted")
    fixed = {event["fixed"] for one in entry.get("ranges", ()) for event in one["events"] if "fixed" in event}
    later = [found for found in map(_version, fixed) if found and found > version]
    do = f"Update it: fixed in {min(later)}" if later else "No version without it is known"
    return Finding(Level.VULNERABLE, f"{library} {version}", what, do)


def _records(file: Path) -> Iterator[tuple[str, Record]]:
    """Yield each record of a zip, or of a folder, with the name of its file."""
    try:
        if file.is_dir():
            for path in sorted(file.glob("*.json")):
                yield path.name, json.loads(path.read_bytes())
            return
        with zipfile.ZipFile(file) as held:
            for name in held.namelist():
                if name.endswith(".json"):
                    yield name, json.loads(held.read(name))
    except OSError as error:
        raise FlawsError(f"{file}: {error.strerror}") from None
    except (zipfile.BadZipFile, ValueError) as error:
        raise FlawsError(f"{file}: it is neither a zip nor a folder of records of OSV: {error}") from None
