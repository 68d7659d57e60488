"""Sign-in with user name and password. Plain HTML forms that work without JavaScript."""

import re
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from authserver.addresses import client_address
from authserver.audit import audit
from authserver.browser import sign_in
from authserver.browser.cookies import check_form, form_page, known_device, start_session
from authserver.browser.endpoint import endpoint
from authserver.browser.problems import problem
from authserver.forms import parse_parameters, read_form
from authserver.login import Login
from authserver.login.password.passwords import MAXIMUM_LENGTH, MINIMUM_LENGTH, Busy, Passwords
from authserver.records import Invitation, User
from authserver.secret_values import Kind, derive, digest
from authserver.settings import CoreSettings
from authserver.storage import Bucket

if TYPE_CHECKING:
    from authserver.provider import AuthorizationServer

KIND = "password"

# Five attempts at once, then one a minute, for all browsers together that never signed in to the account.
_BURST = 5
_INTERVAL_SECONDS = 60

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

    @property
    def routes(self) -> list[Route]:
        """The pages of this login."""
        return [
            endpoint("/login", GET=self._show_sign_in, POST=self._sign_in),
            endpoint("/invite/{token}", GET=self._show_invitation, POST=self._accept_invitation),
        ]

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
        return form_page(
            self._server,
            request,
            "sign_in",
            status=status,
            headers={"Retry-After": str(seconds)} if status in (429, 503) else None,
            request_id=request_id,
            client_name=client_name,
            username=username,
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
        buckets = self._buckets(request, username, user)
        wait = await self._server.storage.take_attempt(buckets)
        if wait > 0:
            audit("sign-in slowed", address=client_address(request, self._server.settings))
            return await self._sign_in_page(
                request, request_id, username=username, error="slow", status=429, retry_after=wait
            )
        try:
            right = await self._is_right(user, password)
        except Busy:
            await self._server.storage.return_attempt(buckets)
            return await self._sign_in_page(request, request_id, username=username, error="busy", status=503)
        if user is None or not right:
            audit("sign-in failed", address=client_address(request, self._server.settings))
            return await self._sign_in_page(request, request_id, username=username, error="wrong", status=401)
        await self._server.storage.return_attempt(buckets)
        return await sign_in.finish(self._server, request, subject=user.subject, request_id=request_id)

    def _buckets(self, request: Request, username: str, user: User | None) -> list[Bucket]:
        """Return what the attempt counts against: the known browser or the account, and the address."""
        names = self._server.runtime.keys.names
        device = user and known_device(self._server, request, user.subject)
        key = derive(names, "device", device) if device else derive(names, "account", username.casefold())
        buckets = [Bucket(key, _BURST, _INTERVAL_SECONDS)]
        if limit := self._server.settings.limit_sign_ins_per_minute:
            address = client_address(request, self._server.settings)
            buckets.append(Bucket(derive(names, "sign-ins from", address), limit, 60 / limit))
        return buckets

    async def _is_right(self, user: User | None, password: str) -> bool:
        storage = self._server.storage
        credential = await storage.get_credential(user.subject, KIND) if user else None
        right = await self._passwords.verify(credential.value if credential else None, password)
        if not user or not credential or not right or user.disabled_at is not None:
            return False
        if self._passwords.is_outdated(credential.value):
            value = await self._passwords.hash(password)
            await storage.put_credential(user.subject, KIND, value, counter=credential.counter)
        return True

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
