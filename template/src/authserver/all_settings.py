"""The settings of this project: those of every project (`settings.py`) and those of its choices."""

import difflib
import os
from collections.abc import Iterable
from functools import cache

from dotenv import dotenv_values
from pydantic import ValidationError

from authserver import choices
from authserver.settings import SettingsError


class Settings(choices.login.Settings, choices.storage.Settings, choices.tokens.Settings):
    """Everything an operator can set. The login stands first: its default of a field that all have holds."""


@cache
def load_settings() -> Settings:
    """Return the settings of this process; raises SettingsError."""
    _refuse_misspelt([*os.environ, *dotenv_values(".env")])
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise SettingsError(message) from None
        name = str(first["loc"][0])
        example = (Settings.model_fields[name].examples or [""])[0]
        variable = f"AUTH_{name.upper()}"
        raise SettingsError(f"{variable}: {message}. Example: {variable}={example}") from None


def _refuse_misspelt(variables: Iterable[str]) -> None:
    known = [f"AUTH_{name.upper()}" for name in Settings.model_fields]
    for variable in variables:
        if variable.startswith("AUTH_") and variable not in known:
            alike = difflib.get_close_matches(variable, known, n=1, cutoff=0.9)
            if alike:
                raise SettingsError(f"{variable}: there is no such setting. Did you mean {alike[0]}?")
