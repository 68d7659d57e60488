"""What doctor finds: one line each."""

from dataclasses import dataclass
from enum import StrEnum


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

    @property
    def harmless(self) -> bool:
        """Whether a server may run in production with it."""
        return self.level in _HARMLESS

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.level}: {self.about}: {self.what}.{self.do and f' {self.do}.'}"


def unsafe(about: str, what: str, do: str) -> Finding:
    """Return something that has to change before a server runs in production."""
    return Finding(Level.UNSAFE, about, what, do)


def note(about: str, what: str, do: str = "") -> Finding:
    """Return something that an operator should know."""
    return Finding(Level.NOTE, about, what, do)
