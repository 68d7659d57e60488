"""The branding of the pages: `app/branding/`, which is the user's."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from authserver import limits
from authserver.settings import SettingsError


@dataclass(frozen=True)
class Branding:
    """What the user may change about the look of the pages. `footer` has labels and addresses."""

    name: str = ""
    accent: str = "#2f5bd0"
    accent_dark: str = "#9db7ff"
    banner: str = ""
    footer: Mapping[str, str] = field(default_factory=dict)
    logo: bytes | None = None
    style: bytes | None = None


@cache
def load() -> Branding:
    """Return the branding, defaults where the user has none; raises SettingsError."""
    try:
        folder = resources.files("app") / "branding"
    except ModuleNotFoundError:
        return Branding()
    file = folder / "branding.toml"
    try:
        values = tomllib.loads((_read(file) or b"").decode())
        _check(values)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{file}: {error}") from None
    style = _read(folder / "style.css")
    if style and len(style) > limits.MAXIMUM_STYLE_BYTES:
        raise SettingsError(f"{folder / 'style.css'}: it is larger than {limits.MAXIMUM_STYLE_BYTES} bytes")
    return replace(Branding(**values), logo=_read(folder / "logo.svg"), style=style)


def readable_on(colour: str) -> str:
    """Return black or white, whichever has more contrast on `#rrggbb`; never below 4.5:1 (WCAG)."""
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    luminance = 0.2126 * _linear(red) + 0.7152 * _linear(green) + 0.0722 * _linear(blue)
    return "#000000" if luminance > 0.179 else "#ffffff"


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _read(file: Traversable) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _check(values: dict[str, Any]) -> None:
    known = {"name", "accent", "accent_dark", "banner", "footer"}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{name!r} is unknown, only {', '.join(sorted(known))} can be set")
        if name == "footer":
            _check_footer(value)
        elif not isinstance(value, str):
            raise TypeError(f"{name} must be text in quotes")
        elif name.startswith("accent") and not re.fullmatch("#[0-9A-Fa-f]{6}", value):
            raise ValueError(f'{name} must be a colour like "#2f5bd0"')


def _check_footer(links: Any) -> None:
    if not isinstance(links, dict):
        raise TypeError('footer must be a table: a line [footer], then "Imprint" = "https://example.com/"')
    for label, address in links.items():
        # Anything else, such as javascript:, could do more than lead to a page.
        if not isinstance(address, str) or not re.match(r"(https?://|mailto:|/(?!/))", address):
            raise ValueError(f"{label!r} in footer must lead to an address: https, mailto, or a path here")
