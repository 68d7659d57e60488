"""What one release of the template owes to projects of all releases before it.

Each broken promise is one line that says what is wrong. Until 1.0.0 a path may be taken away if UPGRADING.md
names it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, nodes

Settings = Mapping[str, Any]
"""What copier.yml says."""

# With one of these, `copier update` asks for --trust; one release is enough to ask for it for ever.
_NEEDS_TRUST = ("_tasks", "_migrations", "_jinja_extensions")


def broken(settings: Settings) -> Iterator[str]:
    """Look at one release by itself."""
    for key in (*_NEEDS_TRUST, "_secret_questions", "_envops"):
        if key in settings:
            yield f"{key}: updates need trust, or ask again"
    for name, question in _questions(settings).items():
        if question.get("secret"):
            yield f"{name}: a secret is asked for again by each update"
        if "_copier_operation" in str(question):
            yield f"{name}: _copier_operation is known in _exclude only"
    for entry in settings["_exclude"]:
        yield from _broken_exclusion(settings, entry)


def _broken_exclusion(settings: Settings, entry: str) -> Iterator[str]:
    environment = Environment(autoescape=True)
    parsed = environment.parse(entry)
    guarded = set()
    for filtered in parsed.find_all(nodes.Filter):
        if filtered.name == "default" and isinstance(filtered.node, nodes.Name):
            question = _questions(settings).get(filtered.node.name)
            [value] = [argument.as_const() for argument in filtered.args]
            if question and value == question["default"]:
                guarded.add(id(filtered.node))
    for name in parsed.find_all(nodes.Name):
        if name.name != "_copier_operation" and id(name) not in guarded:
            yield f"_exclude: {name.name} is read without its default: projects without it cannot be updated"
    for operation in ("copy", "update"):
        for line in environment.from_string(entry).render(_copier_operation=operation).splitlines():
            if line.strip().endswith("/"):
                yield f"_exclude: {line.strip()}: with a slash at its end it excludes nothing"


def broken_since(old: Settings, new: Settings) -> Iterator[str]:
    """Look at the questions of a release and of a later one."""
    for name, asked in _questions(old).items():
        question = _questions(new).get(name)
        if question is None:
            yield f"{name}: the question is gone"
            continue
        for choice in set(asked.get("choices", {}).values()) - set(question.get("choices", {}).values()):
            yield f"{name}: {choice} is no choice any more: projects would silently get the default"
        if asked.get("when") is not False and question["default"] != asked["default"]:
            yield f"{name}: the default was {asked['default']}: only new projects may get another, by `born`"


def missing_paths(old: set[str], new: set[str], version: str, upgrading: str) -> Iterator[str]:
    """Look at the paths of a project of a release, and of one with the same answers now."""
    for path in sorted(old - new):
        if not version.startswith("0.") or f"`{path}`" not in upgrading:
            yield f"{path}: renamed or removed: what users changed there would be lost"


def _questions(settings: Settings) -> dict[str, Any]:
    return {name: question for name, question in settings.items() if not name.startswith("_")}
