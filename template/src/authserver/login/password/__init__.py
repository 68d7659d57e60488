"""Sign-in with user name and password. Plain HTML forms that work without JavaScript."""

import contextlib
from dataclasses import replace

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from authserver import limits
from authserver.audit import Event, audit
from authserver.browser import account, invitations, sign_in
from authserver.browser.forms import check_form, form_page, posted_form
from authserver.browser.handling import endpoint
from authserver.browser.problems import Refusal
from authserver.browser.sessions import required_session, start_session
from authserver.login import USER_NAME, AccountSection, Login
from authserver.login.password.guessable import is_guessable
from authserver.login.password.passwords import Passwords
from authserver.model.records import Credential, Invitation, Session, User
from authserver.pages import server_name
from authserver.provider import Provider
from authserver.requests.reading import read_form
from authserver.storage.users import Ending, NewCredential
from authserver.with_password.form import PasswordForm, Refused
from authserver.with_password.pool import Busy, Visitor
from authserver.with_password.second_factor import SecondFactor, checks
from authserver.with_password.second_factor import Settings as SecondFactorSettings

__all__ = ["KIND", "Settings", "checks", "create"]

KIND = "password"


class Settings(SecondFactorSettings):
    """What happens to connected apps when a password changes."""

    new_password_ends_grants: bool = Field(default=False, examples=["true"])
    """Whether a new password disconnects all apps; otherwise their user decides."""


def create(server: Provider, settings: Settings) -> "PasswordLogin":
    """Return the login."""
    return PasswordLogin(server, settings)


