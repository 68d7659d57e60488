"""The Login protocol: how people sign in.

A login knows no SQL and no client. It makes sure who somebody is, then hands over to `browser.sign_in`.
"""

import re
from typing import Protocol

from starlette.routing import Route

USER_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}")


class Login(Protocol):
    """One way to sign in. The module offers `create(server)`."""

    @property
    def routes(self) -> list[Route]:
        """The pages of this login: `/login`, and `/invite/{token}` where one-time links are used."""
