"""The table in docs/audit.md, made from `audit.py`: `uv run python tests/events.py` writes it.

The docstring below an event says when it is written and ends with its facts: "When. Facts: client, grant."
"""

import ast
import re
from collections import defaultdict
from dataclasses import dataclass

from rendering import REPOSITORY, TEMPLATE

DOCUMENT = REPOSITORY / "docs" / "audit.md"
SOURCE = TEMPLATE / "src" / "authserver"

_DOCSTRING = re.compile(r"(.+?\.)(?:\s+Facts: ([a-z_]+(?:, [a-z_]+)*)\.)?\s*", re.DOTALL)
_BEGIN = "<!-- Made from audit.py by tests/events.py: do not edit below. -->\n"


@dataclass(frozen=True)
class Described:
    """One event, as its docstring describes it."""

    name: str
    when: str
    facts: tuple[str, ...]


def described() -> dict[str, Described]:
    """Return the events by their names in Python; raises ValueError where a docstring cannot be read."""
    tree = ast.parse((SOURCE / "audit.py").read_text(encoding="utf-8"))
    [members] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Event"]
    found = {}
    for member, docstring in zip(members, [*members[1:], None], strict=True):
        match member, docstring:
            case (
                ast.Assign([ast.Name(name)], ast.Constant(str(event))),
                ast.Expr(ast.Constant(str(text))),
            ) if parts := _DOCSTRING.fullmatch(text):
                facts = tuple(parts[2].split(", ")) if parts[2] else ()
                found[name] = Described(event, " ".join(parts[1].split()), facts)
            case ast.Assign(), _:
                raise ValueError(f"audit.py, line {member.lineno}: no docstring 'When. Facts: ...'")
    return found


def written() -> dict[str, set[str]]:
    """Return the events that the code writes, by their names in Python, and with which facts.

    Where a call takes its event from a variable, that is any of those that the file names elsewhere.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for path in SOURCE.rglob("*.py"):
        named, called, loose = set(), set(), set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(ast.Name("Event"), name):
                    named.add(name)
                case ast.Call(ast.Name("audit"), [event], keywords):
                    facts = {str(keyword.arg) for keyword in keywords}
                    match event:
                        case ast.Attribute(ast.Name("Event"), name):
                            called.add(name)
                            found[name] |= facts
                        case _:
                            loose |= facts
        for name in named - called:
            found[name] |= loose
    return found


def document() -> str:
    """Return what docs/audit.md must be: its own text, then the table."""
    text, begin, _ = DOCUMENT.read_text(encoding="utf-8").partition(_BEGIN)
    rows = [
        f"| `{event.name}` | {event.when} | {', '.join(f'`{fact}`' for fact in event.facts) or 'none'} |"
        for event in described().values()
    ]
    return text + begin + "\n".join(["", "| Event | When | Facts |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
