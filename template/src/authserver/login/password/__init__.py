"""Sign-in with user name and password. Plain HTML forms that work without JavaScript."""

import contextlib
import re
from typing import TYPE_CHECKING

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from authserver.addresses import client_address
from authserver.audit import audit
from authserver.browser import account, sign_in
from authserver.browser.apps import disconnect
from authserver.browser.attempts import buckets
from authserver.browser.cookies import (
    check_form,
    current_session,
    form_page,
    posted_form,
    required_session,
    start_session,
)
from authserver.browser.endpoint import endpoint
from authserver.browser.problems import problem
from authserver.forms import parse_parameters, read_form
from authserver.login import AccountSection, Login
from authserver.login.password.passwords import MAXIMUM_LENGTH, MINIMUM_LENGTH, Busy, Passwords
from authserver.records import Credential, Invitation, Session, User
from authserver.second_factor import SecondFactor
from authserver.second_factor import Settings as SecondFactorSettings
from authserver.secret_values import Kind, digest

if TYPE_CHECKING:
    from authserver.provider import AuthorizationServer

KIND = "password"

_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}")


class Settings(SecondFactorSettings):
    """What happens to connected apps when a password changes."""

    new_password_ends_grants: bool = Field(default=False, examples=["true"])


def create(server: "AuthorizationServer") -> "PasswordLogin":
    """Return the login."""
    return PasswordLogin(server)


