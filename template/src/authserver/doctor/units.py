"""What doctor says of the systemd services that run this project: each fence that is gone, or has a gap.

`fences.conf` says what a service may do. The units of `deploy/systemd` take it from there, and here they are
compared with it: those that are installed, with their drop-ins, and those in the project.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from authserver.findings import Finding, note, unsafe
from authserver.folders import FOLDERS
from authserver.settings import CoreSettings

FENCES = Path(__file__).with_name("fences.conf")

_PLACES = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)
_YES = {"1": "yes", "true": "yes", "on": "yes", "0": "no", "false": "no", "off": "no"}
_EVERYBODY = {"any", "0.0.0.0/0", "::/0"}
# Lists of what is allowed: fewer are stricter, more are a gap, none at all is no fence.
_ALLOWED = {"IPAddressAllow", "RestrictAddressFamilies", "SystemCallArchitectures"}
# Here none at all is the fence.
_NONE = {"AmbientCapabilities", "CapabilityBoundingSet"}
# Lists of what is forbidden, line by line.
_FORBIDDEN = {"IPAddressDeny", "SystemCallFilter"}
# What makes a hole in a fence that is still there.
_HOLES = {"BindPaths", "DeviceAllow", "ReadWritePaths", "SupplementaryGroups"}

Lines = Mapping[str, list[str]]
"""Of each directive the values that hold, in their order; an empty one has taken back those before it."""


def weaker_unit(settings: CoreSettings) -> Iterator[Finding]:
    """Find that a service may do more than the one that was shipped.

    Source: NIST SP 800-53, controls AC-6 and CM-6.
    """
    del settings
    if FOLDERS.project is not None:
        for file in sorted((FOLDERS.project / "deploy" / "systemd").glob("*.service")):
            yield from _weaker(file.relative_to(FOLDERS.project).as_posix(), read([file]))
    for name, files in installed([Path(place) for place in _PLACES], Path(sys.prefix)):
        yield from _weaker(name, read(files))


def installed(places: list[Path], environment: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yield the services that run the commands of a virtual environment: their names, and all their files.

    As systemd finds them: the first place that has a unit counts, and of each name of a drop-in the first.
    """
    seen: set[str] = set()
    for place in places:
        for file in sorted(place.glob("*.service")):
            if file.name in seen or not file.is_file():
                continue
            seen.add(file.name)
            if f"{environment}/bin/" in file.read_text(encoding="utf-8", errors="replace"):
                drop_ins = {
                    each.name: each
                    for folder in reversed(places)
                    for each in (folder / f"{file.name}.d").glob("*.conf")
                }
                yield file.name, [file, *(drop_ins[name] for name in sorted(drop_ins))]


def read(files: list[Path]) -> Lines:
    """Return what the section [Service] of a unit and its drop-ins says in the end."""
    said: dict[str, list[str]] = {}
    for file in files:
        section = ""
        text = file.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
        for line in map(str.strip, text.splitlines()):
            name, equals, value = line.partition("=")
            if line.startswith("["):
                section = line
            elif equals and not line.startswith(("#", ";")) and section in ("", "[Service]"):
                values = said.setdefault(name.strip(), [])
                values[:] = [*values, value.strip()] if value.strip() else []
    return said


def _weaker(about: str, unit: Lines) -> Iterator[Finding]:
    for name, shipped in read([FENCES]).items():
        if (now := unit.get(name)) is None:
            yield unsafe(about, f"{name}={' '.join(shipped)} is gone", "Write it again")
        else:
            yield from _compared(about, name, shipped, now)
    for name in sorted(_HOLES & unit.keys()):
        for value in unit[name]:
            yield note(about, f"it was shipped without {name}={value}", "See that nothing more is needed")
    if any(line.startswith(("+", "!")) for name in unit if name.startswith("Exec") for line in unit[name]):
        yield unsafe(about, "a command of it runs without its fences", "Take + and ! from the Exec lines")
    if _last(unit.get("User", [])) in ("root", "no"):  # 0
        yield unsafe(about, "it runs as root", "Take the line User=root out")


def _compared(about: str, name: str, shipped: list[str], now: list[str]) -> Iterator[Finding]:
    again = f"Write {name}={' '.join(shipped)} again, or take the line out of the drop-in"
    if name in _ALLOWED:
        yield from _gaps(about, name, _words(shipped), _words(now))
    elif name in _FORBIDDEN:
        if missing := [line for line in shipped if line not in now]:
            yield unsafe(about, f"{name}={' '.join(missing)} is gone", again)
    elif name in _NONE:
        if given := sorted(_words(now)):
            yield unsafe(about, f"it has {name}={' '.join(given)}, and was shipped with none", again)
    elif _last(now) != _last(shipped):
        yield unsafe(about, f"it has {name}={_last(now)}, and was shipped with {_last(shipped)}", again)


def _gaps(about: str, name: str, shipped: set[str], now: set[str]) -> Iterator[Finding]:
    """Say what a list allows beyond what was shipped: one name more may be needed, everything never is."""
    everything = name != "IPAddressAllow" and not now
    if everything or not _EVERYBODY.isdisjoint(now) or any(word.startswith("~") for word in now):
        said = f"{name}={' '.join(sorted(now))}"
        yield unsafe(about, f"with {said} it is no fence", f"Write {name}={' '.join(sorted(shipped))} again")
    elif more := sorted(now - shipped):
        yield note(
            about, f"it was shipped without {name}={' '.join(more)}", "See that nothing more is needed"
        )


def _words(lines: list[str]) -> set[str]:
    return {word for line in lines for word in line.split()}


def _last(values: list[str]) -> str:
    last = values[-1] if values else ""
    return _YES.get(last.lower(), last)


RULES = (weaker_unit,)
