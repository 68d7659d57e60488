"""The languages of the pages: one file for each in `strings/`, chosen by what the browser prefers."""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape
from starlette.requests import Request

from authserver import limits

DEFAULT = "en"

_FOLDER = Path(__file__).parent / "strings"
_PREFERENCE = re.compile(r"([a-z0-9-]{1,35}|\*)(?:;q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")
_ENGLISH = Markup(' lang="en"')
# Parameters that are addresses of this server, as its operator set them: what is told is a step away.
_OURS = ("account", "expected")


class Language:
    """All texts of the pages in one language; in English what its file does not have."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._texts = _read(DEFAULT) | _read(name)

    def knows(self, key: str) -> bool:
        """Say whether there is a text of that key."""
        return key in self._texts

    def t(self, key: str, /, **params: object) -> str:
        """Return the text of that key, dots between its tables; raises KeyError."""
        return self._texts[key].format(**params)

    def rich(self, key: str, /, **params: object) -> Markup:
        """Return the text as HTML; raises KeyError.

        What stands between backticks becomes code. Parameters are escaped and isolated: text in them
        cannot change the direction of the line around it. A `detail` is English in every language, and what
        is in `_OURS` a link.
        """
        text = re.sub("`(.+?)`", r"<code>\1</code>", str(escape(self._texts[key])))
        isolated = {
            name: Markup('<a href="{0}"><bdi>{0}</bdi></a>').format(value)
            if name in _OURS
            else Markup("<bdi{}>{}</bdi>").format(_ENGLISH if name == "detail" else "", value)
            for name, value in params.items()
        }
        return Markup(text).format(**isolated)  # noqa: S704  # our own text, escaped above


@cache
def language(name: str = DEFAULT) -> Language:
    """Return the language of that name."""
    return Language(name)


def spoken(request: Request) -> Language:
    """Return the language to answer a request in."""
    return preferred(",".join(request.headers.getlist("accept-language")))


def preferred(accept_language: str) -> Language:
    """Return the language that a browser prefers of those there are, by default English.

    RFC 9110 section 12.5.4, with the lookup of RFC 4647 section 3.4: a browser that asks for de-AT gets de.
    """
    items = re.sub(r"[ \t]", "", accept_language.lower()).split(",")[: limits.MAXIMUM_LANGUAGES]
    wanted = [(float(found[2] or 1), found[1]) for found in map(_PREFERENCE.fullmatch, items) if found]
    for quality, tag in sorted(wanted, key=lambda pair: pair[0], reverse=True):
        name = _look_up(tag) if quality > 0 else None
        if name is not None:
            return language(name)
    return language()


def _look_up(tag: str) -> str | None:
    while tag and tag not in names():
        tag = tag.rpartition("-")[0]
    return names().get(tag)


@cache
def names() -> dict[str, str]:
    """Return the languages there are, by their names in lower case; any (`*`) is the default one."""
    return {"*": DEFAULT} | {path.stem.lower(): path.stem for path in _FOLDER.glob("*.toml")}


def _read(name: str) -> dict[str, str]:
    return dict(_flatten(tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))))


def _flatten(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
