"""The branding of the pages: `app/branding/`, which is the user's."""

import re
import tomllib
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources
from typing import Any

from authserver.settings import SettingsError


@dataclass(frozen=True)
class Branding:
    """What the user may change about the look of the pages."""

    name: str = ""
    accent: str = "#2f5bd0"
    accent_dark: str = "#9db7ff"
    banner: str = ""
    logo: bytes | None = None


@cache
def load() -> Branding:
    """Return the branding, defaults where the user has none; raises SettingsError."""
    try:
        folder = resources.files("app") / "branding"
    except ModuleNotFoundError:
        return Branding()
    file, logo = folder / "branding.toml", folder / "logo.svg"
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        _check(values)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{file}: {error}") from None
    return replace(Branding(**values), logo=logo.read_bytes() if logo.is_file() else None)


def readable_on(colour: str) -> str:
    """Return black or white, whichever has more contrast on `#rrggbb`; never below 4.5:1 (WCAG)."""
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    luminance = 0.2126 * _linear(red) + 0.7152 * _linear(green) + 0.0722 * _linear(blue)
    return "#000000" if luminance > 0.179 else "#ffffff"


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _check(values: dict[str, Any]) -> None:
    known = [field.name for field in fields(Branding) if field.name != "logo"]
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{name!r} is unknown, only {', '.join(known)} can be set")
        if not isinstance(value, str):
            raise TypeError(f"{name} must be text in quotes")
        if name.startswith("accent") and not re.fullmatch("#[0-9A-Fa-f]{6}", value):
            raise ValueError(f'{name} must be a colour like "#2f5bd0"')
