"""How people sign in, with a browser: one module for each login, named after it."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import httpx2

from authserver import choices

if TYPE_CHECKING:
    from person import Person


class Way(Protocol):
    """The way in. The module offers it as WAY."""

    def settings(self) -> dict[str, str]:
        """Return what a server must be set to, so that people can sign in."""

    def join(self, person: "Person", link: str) -> httpx2.Response:
        """Get an account, by the one-time link where this login uses them; end signed in."""

    def asks(self, page: httpx2.Response) -> bool:
        """Say whether a page asks to sign in."""

    def sign_in(self, person: "Person", page: httpx2.Response) -> httpx2.Response:
        """Do what the page asks; return the next one."""


@cache
def chosen() -> Way:
    """Return the way of the chosen login."""
    way: Way = import_module(f"logins.{choices.login.__name__.rpartition('.')[2]}").WAY
    return way
