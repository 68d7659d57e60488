"""The sign-in page that asks for a user name and a password, whoever checks them."""

import unicodedata
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from authserver.addresses import client_address
from authserver.audit import audit
from authserver.browser import sign_in
from authserver.browser.cookies import check_form, form_page, known_device
from authserver.browser.endpoint import endpoint
from authserver.forms import parse_parameters, read_form
from authserver.pool import Busy
from authserver.records import User
from authserver.secret_values import Kind, derive, digest
from authserver.storage import Bucket

if TYPE_CHECKING:
    from authserver.provider import AuthorizationServer

# Five attempts at once, then one a minute, for all browsers together that never signed in to the account.
_BURST = 5
_INTERVAL_SECONDS = 60


class Refused(Exception):
    """Nobody is signed in: `error` is what the page says, a key of the strings; `reason` is for the audit.

    Only with status 401, where name and password are not right, it counts as an attempt.
    """

    def __init__(self, error: str = "wrong", *, status: int = 401, reason: str | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.status = status
        self.reason = reason


Check = Callable[[str, str, User | None], Awaitable[str]]
"""Takes name, password and the account of that name; returns the subject, raises Refused or Busy."""


class PasswordForm:
    """The page `/login` with a form for name and password. `note` is the key of the string below it."""

    def __init__(self, server: "AuthorizationServer", check: Check, *, note: str) -> None:
        self._server = server
        self._check = check
        self._note = note

    @property
    def route(self) -> Route:
        """The page and its post."""
        return endpoint("/login", GET=self._show, POST=self._submit)

    async def _show(self, request: Request) -> Response:
        request_id = parse_parameters(request.scope["query_string"]).get("request", "")
        pending = await sign_in.begin(self._server, request, request_id)
        if isinstance(pending, Response):
            return pending
        return await self._page(request, request_id)

    async def _page(
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
            "password_form",
            status=status,
            headers={"Retry-After": str(seconds)} if status in (429, 503) else None,
            request_id=request_id,
            client_name=client_name,
            username=username,
            error=error,
            note=self._note,
            retry_after=seconds,
        )

    async def _submit(self, request: Request) -> Response:
        form = await read_form(request)
        check_form(self._server, request, form)
        request_id = form.get("request", "")
        pending = await sign_in.begin(self._server, request, request_id)
        if isinstance(pending, Response):
            return pending
        # Keyboards differ in how they compose a letter; all attempts on a name count together.
        username = unicodedata.normalize("NFC", form.get("username", "").strip())
        password = form.get("password", "")
        if not username or not password:
            return await self._page(request, request_id, username=username, error="empty", status=400)
        user = await self._server.storage.get_user(username)
        buckets = self._buckets(request, username, user)
        wait = await self._server.storage.take_attempt(buckets)
        if wait > 0:
            audit("sign-in slowed", address=client_address(request, self._server.settings))
            return await self._page(
                request, request_id, username=username, error="slow", status=429, retry_after=wait
            )
        try:
            subject = await self._check(username, password, user)
        except Busy:
            await self._server.storage.return_attempt(buckets)
            return await self._page(request, request_id, username=username, error="busy", status=503)
        except Refused as refused:
            if refused.status != 401:
                await self._server.storage.return_attempt(buckets)
            address = client_address(request, self._server.settings)
            audit("sign-in failed", address=address, reason=refused.reason)
            return await self._page(
                request, request_id, username=username, error=refused.error, status=refused.status
            )
        await self._server.storage.return_attempt(buckets)
        return await sign_in.finish(self._server, request, subject=subject, request_id=request_id)

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
