"""The rules of doctor, told by the rules themselves: `uv run python tests/doctor_page.py` writes the tables.

A rule is a function of a room with RULES. Its name, the first line and the source below it, and how bad it
can be what it finds, make a row of docs/doctor.md.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from rendering import AXES, REPOSITORY, choices

from authserver.doctor import certificate, components
from authserver.doctor.left_behind import left_behind
from authserver.doctor.manifest import changed_files
from authserver.doctor.signatures import signers_unknown
from authserver.findings import rule_name

PAGE = REPOSITORY / "docs" / "doctor.md"
COMMAND = "uv run python tests/doctor_page.py"
_BEGIN, _END = f"<!-- Made by {COMMAND}: do not edit below. -->", "<!-- Made: until here. -->"

Rule = Callable[..., Any]

_ROOMS = {
    "Addresses, limits and lifetimes": ("settings",),
    "Keys, secrets and code": ("secrets",),
    "Certificates": ("certificate",),
    "Backups, with `--backups FOLDER`": ("backups",),
    "What holds the server back": ("units", "containers", "process"),
    "The running store, and `app`": ("state", "components"),
}
# What is judged only where something else is the case.
_BESIDE: dict[str, Rule] = {
    "certificate": certificate.proxys_certificate_ends,
    "components": components.broken_app,
}


def rules() -> Iterator[tuple[str, list[Rule]]]:
    """Yield all rules, by what they are about."""
    for title, rooms in _ROOMS.items():
        found = [rule for room in rooms for rule in import_module(f"authserver.doctor.{room}").RULES]
        yield title, [*found, *(rule for room, rule in _BESIDE.items() if room in rooms)]
    yield "Files of the template", [changed_files, left_behind, signers_unknown]
    for axis in AXES:
        for choice in choices(axis):
            if of_choice := _of_choice(axis, choice):
                yield f"`{axis}` is `{choice}`", of_choice


def _of_choice(axis: str, choice: str) -> list[Rule]:
    module = import_module(f"authserver.{axis}.{choice}")
    if not (checks := getattr(module, "checks", None)):
        return []
    return [*import_module(checks.__module__).RULES]


def row(rule: Rule) -> str:
    """Return the row of a rule; raises AssertionError where it says too little of itself."""
    text = inspect.getdoc(rule) or ""
    told = re.fullmatch(r"Find that (.+?)\.\n\nSource: (.+?)\.(\n\n.*)?", text, re.DOTALL)
    assert told, f"{rule.__module__}.{rule.__name__}: Find that ... Source: ..."
    what = " ".join(told[1].split())
    cells = (f"`{rule_name(rule)}`", what[0].upper() + what[1:], _severity(rule), " ".join(told[2].split()))
    return f"| {' | '.join(cells)} |"


def _severity(rule: Rule) -> str:
    """Return how bad it is what a rule finds, its helpers among it."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(rule) or rule))
    functions = {
        node.name: {used.id for used in ast.walk(node) if isinstance(used, ast.Name)}
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    names, todo = set[str](), {rule.__name__}
    while todo:
        names |= todo
        todo = {used for name in todo for used in functions.get(name, ())} - names
    both = names & {"little_room", "survey"}
    return " or ".join(level for level in ("unsafe", "note") if both or level in names)


def written() -> str:
    """Return the page with its tables."""
    text = PAGE.read_text(encoding="utf-8")
    head = "| Rule | What it finds | How bad | Source |\n|---|---|---|---|"
    parts = ["\n".join((f"\n### {title}\n", head, *map(row, found))) for title, found in rules()]
    before, _, rest = text.partition(_BEGIN)
    return before + _BEGIN + "\n" + "\n".join(parts) + f"\n\n{_END}" + rest.partition(_END)[2]


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
