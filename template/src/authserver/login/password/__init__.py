"""Sign-in with user name and password. Plain HTML forms that work without JavaScript."""

import re
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from authserver.audit import audit
from authserver.browser.cookies import check_form, form_page, start_session
from authserver.browser.endpoint import endpoint
from authserver.browser.password_form import PasswordForm, Refused
from authserver.browser.problems import problem
from authserver.forms import read_form
from authserver.login import Login
from authserver.login.password.passwords import MAXIMUM_LENGTH, MINIMUM_LENGTH, Passwords
from authserver.pool import Busy
from authserver.records import Invitation, User
from authserver.secret_values import Kind, digest
from authserver.settings import CoreSettings

if TYPE_CHECKING:
    from authserver.provider import AuthorizationServer

KIND = "password"

_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}")


class Settings(CoreSettings):
    """This login has no settings of its own."""


def create(server: "AuthorizationServer") -> "PasswordLogin":
    """Return the login."""
    return PasswordLogin(server)


class PasswordLogin(Login):
    """The Login protocol with passwords."""

    def __init__(self, server: "AuthorizationServer") -> None:
        self._server = server
        self._passwords = Passwords()
        self._form = PasswordForm(server, self._check, note="sign_in.recover")

    @property
    def routes(self) -> list[Route]:
        """The pages of this login."""
        return [
            self._form.route,
            endpoint("/invite/{token}", GET=self._show_invitation, POST=self._accept_invitation),
        ]

    async def _check(self, name: str, password: str, user: User | None) -> str:
        storage = self._server.storage
        credential = await storage.get_credential(user.subject, KIND) if user else None
        right = await self._passwords.verify(credential.value if credential else None, password)
        if not user or not credential or not right or user.disabled_at is not None:
            raise Refused
        if self._passwords.is_outdated(credential.value):
            value = await self._passwords.hash(password)
            await storage.put_credential(user.subject, KIND, value, counter=credential.counter)
        return user.subject

    async def _show_invitation(self, request: Request) -> Response:
        found = await self._invitation(request)
        if found is None:
            return problem(request, "invite_gone", status=410)
        return self._invitation_page(request, found)

    async def _invitation(self, request: Request) -> Invitation | None:
        token = request.path_params["token"]
        return await self._server.storage.get_invitation(digest(Kind.INVITATION, token))

    def _invitation_page(
        self, request: Request, invitation: Invitation, *, name: str = "", error: str | None = None
    ) -> Response:
        return form_page(
            self._server,
            request,
            "invite",
            status=400 if error else 200,
            action=request.url.path,
            username=invitation.name,
            name=name,
            error=error,
            minimum=MINIMUM_LENGTH,
        )

    async def _accept_invitation(self, request: Request) -> Response:
        form = await read_form(request)
        check_form(self._server, request, form)
        invitation = await self._invitation(request)
        if invitation is None:
            return problem(request, "invite_gone", status=410)
        name = invitation.name or form.get("username", "").strip()
        password = form.get("password", "")
        if error := _objection(name, password, form.get("password_again", "")):
            return self._invitation_page(request, invitation, name=name, error=error)
        try:
            value = await self._passwords.hash(password)
        except Busy:
            return problem(request, "busy", status=503, headers={"Retry-After": "1"})
        user = await self._server.storage.claim_invitation(
            digest(Kind.INVITATION, request.path_params["token"]),
            name=name,
            credential=(KIND, value),
        )
        if user is None:
            return problem(request, "invite_gone", status=410)
        audit("account claimed", subject=user.subject)
        response = RedirectResponse("/account", status_code=303)
        await start_session(self._server, request, response, user.subject)
        return response


def _objection(name: str, password: str, again: str) -> str | None:
    """Return what is wrong with a new account's name and password: a key of the strings."""
    if not _NAME.fullmatch(name):
        return "name"
    if len(password) < MINIMUM_LENGTH:
        return "short"
    if len(password) > MAXIMUM_LENGTH:
        return "long"
    if password != again:
        return "mismatch"
    return None
