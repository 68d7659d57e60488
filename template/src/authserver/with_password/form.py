"""The sign-in page that asks for a user name and a password, whoever checks them."""

import unicodedata
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from authserver.audit import Event, audit
from authserver.browser import sign_in
from authserver.browser.attempts import buckets
from authserver.browser.forms import check_form, form_page
from authserver.browser.handling import endpoint
from authserver.browser.sessions import is_known_device
from authserver.browser.sign_in import Beginning
from authserver.model.records import User
from authserver.provider import Provider
from authserver.requests.addresses import client_address
from authserver.requests.networks import networks
from authserver.requests.reading import parse_parameters, read_form
from authserver.with_password.pool import Busy, Visitor


class Refused(Exception):
    """Nobody is signed in: `error` is what the page says, a key of the strings; `reason` is for the audit.

    It counts as an attempt only with status 401: name and password are not right. `wait` is in seconds: how
    long to wait before the next one.
    """

    def __init__(
        self, error: str = "wrong", *, status: int = 401, wait: float | None = None, reason: str | None = None
    ) -> None:
        super().__init__(error)
        self.error = error
        self.status = status
        self.wait = wait
        self.reason = reason


Check = Callable[[str, str, User | None, Visitor], Awaitable[User]]
"""Takes name, password, the account of that name, who asks; returns who it is, raises Refused and Busy.

The account was read before the password is looked at, and who is returned is of the epoch of then: what
ends the account's access meanwhile ends this sign-in, too.
"""


class Finish(Protocol):
    """Goes on with a sign-in whose password was right."""

    async def __call__(self, request: Request, *, user: User, request_id: str) -> Response:
        """Return the page that comes next."""


class PasswordForm:
    """The page `/login` with a form for name and password. `note` is the key of the string below it."""

    def __init__(self, server: Provider, check: Check, finish: Finish, *, note: str) -> None:
        self._server = server
        self._check = check
        self._finish = finish
        self._note = note

    @property
    def route(self) -> Route:
        """The page and its post."""
        return endpoint("/login", GET=self._show, POST=self._submit)

    async def attempt(self, request: Request, username: str, password: str) -> User:
        """Return the user with that name and password; counts the attempt. Raises Refused."""
        storage = self._server.storage
        user = await storage.users.get(username)
        counted = buckets(self._server, request, "password", account=username.casefold(), user=user)
        wait = await storage.sign_ins.take_attempt(counted)
        if wait > 0:
            audit(Event.SIGN_IN_SLOWED)
            raise Refused("slow", status=429, wait=wait)
        try:
            found = await self._check(username, password, user, self._visitor(request, username, user))
        except Busy:
            await storage.sign_ins.return_attempt(counted)
            raise Refused("busy", status=503, wait=0) from None
        except Refused as refused:
            if refused.status != 401:
                await storage.sign_ins.return_attempt(counted)
            audit(Event.SIGN_IN_FAILED, reason=refused.reason)
            raise
        await storage.sign_ins.return_attempt(counted)
        return found

    def _visitor(self, request: Request, username: str, user: User | None) -> Visitor:
        """Return who asks, in the queue for slow work."""
        known = user is not None and is_known_device(self._server, request, user)
        address = client_address(request, self._server.settings)
        return Visitor(networks(address), user.subject if user else username.casefold(), known=known)

    async def _show(self, request: Request) -> Response:
        request_id = parse_parameters(request.scope["query_string"]).get("request", "")
        beginning = await sign_in.begin(self._server, request, request_id)
        return await self._page(request, request_id, beginning)

    async def _page(
        self,
        request: Request,
        request_id: str,
        beginning: Beginning,
        *,
        username: str = "",
        error: str | None = None,
        status: int = 200,
        wait: float | None = None,
    ) -> Response:
        again = beginning.again
        return form_page(
            self._server,
            request,
            "with_password/form",
            status=status,
            wait=wait,
            request_id=request_id,
            client_name=await sign_in.client_name(self._server, beginning),
            again=again is not None,
            username=username or (again.user_name if again else ""),
            error=error,
            note=self._note,
        )

    async def _submit(self, request: Request) -> Response:
        form = await read_form(request)
        check_form(self._server, request, form)
        request_id = form.get("request", "")
        beginning = await sign_in.begin(self._server, request, request_id)
        # Keyboards differ in how they compose a letter; all attempts on a name count together.
        username = unicodedata.normalize("NFC", form.get("username", "").strip())
        password = form.get("password", "")
        if not username or not password:
            return await self._page(
                request, request_id, beginning, username=username, error="empty", status=400
            )
        try:
            user = await self.attempt(request, username, password)
        except Refused as refused:
            return await self._page(
                request,
                request_id,
                beginning,
                username=username,
                error=refused.error,
                status=refused.status,
                wait=refused.wait,
            )
        return await self._finish(request, user=user, request_id=request_id)
