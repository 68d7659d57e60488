"""The Login protocol: how people sign in.

A login knows no SQL and no client. It makes sure who somebody is, then hands over to `browser.sign_in`.
"""

import re
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from authserver import pages
from authserver.model.records import Session
from authserver.pages.elsewhere import see_other

USER_NAME = re.compile(r"(?!-)[A-Za-z0-9._@+-]{1,64}")


@dataclass(frozen=True, slots=True)
class AccountSection:
    """A part of the account page: a template of the login's pages, and what it knows as `section`.

    It knows `csrf` too. The steps it leads to ask `browser.sign_in.require_fresh_sign_in` first.
    """

    template: str
    context: dict[str, object]


class Login(Protocol):
    """One way to sign in. The module offers `Settings` and `create(server, settings)`."""

    @property
    def routes(self) -> list[Route]:
        """The pages of this login: `/login`, and `/invite/{token}`, used or not."""

    @property
    def accounts_elsewhere(self) -> str | None:
        """Where accounts come from, in a sentence for operators; None: they begin with one-time links."""
        return None

    async def watch(self) -> None:
        """Do what has to be done beside the requests, until cancelled. Runs in each process."""
        await anyio.sleep_forever()

    async def account_section(self, request: Request, session: Session) -> AccountSection | None:
        """Return what the account page shows of the user's credentials."""
        return None

    async def confirm(self, request: Request, session: Session) -> bool:
        """Say whether the session holds in this request, as far as the login can tell.

        Raises browser.problems.Refusal where the answer is a page.
        """
        return True

    def signed_out(self, request: Request, request_id: str) -> Response:
        """Return what comes after signing out; if a request waits, the page where another user signs in."""
        if request_id:
            return see_other(f"/login?{urlencode({'request': request_id})}")
        return pages.message(request, "signed_out", status=200)

    async def rewrap(self) -> int:
        """Seal again what the previous secret key sealed for this login; return how many values."""
        return 0
