"""Sign-in with passkeys (WebAuthn Level 3): no user name, no password, nothing to phish.

Pages carry the challenge; a script of ours hands it to the browser and sends the browser's answer as a form.
"""

import hmac
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from authserver import clock, limits, pages
from authserver.audit import Event, audit
from authserver.browser import account, invitations, sign_in
from authserver.browser.attempts import address_buckets
from authserver.browser.forms import browser_seal, check_form, form_page, posted_form
from authserver.browser.handling import endpoint
from authserver.browser.problems import Refusal
from authserver.browser.sessions import end_other_access, required_session, start_session
from authserver.browser.sign_in import Beginning
from authserver.crypto import secret_values
from authserver.crypto.secret_values import Kind, digest
from authserver.login import USER_NAME, AccountSection, Login
from authserver.login.passkey.passkeys import (
    KIND,
    Changed,
    Passkey,
    Refused,
    RelyingParty,
    WentBack,
    is_stale,
    load,
    read_assertion,
)
from authserver.model.records import Invitation, Session, User
from authserver.pages.elsewhere import see_other
from authserver.pages.languages import spoken
from authserver.provider import Provider
from authserver.requests.reading import parse_parameters, read_form
from authserver.settings import CoreSettings
from authserver.storage.sign_ins import Bucket
from authserver.storage.users import Ending, NewCredential

SCRIPT_PATH = "/assets/passkey.js"


class Settings(CoreSettings):
    """A passkey belongs to a host name: the default is another one."""

    public_url: str = Field(default="http://localhost:8000", examples=["http://localhost:8000"])
    """Passkeys belong to its host name: under another one, people need new ones. An IP address has none."""

    @field_validator("public_url")
    @classmethod
    def _host_name(cls, value: str) -> str:
        try:
            ip_address(urlsplit(value).hostname or "")
        except ValueError:
            return value
        raise ValueError("a host name is needed, since passkeys belong to one and to no IP address")


def create(server: Provider, settings: Settings) -> "PasskeyLogin":
    """Return the login."""
    return PasskeyLogin(server, settings)


