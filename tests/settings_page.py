"""What can be set, told by the settings themselves: `uv run python tests/settings_page.py` writes it.

The text of a setting stands below it, in the class `Settings` of its room. From there come, line by line,
`.env.example.jinja` and its twin, for whoever runs a project, and docs/settings.md, with the settings of all
choices. Copier cannot run Python, so what it renders is made here and committed.
"""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from jinja2 import Environment
from rendering import AXES, DEFAULTS, REPOSITORY, TEMPLATE, choices, questions

from authserver.settings import CoreSettings

COMMAND = "uv run python tests/settings_page.py"

WRITTEN = (
    TEMPLATE / ".env.example.jinja",
    TEMPLATE / ".env.example",
    REPOSITORY / "docs" / "settings.md",
)

Settings = type[CoreSettings]

# After which setting of all projects those of an axis stand: first comes what a start may need.
_AFTER = {"public_url": ("storage",), "secret_key_previous": ("login", "tokens")}

_BEGIN = """\
# Every setting with its default. Copy the lines you need to .env, or set them in the environment.
# A mistake stops the start with one line that says what is wrong.

"""
_END = """\
# Above: what authserver knows, kept current by copier update.
# Below: yours.
"""
_PAGE = f"""\
# Settings

Environment variables, or lines of `.env`. A project has those of every project and those of its choices: its
`.env.example` lists them. A mistake stops the start with one line that says what is wrong.

<!-- Made from the classes `Settings`. Do not edit: {COMMAND} -->
"""


def written() -> dict[Path, str]:
    """Return what the files have to hold that are made here."""
    jinja = example()
    # No page: what is not escaped are lines of a file.
    default = Environment(keep_trailing_newline=True, autoescape=False).from_string(jinja)
    return dict(zip(WRITTEN, (jinja, default.render(DEFAULTS), page()), strict=True))


def of_choice(axis: str, choice: str) -> Settings:
    """Return the settings that a choice has, those of all projects among them."""
    found: Settings = import_module(f"authserver.{axis}.{choice}").Settings
    return found


def without_text() -> list[str]:
    """Return the settings that say nothing of themselves. The file with a secret stands with the secret."""
    rooms = [CoreSettings]
    for axis in AXES:
        for choice in choices(axis):
            rooms += _beyond_core(of_choice(axis, choice))
    return [
        f"{room.__module__}.{room.__name__}.{name}"
        for room in dict.fromkeys(rooms)
        for name in _names(room)
        if not _own(room)[name]
    ]


def _beyond_core(settings: Settings) -> list[Settings]:
    """Return a class of settings, and those that it shares with other choices."""
    line = (room for room in settings.__mro__ if issubclass(room, CoreSettings))
    return [room for room in line if room is not CoreSettings]


@cache
def _own(room: Settings) -> Mapping[str, str]:
    """Return the settings that a class itself names, in its order, each with the text below it or none."""
    [body] = [node.body for node in ast.parse(inspect.getsource(room)).body if isinstance(node, ast.ClassDef)]
    found = {}
    for node, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        match node, after:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                found[name] = inspect.cleandoc(text)
            case ast.AnnAssign(target=ast.Name(name)), _:
                found[name] = ""
    return found


def _names(room: Settings) -> list[str]:
    """Return the settings that have a text of their own: all but the files of secrets."""
    return [name for name in _own(room) if name.removesuffix("_file") not in {*_own(room)} - {name}]


def _text(room: Settings, name: str) -> str:
    """Return the text of a setting. One of all projects that a choice sets anew adds what is different."""
    shared = [_own(CoreSettings)[name]] if room is not CoreSettings and name in _own(CoreSettings) else []
    return "\n".join([*shared, _own(room)[name]])


# ------------------------------------------------------------------------------------------- .env.example


def example() -> str:
    """Return the text of `.env.example.jinja`."""
    parts = []
    for name in _names(CoreSettings):
        changed = {
            f"{axis} == '{choice}'": _block(room, name)
            for axis in AXES
            for choice in choices(axis)
            for room in _beyond_core(of_choice(axis, choice))
            if name in _own(room)
        }
        block = _block(CoreSettings, name)
        parts.append(f"{_cases(changed)}{{% else -%}}\n{block}{_ENDIF}" if changed else block)
        for axis in _AFTER.get(name, ()):
            added = {f"{axis} == '{choice}'": _added(of_choice(axis, choice)) for choice in choices(axis)}
            parts.append(_cases({answer: blocks for answer, blocks in added.items() if blocks}) + _ENDIF)
    return f"{_BEGIN}{''.join(parts)}{_END}"


_ENDIF = "{% endif -%}\n"


def _cases(cases: Mapping[str, str]) -> str:
    opened = "".join(f"{{% elif {answer} -%}}\n{blocks}" for answer, blocks in cases.items())
    return opened.replace("elif", "if", 1)


def _added(settings: Settings) -> str:
    """Return the settings that a choice adds: its own, then those that it shares."""
    return "".join(
        _block(room, name)
        for room in _beyond_core(settings)
        for name in _names(room)
        if name not in _own(CoreSettings)
    )


def _block(room: Settings, name: str) -> str:
    lines = [*_text(room, name).splitlines(), *_assignments(room, name)]
    return "".join(f"# {line}\n" for line in lines) + "\n"


def _assignments(room: Settings, name: str) -> list[str]:
    """Return the lines that set a setting to its default, and a file to none."""
    names = [name, f"{name}_file"] if f"{name}_file" in _own(room) else [name]
    return [f"AUTH_{one.upper()}={_default(room, one)}" for one in names]


def _default(room: Settings, name: str) -> str:
    field = room.model_fields[name]
    value = field.get_default()
    if field.is_required() or value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


# ------------------------------------------------------------------------------------------------- the page


def page() -> str:
    """Return docs/settings.md: the settings of all choices, by room."""
    parts = [_PAGE, _section("## Every project", CoreSettings)]
    for axis in AXES:
        parts.append(f"\n## {axis.capitalize()}\n")
        labels = {value: label for label, value in questions()[axis]["choices"].items()}
        sharing: dict[Settings, list[str]] = {}
        for choice in choices(axis):
            for room in _beyond_core(of_choice(axis, choice)):
                sharing.setdefault(room, []).append(choice)
        for room, chosen in sorted(sharing.items(), key=lambda item: len(item[1])):
            title = " and ".join(f"`{choice}`" for choice in chosen)
            parts.append(
                _section(f"### {title}" + (f": {labels[chosen[0]]}" if len(chosen) == 1 else ""), room)
            )
    return "".join(parts)


def _section(heading: str, room: Settings) -> str:
    entries = [
        textwrap.fill(
            f"* {_assigned(room, name)}: {' '.join(_text(room, name).split())}",
            width=120,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name in _names(room)
    ]
    return "\n".join(
        ["", heading, "", inspect.cleandoc(room.__doc__ or ""), *([""] if entries else []), *entries, ""]
    )


def _assigned(room: Settings, name: str) -> str:
    shown = ", ".join(f"`{line}`" for line in _assignments(room, name))
    field = room.model_fields[name]
    [given] = field.examples or [""]
    return f"{shown} (must be set, for example `{given}`)" if field.is_required() else shown


if __name__ == "__main__":
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
