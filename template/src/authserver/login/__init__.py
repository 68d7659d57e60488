"""The Login protocol: how people sign in.

A login knows no SQL and no client. It makes sure who somebody is, then hands over to `browser.sign_in`.
"""

from typing import Protocol
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from authserver import pages
from authserver.records import Session


class Login(Protocol):
    """One way to sign in. The module offers `create(server)`."""

    @property
    def routes(self) -> list[Route]:
        """The pages of this login: `/login`, and `/invite/{token}` where one-time links are used."""

    async def confirm(self, request: Request, session: Session) -> bool:
        """Say whether the session holds in this request, as far as the login can tell.

        Raises browser.problems.Refusal where the answer is a page.
        """
        return True

    def signed_out(self, request: Request, request_id: str) -> Response:
        """Return what comes after signing out: with a request at hand, somebody else's sign-in for it."""
        if request_id:
            return RedirectResponse(f"/login?{urlencode({'request': request_id})}", status_code=303)
        return pages.message(request, "signed_out", status=200)
