"""The second factor of logins that begin with a password: an authenticator app and recovery codes.

A login includes `Settings` and `routes`, calls `finish` in place of `browser.sign_in.finish`, and shows
`section` on the account page, by its template.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal
from urllib.parse import urlencode

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from authserver.audit import Event, audit
from authserver.browser import account, sign_in
from authserver.browser.attempts import buckets
from authserver.browser.forms import check_form, form_page, posted_form
from authserver.browser.handling import endpoint
from authserver.browser.sessions import end_other_access, know_device, required_session, start_session
from authserver.crypto.sealing import SECOND_FACTOR
from authserver.findings import Finding, judged, note
from authserver.model.records import Session, User
from authserver.pages.elsewhere import Elsewhere, see_other
from authserver.provider import Provider
from authserver.requests.reading import BadRequest, parse_parameters, read_form
from authserver.settings import CoreSettings
from authserver.storage.users import Ending
from authserver.with_password.second_factor import enrolment, waiting
from authserver.with_password.second_factor.factor import Factor, enrolled
from authserver.with_password.second_factor.kept import Kept
from authserver.with_password.second_factor.waiting import Waiting


class Settings(CoreSettings):
    """Whether people may set up a second factor, or must."""

    second_factor: Literal["optional", "required"] = Field(default="optional", examples=["required"])
    """Whether people may set up a second factor, a code from an authenticator app (optional), or must
    (required).
    """


def checks(settings: Settings) -> Iterator[Finding]:
    """Judge whether a stolen password is enough."""
    return judged(RULES, settings)


def password_is_enough(settings: Settings) -> Iterator[Finding]:
    """Find that whoever has a password needs nothing else.

    Source: NIST SP 800-63B section 4.2.
    """
    if settings.second_factor == "optional":
        yield note(
            "AUTH_SECOND_FACTOR",
            "a password alone is enough to sign in as somebody without a second factor",
            "Set required",
        )


RULES = (password_is_enough,)


class Wrong(Exception):
    """A code is not good: `error` is what the page says, a key of the strings; `wait` is in seconds."""

    def __init__(self, error: str, wait: float | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.wait = wait


class SecondFactor:
    """Asks for codes after a password, and lets people set up and take away what makes them."""

    def __init__(self, server: Provider, settings: Settings) -> None:
        self._server = server
        self._required = settings.second_factor == "required"

    @property
    def routes(self) -> list[Route]:
        """The pages of the second factor."""
        return [
            endpoint("/login/second-factor", GET=self._show, POST=self._go_on),
            endpoint("/account/second-factor", GET=self._show_enrolment, POST=self._enrol),
            endpoint("/account/second-factor/remove", POST=self._remove),
            endpoint("/account/recovery-codes", POST=self._renew_recovery_codes),
        ]

    async def finish(self, request: Request, *, user: User, request_id: str) -> Response:
        """Finish a sign-in after the password: at once, or after a code where one is needed."""
        factor, _ = await self._kept.get(user.subject)
        if factor is None and not self._required:
            return await sign_in.finish(self._server, request, user, request_id)
        response = _to("/login/second-factor", request_id)
        return await waiting.keep(self._server, response, waiting.begin(user, request_id))

    async def section(self, session: Session) -> dict[str, object]:
        """Return what `second_factor_section.html` shows."""
        factor, _ = await self._kept.get(session.subject)
        return {"left": len(factor.recovery) if factor else None, "required": self._required}

    async def rewrap(self) -> int:
        """Seal again what the previous secret key sealed; return how many factors."""
        return await self._kept.rewrap()

    @property
    def _kept(self) -> Kept:
        return Kept(self._server.storage, self._server.keys.seal)

    # ---------------------------------------------------------------------------------------- at sign-in

    async def _show(self, request: Request) -> Response:
        request_id = parse_parameters(request.scope["query_string"]).get("request", "")
        half = await self._half(request, request_id)
        factor, _ = await self._kept.get(half.subject)
        page = self._code_page(request, request_id) if factor else self._offer(request, request_id, half)
        return await waiting.keep(self._server, page, half)

    async def _go_on(self, request: Request) -> Response:
        form = await read_form(request)
        check_form(self._server, request, form)
        request_id = form.get("request", "")
        half = await self._half(request, request_id)
        factor, counter = await self._kept.get(half.subject)
        if factor is None:
            return await self._enrol_at_sign_in(request, form, half)
        try:
            whole = await self._check(request, half, factor, counter, form.get("code", ""))
        except Wrong as wrong:
            page = self._code_page(request, request_id, error=wrong.error, wait=wrong.wait)
            return await waiting.keep(self._server, page, half)
        done = await sign_in.finish(self._server, request, whole, request_id)
        return waiting.end(self._server, done)

    async def _half(self, request: Request, request_id: str) -> Waiting:
        """Take the half of a sign-in that is done; raises Elsewhere, to begin, and Refusal."""
        await sign_in.begin(self._server, request, request_id)
        half = await waiting.take(self._server, request, request_id)
        if half is None:
            raise Elsewhere(_to("/login", request_id))
        return half

    async def _check(
        self, request: Request, half: Waiting, factor: Factor, counter: int, code: str
    ) -> Waiting:
        """Use up a code; return the sign-in, which may go on in another epoch. Raises Wrong."""
        if not code:
            raise Wrong("empty")
        counted = buckets(self._server, request, "code", account=half.subject, user=half)
        wait = await self._server.storage.sign_ins.take_attempt(counted)
        if wait > 0:
            raise Wrong("slow", wait)
        left = factor.used(code)
        epoch = None if left is None else await self._use(half, left, counter, len(factor.recovery))
        if epoch is None:
            audit(Event.SECOND_FACTOR_FAILED, subject=half.subject)
            raise Wrong("wrong")
        await self._server.storage.sign_ins.return_attempt(counted)
        return replace(half, epoch=epoch)

    async def _use(self, half: Waiting, left: Factor, counter: int, codes: int) -> int | None:
        """Keep what is left of a factor that had so many recovery codes; return the epoch, None: too late.

        With a recovery code somebody gets back in who lost the app, or found the slip of paper: all that
        was begun before ends.
        """
        if len(left.recovery) == codes:
            return half.epoch if await self._kept.put(half.subject, left, counter) else None
        put = self._kept.sealed(half.subject, left, counter)
        epoch = await self._server.storage.users.end_access(half.subject, Ending(epoch=half.epoch, put=put))
        if epoch is not None:
            audit(Event.RECOVERY_CODE_USED, subject=half.subject)
        return epoch

    async def _enrol_at_sign_in(self, request: Request, form: dict[str, str], half: Waiting) -> Response:
        """Set up what is demanded; where it is not, somebody took the factor away: begin again."""
        request_id = form.get("request", "")
        if not self._required:
            return _to("/login", request_id)
        seed = enrolment.offered_seed(self._server, form, half.subject)
        made = enrolled(seed, form.get("code", ""))
        if made is None:
            page = self._offer(request, request_id, half, seed=seed)
            return await waiting.keep(self._server, page, half)
        factor, codes = made
        put = self._kept.sealed(half.subject, factor, 0)
        epoch = await self._server.storage.users.end_access(half.subject, Ending(epoch=half.epoch, put=put))
        if epoch is None:
            return _to("/login", request_id)
        audit(Event.SECOND_FACTOR_SET_UP, subject=half.subject)
        onward = sign_in.onward(self._server, request, request_id)
        page = enrolment.show_codes(request, codes, user_name=half.user_name, onward=onward)
        await start_session(self._server, request, page, replace(half, epoch=epoch), request_id)
        audit(Event.SIGNED_IN, subject=half.subject)
        return waiting.end(self._server, page)

    def _offer(
        self, request: Request, request_id: str, half: Waiting, *, seed: str | None = None
    ) -> Response:
        return enrolment.offer(
            self._server,
            request,
            subject=half.subject,
            user_name=half.user_name,
            request_id=request_id,
            seed=seed,
        )

    def _code_page(
        self, request: Request, request_id: str, *, error: str | None = None, wait: float | None = None
    ) -> Response:
        return form_page(
            self._server,
            request,
            "with_password/second_factor/pages/second_factor",
            status={None: 200, "slow": 429, "wrong": 401}.get(error, 400),
            wait=wait,
            request_id=request_id,
            error=error,
        )

    # ------------------------------------------------------------------------------------- on the account

    async def _show_enrolment(self, request: Request) -> Response:
        session = await required_session(self._server, request)
        sign_in.require_fresh_sign_in(self._server, request, session)
        return self._offer_again(request, session, seed=None)

    async def _enrol(self, request: Request) -> Response:
        form, session = await posted_form(self._server, request)
        sign_in.require_fresh_sign_in(self._server, request, session)
        seed = enrolment.offered_seed(self._server, form, session.subject)
        made = enrolled(seed, form.get("code", ""))
        if made is None:
            return self._offer_again(request, session, seed=seed)
        return await self._changed(request, session, made, 0, event=Event.SECOND_FACTOR_SET_UP)

    async def _changed(
        self,
        request: Request,
        session: Session,
        made: tuple[Factor, list[str]],
        counter: int,
        *,
        event: Event,
    ) -> Response:
        """Store a factor that is new or has new recovery codes, and show them; raises BadRequest."""
        factor, codes = made
        put = self._kept.sealed(session.subject, factor, counter)
        kept = await end_other_access(self._server, session, Ending(put=put))
        if kept is None:
            raise BadRequest("the second factor was changed just now")
        audit(event, subject=session.subject)
        page = enrolment.show_codes(request, codes, user_name=session.user_name, onward="/account")
        know_device(self._server, page, kept)
        return page

    def _offer_again(self, request: Request, session: Session, *, seed: str | None) -> Response:
        return enrolment.offer(
            self._server,
            request,
            subject=session.subject,
            user_name=session.user_name,
            shown_to=session.subject,
            seed=seed,
        )

    async def _remove(self, request: Request) -> Response:
        _, session = await posted_form(self._server, request)
        sign_in.require_fresh_sign_in(self._server, request, session)
        if self._required:
            raise BadRequest("this server demands a second factor")
        return await account.end_others(
            self._server,
            session,
            "second_factor_off",
            Event.SECOND_FACTOR_REMOVED,
            Ending(delete=[SECOND_FACTOR]),
        )

    async def _renew_recovery_codes(self, request: Request) -> Response:
        _, session = await posted_form(self._server, request)
        sign_in.require_fresh_sign_in(self._server, request, session)
        factor, counter = await self._kept.get(session.subject)
        if factor is None:
            raise BadRequest("there is no second factor")
        made = factor.with_recovery_codes()
        return await self._changed(request, session, made, counter, event=Event.RECOVERY_CODES_RENEWED)


def _to(path: str, request_id: str) -> Response:
    query = f"?{urlencode({'request': request_id})}" if request_id else ""
    return see_other(f"{path}{query}")
