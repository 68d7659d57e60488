"""The tables in docs/security.md, made from the tests: `uv run python tests/attacks.py` writes them.

The test of an attack begins its docstring: "Attack 13, 20: what is done. Source: where it is described." The
numbers are those of the threats below. The name of the test says what must hold.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mutations import mutations
from rendering import REPOSITORY, TEMPLATE

DOCUMENT = REPOSITORY / "docs" / "security.md"
FOLDERS = (TEMPLATE / "tests" / "authserver", REPOSITORY / "tests")

THREATS = {
    "Authorization endpoint": {
        "1": "redirect URIs that differ a little",
        "2": "unknown clients, foreign redirect URIs",
        "3": "missing or weakened PKCE",
        "4": "requests that cannot be read",
        "5": "mix-up of issuers, a changed state",
        "6": "framing, caches, referrers, repeated posts",
    },
    "Sign-in and consent": {
        "7": "forged, replayed and moved consent; fixed sessions",
        "7b": "remembered consent",
        "8": "stored script, open redirects, remote logos",
        "9": "redirects that a browser's policy stops",
        "10": "guessing, enumeration, storms of sign-ins",
        "11": "one-time passwords (TOTP)",
        "11b": "passkeys",
        "11c": "LDAP",
        "11d": "sign-in by a proxy's header",
        "12": "one-time links, sessions that outlive their user",
    },
    "Token endpoint": {
        "13": "stolen, replayed and raced codes",
        "14": "killing grants of others by replay",
        "15": "a wrong resource",
        "16": "stolen, replayed and raced refresh tokens",
        "17": "client authentication",
        "18": "storage that is down",
    },
    "Tokens and the MCP endpoint": {
        "19": "signed tokens (JWT)",
        "20": "tokens of another kind, place or resource",
        "21": "MCP sessions, foreign hosts and origins, large bodies",
    },
    "Registration and client metadata documents": {
        "22": "unsafe and endless registrations",
        "23": "client metadata documents",
    },
    "Revocation, introspection, metadata": {
        "24": "revocation of and by others",
        "24b": "introspection",
        "25": "addresses taken from a request",
    },
    "At rest and in the log": {"26": "secrets in clear"},
    "Always": {
        "27": "fuzz, random walks, growth",
        "28": "kill -9, power cuts",
        "29": "outbound connections",
    },
    "What is under way": {"30": "sign-ins, links and consents beside what ends access"},
    "Shares": {"32": "pots that one stranger empties for all"},
    "Redirects": {"33": "people sent to what a stranger named"},
    "Stores and clocks that lie": {"34": "what is empty, old or somewhere else"},
    "The operator's desk": {"41": "changes unseen, texts that act on a terminal, secrets in a traceback"},
    "The security channel": {"40": "advisories, releases and weekly jobs that others made or changed"},
    "The user's own hands": {"31": "a guard in the wrong place, a scope that nobody defined"},
}

_DOCSTRING = re.compile(r"Attack ([0-9a-z, ]+): (.+?)\. Source: (.+)\.")
_BEGIN = "<!-- Made from the tests by tests/attacks.py: do not edit below. -->\n"


@dataclass(frozen=True)
class Attack:
    """One test of an attack."""

    threats: tuple[str, ...]
    what: str
    source: str
    promise: str
    path: Path

    def row(self) -> str:
        """Return its row of the table."""
        link = f"[{self.promise}](../{self.path.relative_to(REPOSITORY).as_posix()})"
        what = self.what[0].upper() + self.what[1:]
        return f"| {', '.join(self.threats)} | {what} | {link} | {self.source} |"


def attacks() -> Iterator[Attack]:
    """Return the attacks that the tests name; raises ValueError where a docstring cannot be read."""
    known = {number for threats in THREATS.values() for number in threats}
    for path in sorted(path for folder in FOLDERS for path in folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            paragraph = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
            if not paragraph.startswith("Attack"):
                continue
            found = _DOCSTRING.fullmatch(paragraph)
            threats = tuple(found[1].split(", ")) if found else ()
            if not found or not known.issuperset(threats):
                raise ValueError(f"{path}: {node.name}: {paragraph}")
            promise = node.name.removeprefix("test_").replace("_", " ")
            yield Attack(threats, found[2], found[3], promise, path)


def tables() -> str:
    """Return a table for each section of the threats, and what no test attacks."""
    found = list(attacks())
    lines = []
    for section, threats in THREATS.items():
        lines += [
            f"\n### {section}\n",
            " · ".join(f"**{number}** {what}" for number, what in threats.items()),
        ]
        order = list(threats)
        ranked = [
            (min(order.index(number) for number in attack.threats if number in threats), attack.row())
            for attack in found
            if not threats.keys().isdisjoint(attack.threats)
        ]
        if ranked:
            lines += ["", "| | Attack | What must hold: the test | Source |", "|---|---|---|---|"]
            lines += [row for _, row in sorted(ranked, key=lambda pair: pair[0])]
    attacked = {number for attack in found for number in attack.threats}
    missing = [
        f"* **{number}** {what}"
        for threats in THREATS.values()
        for number, what in threats.items()
        if number not in attacked
    ]
    lines += ["\n### Not attacked by any test\n", *missing]
    lines += [f"\nTests of attacks: {len(found)}. Guards taken away: {len(mutations())}."]
    return "\n".join(lines) + "\n"


def document() -> str:
    """Return what docs/security.md must be: its own text, then the tables."""
    text, begin, _ = DOCUMENT.read_text(encoding="utf-8").partition(_BEGIN)
    return text + begin + tables()


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