class PasskeyLogin(Login):
    """The Login protocol with passkeys."""

    def __init__(self, server: Provider, settings: Settings) -> None:
        self._server = server
        self._site = RelyingParty(settings.public_url)

    @property
    def routes(self) -> list[Route]:
        """The pages of this login, and their script."""
        return [
            endpoint("/login", GET=self._show_sign_in, POST=self._sign_in),
            endpoint("/invite/{token}", GET=self._show_invitation, POST=self._accept_invitation),
            endpoint("/account/passkeys", GET=self._show_adding, POST=self._add),
            endpoint("/account/passkeys/remove", POST=self._remove),
            Route(SCRIPT_PATH, _script),
        ]

    # -------------------------------------------------------------------------------------- challenges

    async def _challenge(
        self, request: Request, *purpose: str, seconds: float = limits.PASSKEY_CHALLENGE_SECONDS
    ) -> str:
        """Return a challenge that this browser may answer once, for this purpose."""
        challenge = secret_values.new(Kind.CHALLENGE)
        await self._server.storage.sign_ins.add_ticket(
            digest(Kind.CHALLENGE, challenge),
            browser_seal(self._server, request, "challenge", *purpose),
            lifetime_seconds=seconds,
        )
        return challenge

    async def _answer(self, request: Request, form: dict[str, str], *purpose: str) -> tuple[str, str]:
        """Return what the form answers, and to which challenge, which is consumed; raises Refused."""
        answer, challenge = form.get("credential", ""), form.get("challenge", "")
        if not answer:
            raise Refused("no_script")
        stored = await self._server.storage.sign_ins.take_ticket(digest(Kind.CHALLENGE, challenge))
        expected = browser_seal(self._server, request, "challenge", *purpose)
        if not hmac.compare_digest(stored or b"", expected):
            raise Refused("expired")
        return answer, challenge

    async def _passkeys(self, subject: str) -> dict[str, Passkey]:
        """Return the user's passkeys by kind, oldest first."""
        found = await self._server.storage.sign_ins.list_credentials(subject)
        known = {kind: load(found[kind].value) for kind in found if kind.startswith(KIND)}
        return dict(sorted(known.items(), key=lambda item: item[1].created_at))

    async def _creation(self, challenge: str, *, subject: str, user_name: str) -> dict[str, Any]:
        """Return what a page that asks to make a passkey is rendered with."""
        known = await self._passkeys(subject)
        return {
            "challenge": challenge,
            "options": self._site.creation_options(
                challenge, subject=subject, user_name=user_name, known=known
            ),
            "known": len(known),
        }

    async def _created(self, request: Request, form: dict[str, str], *purpose: str) -> tuple[str, Passkey]:
        """Return the passkey that was made, and the kind of its credential; raises Refused."""
        answer, challenge = await self._answer(request, form, *purpose)
        called = form.get("passkey_name", "").strip()[: limits.MAXIMUM_PASSKEY_NAME_CHARACTERS]
        name = called or spoken(request).t("passkey.unnamed")
        return self._site.created(answer, challenge, name=name, now=clock.now())

    # ----------------------------------------------------------------------------------------- sign-in

    async def _show_sign_in(self, request: Request) -> Response:
        request_id = parse_parameters(request.scope["query_string"]).get("request", "")
        beginning = await sign_in.begin(self._server, request, request_id)
        return await self._sign_in_page(request, request_id, beginning)

    async def _sign_in_page(
        self, request: Request, request_id: str, beginning: Beginning, *, error: str | None = None
    ) -> Response:
        """Return the page with a new challenge; it counts until somebody signs in by it. Raises Refusal."""
        wait = await self._server.storage.sign_ins.take_attempt(self._buckets(request))
        if wait > 0:
            audit(Event.SIGN_IN_SLOWED)
            raise Refusal("slow", status=429, wait=wait)
        challenge = await self._challenge(request, "sign in", request_id)
        return form_page(
            self._server,
            request,
            "login/passkey/pages/sign_in",
            status=401 if error else 200,
            script=SCRIPT_PATH,
            request_id=request_id,
            client_name=await sign_in.client_name(self._server, beginning),
            challenge=challenge,
            options=self._site.request_options(challenge),
            error=error,
        )

    async def _sign_in(self, request: Request) -> Response:
        form = await read_form(request)
        check_form(self._server, request, form)
        request_id = form.get("request", "")
        beginning = await sign_in.begin(self._server, request, request_id)
        try:
            user = await self._whose(*await self._answer(request, form, "sign in", request_id))
        except Refused as refused:
            audit(Event.SIGN_IN_FAILED, reason=refused.reason)
            return await self._sign_in_page(request, request_id, beginning, error=refused.reason)
        await self._server.storage.sign_ins.return_attempt(self._buckets(request))
        return await sign_in.finish(self._server, request, user, request_id)

    def _buckets(self, request: Request) -> list[Bucket]:
        return address_buckets(self._server, request, factor=limits.PASSKEY_PAGES_FOR_AN_ATTEMPT)

    async def _whose(self, answer: str, challenge: str) -> User:
        """Return the user whose passkey answered, and keep that it was used; raises Refused."""
        storage = self._server.storage
        assertion = read_assertion(answer)
        # Before the passkey is looked at: what ends the user's access from now on ends this sign-in, too.
        user = await storage.users.get_by_subject(assertion.subject)
        if user is None or user.disabled_at is not None:
            raise Refused
        while True:
            credential = await storage.sign_ins.get_credential(user.subject, assertion.kind)
            if credential is None:
                raise Refused
            before = load(credential.value)
            try:
                passkey = self._site.used(assertion, challenge, before, now=clock.now())
            except WentBack:
                audit(Event.PASSKEY_COUNTER_WENT_BACK, subject=user.subject, credential=assertion.kind)
                raise
            except Changed:
                audit(Event.PASSKEY_FLAGS_CHANGED, subject=user.subject, credential=assertion.kind)
                raise
            if await storage.sign_ins.put_credential(
                user.subject, assertion.kind, passkey.dump(), counter=credential.counter
            ):
                if is_stale(before, passkey.sign_count):
                    audit(Event.PASSKEY_COUNTER_IGNORED, subject=user.subject, credential=assertion.kind)
                return user
            # Used or removed somewhere else at the same moment: judged again by what is stored now.

    # ----------------------------------------------------------------------------------- one-time links

    async def _show_invitation(self, request: Request) -> Response:
        return await self._invitation_page(request, await invitations.find(self._server, request))

    async def _invitation_page(
        self, request: Request, invitation: Invitation, *, name: str = "", error: str | None = None
    ) -> Response:
        token = request.path_params["token"]
        # As long as the link itself: what is too late here leaves a useless passkey on somebody's device.
        challenge = await self._challenge(request, "invitation", token, seconds=limits.INVITATION_SECONDS)
        # The first account's name is only typed on the page, where the script fills it in.
        user_name = invitation.name or "-"
        creation = await self._creation(challenge, subject=invitation.subject, user_name=user_name)
        return form_page(
            self._server,
            request,
            "login/passkey/pages/invite",
            status=400 if error else 200,
            script=SCRIPT_PATH,
            action=request.scope["path"],
            username=invitation.name,
            name=name,
            error=error,
            **creation,
        )

    async def _accept_invitation(self, request: Request) -> Response:
        form = await read_form(request)
        check_form(self._server, request, form)
        invitation = await invitations.find(self._server, request)
        token = request.path_params["token"]
        name = invitation.name or form.get("username", "").strip()
        if not USER_NAME.fullmatch(name):
            return await self._invitation_page(request, invitation, name=name, error="name")
        try:
            kind, passkey = await self._created(request, form, "invitation", token)
        except Refused as refused:
            return await self._invitation_page(request, invitation, name=name, error=refused.reason)
        user = await invitations.claim(self._server, request, name=name, credential=(kind, passkey.dump()))
        audit(Event.ACCOUNT_CLAIMED, subject=user.subject, invitation=invitations.label(request))
        response = see_other("/account")
        await start_session(self._server, request, response, user)
        return response

    # ----------------------------------------------------------------------------------------- account

    async def account_section(self, request: Request, session: Session) -> AccountSection | None:
        """Return the list of the user's passkeys."""
        return AccountSection(
            "login/passkey/pages/passkeys", {"passkeys": await self._passkeys(session.subject)}
        )

    async def rewrap(self) -> int:
        """Seal nothing: passkeys are public keys."""
        return 0

    async def _show_adding(self, request: Request) -> Response:
        session = await required_session(self._server, request)
        sign_in.require_fresh_sign_in(self._server, request, session)
        return await self._adding_page(request, session)

    async def _adding_page(self, request: Request, session: Session, *, error: str | None = None) -> Response:
        challenge = await self._challenge(request, "account", session.subject)
        creation = await self._creation(challenge, subject=session.subject, user_name=session.user_name)
        return form_page(
            self._server,
            request,
            "login/passkey/pages/add_passkey",
            subject=session.subject,
            status=400 if error else 200,
            script=SCRIPT_PATH,
            username=session.user_name,
            error=error,
            **creation,
        )

    async def _add(self, request: Request) -> Response:
        # The page was given out after a fresh sign-in, and its challenge is good for this post only.
        form, session = await posted_form(self._server, request)
        try:
            kind, passkey = await self._created(request, form, "account", session.subject)
        except Refused as refused:
            return await self._adding_page(request, session, error=refused.reason)
        kept = await end_other_access(
            self._server, session, Ending(put=NewCredential(kind, passkey.dump(), 0))
        )
        if kept is None:
            return await self._adding_page(request, session, error="wrong")
        audit(Event.PASSKEY_ADDED, subject=session.subject)
        return account.back(self._server, "passkey_added", kept)

    async def _remove(self, request: Request) -> Response:
        form, session = await posted_form(self._server, request)
        sign_in.require_fresh_sign_in(self._server, request, session)
        kind = form.get("passkey", "")
        known = await self._passkeys(session.subject)
        kept = kind in known and await end_other_access(
            self._server, session, Ending(delete=[kind], beside=KIND)
        )
        if kept:
            audit(Event.PASSKEY_REMOVED, subject=session.subject)
        elif kind in await self._passkeys(session.subject):
            raise Refusal("last_passkey", status=400)
        return account.back(self._server, "passkey_removed", kept or None)


async def _script(request: Request) -> Response:
    return pages.asset(request, _script_text(), "text/javascript")


@cache
def _script_text() -> bytes:
    return (Path(__file__).parent / "pages" / "passkey.js").read_bytes()