class PasswordLogin(Login):
    """The Login protocol with passwords."""

    def __init__(self, server: Provider, settings: Settings) -> None:
        self._server = server
        self._settings = settings
        self._passwords = Passwords()
        self._second_factor = SecondFactor(server, settings)
        finish = self._second_factor.finish
        self._form = PasswordForm(server, self._check, finish, note="sign_in.recover")

    @property
    def routes(self) -> list[Route]:
        """The pages of this login."""
        return [
            self._form.route,
            endpoint("/invite/{token}", GET=self._show_invitation, POST=self._accept_invitation),
            endpoint("/account/password", GET=self._show_change, POST=self._change),
            *self._second_factor.routes,
        ]

    async def account_section(self, request: Request, session: Session) -> AccountSection | None:
        """Return what the account page shows of password and second factor."""
        return AccountSection(
            "login/password/pages/password_section", await self._second_factor.section(session)
        )

    async def rewrap(self) -> int:
        """Seal second factors again; hashes are not sealed."""
        return await self._second_factor.rewrap()

    async def _check(self, name: str, password: str, user: User | None, visitor: Visitor) -> User:
        """Return the user if the password is theirs; raises Refused and Busy."""
        storage = self._server.storage
        credential = await storage.sign_ins.get_credential(user.subject, KIND) if user else None
        right = await self._passwords.verify(credential.value if credential else None, password, visitor)
        if user is None or credential is None or user.disabled_at is not None or not right:
            raise Refused
        if self._passwords.is_outdated(credential.value):
            await self._renew_hash(user.subject, credential, password, visitor)
        return user

    async def _renew_hash(
        self, subject: str, credential: Credential, password: str, visitor: Visitor
    ) -> None:
        with contextlib.suppress(Busy):  # the next time
            value = await self._passwords.hash(password, visitor)
            await self._server.storage.sign_ins.put_credential(
                subject, KIND, value, counter=credential.counter
            )

    async def _show_change(self, request: Request) -> Response:
        session = await required_session(self._server, request)
        sign_in.require_fresh_sign_in(self._server, request, session)
        return self._change_page(request, session)

    def _change_page(
        self,
        request: Request,
        session: Session,
        *,
        error: str | None = None,
        status: int = 400,
        wait: float | None = None,
    ) -> Response:
        return form_page(
            self._server,
            request,
            "login/password/pages/password",
            subject=session.subject,
            status=status if error else 200,
            wait=wait,
            username=session.user_name,
            ends_apps=self._settings.new_password_ends_grants,
            error=error,
            minimum=limits.MINIMUM_PASSWORD_CHARACTERS,
        )

    async def _change(self, request: Request) -> Response:
        form, session = await posted_form(self._server, request)
        sign_in.require_fresh_sign_in(self._server, request, session)
        password = form.get("password", "")
        if error := self._unfit(request, session.user_name, password, form.get("password_again", "")):
            return self._change_page(request, session, error=error)
        # Read before the old password is checked: whoever changes it meanwhile was first.
        credential = await self._server.storage.sign_ins.get_credential(session.subject, KIND)
        try:
            await self._form.attempt(request, session.user_name, form.get("old_password", ""))
            value = await self._passwords.hash(password, Visitor((), session.subject, known=True))
        except Refused as refused:
            status = 400 if refused.error == "wrong" else refused.status
            return self._change_page(request, session, error=refused.error, status=status, wait=refused.wait)
        except Busy:
            return self._change_page(request, session, error="busy", status=503, wait=0)
        ends_grants = "apps" in form or self._settings.new_password_ends_grants
        counter = credential.counter if credential else 0
        epoch = await self._server.storage.users.end_access(
            session.subject,
            Ending(
                session=session.digest,
                put=NewCredential(KIND, value, counter),
                grants=ends_grants,
            ),
        )
        if epoch is None:  # changed by somebody else, a moment ago
            return self._change_page(request, session, error="wrong")
        audit(Event.PASSWORD_CHANGED, subject=session.subject)
        if ends_grants:
            audit(Event.APP_DISCONNECTED, subject=session.subject)
        response = account.back(self._server, "password")
        await start_session(self._server, request, response, replace(session, epoch=epoch))
        return response

    async def _show_invitation(self, request: Request) -> Response:
        return self._invitation_page(request, await invitations.find(self._server, request))

    def _invitation_page(
        self, request: Request, invitation: Invitation, *, name: str = "", error: str | None = None
    ) -> Response:
        return form_page(
            self._server,
            request,
            "login/password/pages/invite",
            status=400 if error else 200,
            action=request.scope["path"],
            username=invitation.name,
            name=name,
            error=error,
            minimum=limits.MINIMUM_PASSWORD_CHARACTERS,
        )

    async def _accept_invitation(self, request: Request) -> Response:
        form = await read_form(request)
        check_form(self._server, request, form)
        invitation = await invitations.find(self._server, request)
        name = invitation.name or form.get("username", "").strip()
        password = form.get("password", "")
        if error := self._objection(request, name, password, form.get("password_again", "")):
            return self._invitation_page(request, invitation, name=name, error=error)
        try:
            # Who has a link is no stranger, and whatever comes with it counts as one.
            value = await self._passwords.hash(password, Visitor((), invitation.subject, known=True))
        except Busy:
            raise Refusal("busy", status=503, wait=0) from None
        ends_grants = self._settings.new_password_ends_grants
        user = await invitations.claim(
            self._server, request, name=name, credential=(KIND, value), grants=ends_grants
        )
        audit(Event.ACCOUNT_CLAIMED, subject=user.subject, invitation=invitations.label(request))
        if ends_grants:
            audit(Event.APP_DISCONNECTED, subject=user.subject)
        # The link stands for the password, and not for the second factor.
        return await self._second_factor.finish(request, user=user, request_id="")

    def _objection(self, request: Request, name: str, password: str, again: str) -> str | None:
        """Return what is wrong with a new account's name and password: a key of the strings."""
        if not USER_NAME.fullmatch(name):
            return "name"
        return self._unfit(request, name, password, again)

    def _unfit(self, request: Request, name: str, password: str, again: str) -> str | None:
        """Return what is wrong with a new password: a key of the strings."""
        if len(password) < limits.MINIMUM_PASSWORD_CHARACTERS:
            return "short"
        if len(password) > limits.MAXIMUM_PASSWORD_CHARACTERS:
            return "long"
        if is_guessable(password, name, server_name(request), self._settings.host):
            return "common"
        if password != again:
            return "mismatch"
        return None