class PasswordLogin(Login):
    """The Login protocol with passwords."""

    def __init__(self, server: "AuthorizationServer") -> None:
        self._server = server
        self._passwords = Passwords()
        self._second_factor = SecondFactor(server, server.settings)

    @property
    def routes(self) -> list[Route]:
        """The pages of this login."""
        return [
            endpoint("/login", GET=self._show_sign_in, POST=self._sign_in),
            endpoint("/invite/{token}", GET=self._show_invitation, POST=self._accept_invitation),
            endpoint("/account/password", GET=self._show_change, POST=self._change),
            *self._second_factor.routes,
        ]

    async def account_section(self, request: Request, session: Session) -> AccountSection | None:
        """Return what the account page shows of password and second factor."""
        return AccountSection("password_section", await self._second_factor.section(session))

    async def rewrap(self) -> int:
        """Seal second factors again; hashes are not sealed."""
        return await self._second_factor.rewrap()

    async def _show_sign_in(self, request: Request) -> Response:
        request_id = parse_parameters(request.scope["query_string"]).get("request", "")
        pending = await sign_in.begin(self._server, request, request_id)
        if isinstance(pending, Response):
            return pending
        return await self._sign_in_page(request, request_id)

    async def _sign_in_page(
        self,
        request: Request,
        request_id: str,
        *,
        username: str = "",
        error: str | None = None,
        status: int = 200,
        retry_after: float = 0,
    ) -> Response:
        client_name = None
        if request_id:
            pending = await self._server.storage.get_authorization_request(
                digest(Kind.AUTHORIZATION_REQUEST, request_id)
            )
            client = pending and await self._server.get_client(pending.client_id)
            client_name = client and (client.client_name or client.client_id)
        seconds = int(retry_after) + 1
        # Who is signed in and still sees this page signs in again, before a dangerous step.
        session = await current_session(self._server, request)
        return form_page(
            self._server,
            request,
            "sign_in",
            status=status,
            headers={"Retry-After": str(seconds)} if status in (429, 503) else None,
            request_id=request_id,
            client_name=client_name,
            again=session is not None,
            username=username or (session.user_name if session else ""),
            error=error,
            retry_after=seconds,
        )

    async def _sign_in(self, request: Request) -> Response:
        form = await read_form(request)
        check_form(self._server, request, form)
        request_id = form.get("request", "")
        pending = await sign_in.begin(self._server, request, request_id)
        if isinstance(pending, Response):
            return pending
        username, password = form.get("username", "").strip(), form.get("password", "")
        if not username or not password:
            return await self._sign_in_page(request, request_id, username=username, error="empty", status=400)
        user = await self._server.storage.get_user(username)
        credential, error, wait = await self._check(request, username, user, password)
        if user is None or credential is None:
            status = {"wrong": 401, "slow": 429, "busy": 503}[error]
            return await self._sign_in_page(
                request, request_id, username=username, error=error, status=status, retry_after=wait
            )
        if self._passwords.is_outdated(credential.value):
            await self._renew_hash(user.subject, credential, password)
        return await self._second_factor.finish(request, user=user, request_id=request_id)

    async def _renew_hash(self, subject: str, credential: Credential, password: str) -> None:
        with contextlib.suppress(Busy):  # the next time
            value = await self._passwords.hash(password)
            await self._server.storage.put_credential(subject, KIND, value, counter=credential.counter)

    async def _check(
        self, request: Request, username: str, user: User | None, password: str
    ) -> tuple[Credential | None, str, float]:
        """Return the credential if the password is right; else why not, and the seconds to wait."""
        storage = self._server.storage
        subject = user.subject if user else None
        counted = buckets(self._server, request, "password", account=username.casefold(), subject=subject)
        address = client_address(request, self._server.settings)
        wait = await storage.take_attempt(counted)
        if wait > 0:
            audit("sign-in slowed", address=address)
            return None, "slow", wait
        credential = await storage.get_credential(user.subject, KIND) if user else None
        try:
            right = await self._passwords.verify(credential.value if credential else None, password)
        except Busy:
            await storage.return_attempt(counted)
            return None, "busy", 0
        if user is None or user.disabled_at is not None or not right:
            audit("sign-in failed", address=address)
            return None, "wrong", 0
        await storage.return_attempt(counted)
        return credential, "", 0

    async def _show_change(self, request: Request) -> Response:
        session = await required_session(self._server, request)
        if again := sign_in.fresh(self._server, request, session):
            return again
        return self._change_page(request, session)

    def _change_page(
        self,
        request: Request,
        session: Session,
        *,
        error: str | None = None,
        status: int = 400,
        retry_after: float = 0,
    ) -> Response:
        seconds = int(retry_after) + 1
        return form_page(
            self._server,
            request,
            "password",
            subject=session.subject,
            status=status if error else 200,
            headers={"Retry-After": str(seconds)} if status in (429, 503) else None,
            username=session.user_name,
            ends_apps=self._server.settings.new_password_ends_grants,
            error=error,
            minimum=MINIMUM_LENGTH,
            retry_after=seconds,
        )

    async def _change(self, request: Request) -> Response:
        form, session = await posted_form(self._server, request)
        if again := sign_in.fresh(self._server, request, session):
            return again
        password = form.get("password", "")
        if error := _unfit(password, form.get("password_again", "")):
            return self._change_page(request, session, error=error)
        user = await self._server.storage.get_user(session.user_name)
        credential, error, wait = await self._check(
            request, session.user_name, user, form.get("old_password", "")
        )
        if credential is None:
            status = {"wrong": 400, "slow": 429, "busy": 503}[error]
            return self._change_page(request, session, error=error, status=status, retry_after=wait)
        try:
            value = await self._passwords.hash(password)
        except Busy:
            return self._change_page(request, session, error="busy", status=503)
        changed = await self._server.storage.put_credential(
            session.subject, KIND, value, counter=credential.counter
        )
        if not changed:  # by somebody else, a moment ago
            return self._change_page(request, session, error="wrong")
        audit("password changed", subject=session.subject)
        await self._server.storage.end_sessions(session.subject)
        await self._end_grants(session.subject, wanted="apps" in form)
        response = account.back(self._server, "password")
        await start_session(self._server, request, response, session.subject)
        return response

    async def _end_grants(self, subject: str, *, wanted: bool = False) -> None:
        """Disconnect all apps where the user wants it, or the operator."""
        if wanted or self._server.settings.new_password_ends_grants:
            await disconnect(self._server, subject)

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
        await self._end_grants(user.subject)
        # The link stands for the password, and not for the second factor.
        return await self._second_factor.finish(request, user=user, request_id="")


def _objection(name: str, password: str, again: str) -> str | None:
    """Return what is wrong with a new account's name and password: a key of the strings."""
    if not _NAME.fullmatch(name):
        return "name"
    return _unfit(password, again)


def _unfit(password: str, again: str) -> str | None:
    """Return what is wrong with a new password: a key of the strings."""
    if len(password) < MINIMUM_LENGTH:
        return "short"
    if len(password) > MAXIMUM_LENGTH:
        return "long"
    if password != again:
        return "mismatch"
    return None
