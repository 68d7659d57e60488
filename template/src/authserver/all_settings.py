"""The settings of this project: those of every project (`settings.py`) and those of its choices."""

import difflib
import io
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import ValidationError

from authserver import choices
from authserver.folders import ENV, FOLDERS, in_the_project
from authserver.settings import SettingsError

# How alike a misspelt setting is to the one that was meant (difflib's ratio).
_ALIKE = 0.9
# As shells, PowerShell, Docker and systemd write a setting, or somebody in a hurry.
_MEANT = re.compile(
    r"\W*(?:(?:export|setx?|setenv|env|arg|declare|typeset|readonly|local|environment)(?:\s+[-/]\w+)*\W+)?"
    r"AUTH(?:_|[^\w=]+)\w",
    re.IGNORECASE,
)
_SETTING = re.compile(r"^\s*(?:export\s+)?AUTH_\w+\s*=", re.IGNORECASE | re.MULTILINE)


class Settings(choices.login.Settings, choices.storage.Settings, choices.tokens.Settings):
    """Everything an operator can set. The login stands first: its default of a field that all have holds."""


@cache
def load_settings() -> Settings:
    """Return the settings of this process; raises SettingsError."""
    _refuse_another_env_file()
    _refuse_unreadable_lines(in_the_project(ENV))
    written = _variables(in_the_project(ENV))
    variables = {**written, **os.environ}
    # In our own file every `AUTH_` is meant for us; the environment may hold those of other programs.
    _refuse_misspelt(written, cutoff=0)
    _refuse_misspelt(os.environ, cutoff=_ALIKE)
    _refuse_unnamed_files(variables)
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise SettingsError(message) from None
        name = str(first["loc"][0])
        raise SettingsError(f"{_variable(name)}: {message}. {_example(name)}") from None


def empty_files() -> list[str]:
    """Return the settings that should name a file and are empty: as if they were not set."""
    variables = {**_variables(in_the_project(ENV)), **os.environ}
    return [_variable(name) for name in Settings.model_fields if _is_empty_file(name, variables)]


def unknown_variables() -> list[str]:
    """Return what the environment holds that begins like a setting and is none."""
    return [variable for variable in os.environ if _is_unknown(variable)]


def _variable(name: str) -> str:
    return f"AUTH_{name.upper()}"


def _example(name: str) -> str:
    return f"Example: {_variable(name)}={(Settings.model_fields[name].examples or [''])[0]}"


def _variables(file: Path) -> Mapping[str, str | None]:
    """Return what a file of settings says, '' as '' and not as nothing; raises SettingsError."""
    return dotenv_values(stream=io.StringIO(_text(file)))


def _text(file: Path) -> str:
    """Return a file of settings, '' where there is none; raises SettingsError."""
    try:
        if file.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise SettingsError(f"{file}: cannot be read ({reason}). Example: cp .env.example .env") from None


def _refuse_unreadable_lines(file: Path) -> None:
    """Refuse lines that set nothing of ours: without them a default would hold that nobody chose.

    What else is no setting is passed over, such as the text of the example without its comment marks.
    """
    for binding in parse_stream(io.StringIO(_text(file))):
        text = binding.original.string
        line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        # A quote that ends lines later swallows the settings between; a name alone sets nothing.
        swallows = _SETTING.search((binding.value or "").partition("\n")[2])
        named = re.match("AUTH_", binding.key or "", re.IGNORECASE)
        unreadable = (binding.error or binding.key) and not named and _MEANT.match(text)
        alone = binding.key is not None and binding.value is None and _SETTING.match(f"{binding.key}=")
        if unreadable or swallows or alone:
            raise SettingsError(
                f"{file}, line {line}: this sets nothing, or its quote has no end."
                " Example: AUTH_PUBLIC_URL=https://mcp.example.com"
            )


def _refuse_another_env_file() -> None:
    """Refuse settings where the server is started, which is not where the project is: they are not read."""
    here, project = ENV.absolute(), FOLDERS.project
    if project is None or here.parent == project or not here.exists():
        return
    if unread := sorted({_variable(name) for name in Settings.model_fields} & _variables(here).keys()):
        raise SettingsError(
            f"{unread[0]}: {here} is not read, since the project is in {project}."
            f" Example: mv {here} {project / ENV}"
        )


def _refuse_misspelt(variables: Mapping[str, str | None], *, cutoff: float) -> None:
    known = [_variable(name) for name in Settings.model_fields]
    for variable in filter(_is_unknown, variables):
        if alike := difflib.get_close_matches(variable.upper(), known, n=1, cutoff=cutoff):
            raise SettingsError(f"{variable}: there is no such setting. Did you mean {alike[0]}?")


def _is_unknown(variable: str) -> bool:
    name = variable.upper()
    return name.startswith("AUTH_") and name.removeprefix("AUTH_").lower() not in Settings.model_fields


def _refuse_unnamed_files(variables: Mapping[str, str | None]) -> None:
    """Refuse an empty name of a file with a secret where the secret is not spoken of: it was to be there."""
    for name in Settings.model_fields:
        secret = name.removesuffix("_file")
        if (
            secret != name
            and secret in Settings.model_fields
            and _is_empty_file(name, variables)
            and _variable(secret) not in variables
        ):
            raise SettingsError(f"{_variable(name)}: it is set, but empty. {_example(name)}")


def _is_empty_file(name: str, variables: Mapping[str, str | None]) -> bool:
    return name.endswith("_file") and variables.get(_variable(name)) == ""
