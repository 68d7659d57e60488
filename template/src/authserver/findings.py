"""What doctor finds: one line each, by rules. A rule is a function, and its name is that of the rule."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

_MEBIBYTE = 1 << 20
_LITTLE_MEBIBYTES = 1024
_FULL_MEBIBYTES = 100


class Level(StrEnum):
    """How bad it is."""

    UNSAFE = "unsafe"
    NOTE = "note"

    # What an advisory means for a file.
    VULNERABLE = "vulnerable"
    ALTERED = "altered"
    MISSING = "missing"
    FIXED = "fixed"
    NOT_AFFECTED = "not affected"
    NOT_VERIFIED = "not verified"


_HARMLESS = (Level.NOTE, Level.FIXED, Level.NOT_AFFECTED)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: the setting or file, what is the matter with it, and what to do, if anything."""

    level: Level
    about: str
    what: str
    do: str = ""
    rule: str = ""

    @property
    def harmless(self) -> bool:
        """Whether a server may run in production with it."""
        return self.level in _HARMLESS

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.level}: {self.about}: {self.what}.{self.do and f' {self.do}.'}"

    def row(self) -> dict[str, str]:
        """Return it for programs: these names, those of the rules and the two severities stay."""
        return {
            "rule": self.rule,
            "severity": self.level,
            "about": self.about,
            "finding": self.what,
            "remedy": self.do,
        }


def unsafe(about: str, what: str, do: str) -> Finding:
    """Return something that has to change before a server runs in production."""
    return Finding(Level.UNSAFE, about, what, do)


def note(about: str, what: str, do: str = "") -> Finding:
    """Return something that an operator should know."""
    return Finding(Level.NOTE, about, what, do)


def judged(rules: Iterable[Callable[..., Iterable[Finding]]], *of: Any) -> Iterator[Finding]:
    """Return what rules find, each finding with the name of its rule."""
    for rule in rules:
        for finding in rule(*of):
            yield replace(finding, rule=rule_name(rule))


async def judged_live(
    rules: Iterable[Callable[..., AsyncIterator[Finding]]], *of: Any
) -> AsyncIterator[Finding]:
    """Return what rules find that have to ask a storage or a server."""
    for rule in rules:
        async for finding in rule(*of):
            yield replace(finding, rule=rule_name(rule))


def rule_name(rule: Callable[..., Any]) -> str:
    """Return the name of a rule: what is printed for programs, and what docs/doctor.md lists."""
    return rule.__name__.replace("_", "-")


def little_room(about: str, folder: Path) -> Iterator[Finding]:
    """Say so where the disk below a folder is full, or nearly so."""
    free = shutil.disk_usage(folder).free // _MEBIBYTE
    if free < _LITTLE_MEBIBYTES:
        judge = unsafe if free < _FULL_MEBIBYTES else note
        yield judge(about, f"only {free} MiB are free in {folder}", "Make room")
