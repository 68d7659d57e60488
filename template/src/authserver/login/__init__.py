"""The Login protocol: how people sign in.

A login knows no SQL and no client. It makes sure who somebody is, then hands over to `browser.sign_in`.
"""

from typing import Protocol

import anyio
from starlette.routing import Route


class Login(Protocol):
    """One way to sign in. The module offers `create(server)`."""

    @property
    def routes(self) -> list[Route]:
        """The pages of this login: `/login`, and `/invite/{token}` where one-time links are used."""

    @property
    def accounts_elsewhere(self) -> str | None:
        """Where accounts come from, in a sentence for operators; None: they begin with one-time links."""
        return None

    async def watch(self) -> None:
        """Do what has to be done beside the requests, until cancelled. Runs in each process."""
        await anyio.sleep_forever()
