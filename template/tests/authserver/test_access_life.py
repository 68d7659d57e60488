"""A state machine walks what begins and ends access, and compares what is alive with a plain model.

Each thing is begun in one step and goes on in another, so that anything may end access in between: what was
begun before then opens nothing, whatever it is.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from conftest import SCOPES, new_store
from counting import Count
from engines import Engine
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from starlette.requests import Request
from starlette.responses import Response
from storage import REQUEST, add_client, add_request

from authserver import AuthorizationServer, limits
from authserver.all_settings import Settings
from authserver.browser import sessions
from authserver.crypto.secret_values import Kind, digest, new_seed
from authserver.model import records
from authserver.pages.elsewhere import Elsewhere
from authserver.storage.users import Ending, NewCredential

T = TypeVar("T")

USERS = ["ann", "bob"]
PASSWORD, FACTOR = "password", "second-factor"

PICK = st.integers(0, 20)

steps = 0


@dataclass
class User:
    """The model of a user: how often their access was ended, and which changes each credential has seen."""

    name: str
    subject: str
    ends: int = 0
    enabled: bool = True
    counters: dict[str, int] = field(default_factory=lambda: {PASSWORD: 1})


@dataclass
class Begun:
    """A sign-in whose credentials were read, or half of one; `at` is how often access had ended then."""

    user: User
    read: records.User
    counters: dict[str, int]
    at: int

    @property
    def alive(self) -> bool:
        return self.user.enabled and self.user.ends == self.at


@dataclass
class Session:
    """The model of a browser that was signed in: its cookies, and whether it was signed out by itself.

    It goes on where it ends all others (`at`); as a known device (`known_at`) only where a page says so.
    """

    user: User
    browser: Request
    digest: bytes
    at: int
    known_at: int
    ended: bool = False

    @property
    def alive(self) -> bool:
        return self.user.enabled and self.user.ends == self.at and not self.ended


@dataclass
class Link:
    """The model of a one-time link, which dies with the access that it was made beside."""

    user: User
    token: str
    at: int
    used: bool = False

    @property
    def alive(self) -> bool:
        return self.user.ends == self.at and not self.used


@dataclass
class Consent:
    """A consent page that lies open: the request, and the session to which it was shown."""

    request: bytes
    session: Session


def browser_with(cookies: str) -> Request:
    headers = [(b"cookie", cookies.encode()), (b"user-agent", b"Firefox")]
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers})


class AccessLife(RuleBasedStateMachine):
    """The rules are what people, thieves and operators do, in any order."""

    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.server = AuthorizationServer(SCOPES, Settings.model_validate(new_store(self.engine)))
        self.run(self.server.open())
        self.storage = self.server.storage
        self.run(add_client(self.storage))
        self.users = {name: self.run(self.new_user(name)) for name in USERS}
        self.begun: list[Begun] = []
        self.sessions: list[Session] = []
        self.links: list[Link] = []
        self.consents: list[Consent] = []
        self.grants = dict.fromkeys(USERS, 0)

    def run(self, operation: Awaitable[T]) -> T:
        async def wait() -> T:
            return await operation

        return self.runner.run(wait())

    def teardown(self) -> None:
        self.run(self.server.close())
        self.runner.close()

    async def new_user(self, name: str) -> User:
        link = new_seed()
        await self.storage.users.add_invitation(link, name, scopes=None, lifetime_seconds=100)
        user = await self.storage.users.claim_invitation(link, name=name, credential=(PASSWORD, b"x"))
        assert user
        return User(name, user.subject)

    def ended(self, user: User, *, kept: Session | None = None, grants: bool = False) -> None:
        """Access of the user was ended."""
        user.ends += 1
        if kept is not None:
            kept.at = user.ends
        if grants:
            self.grants[user.name] = 0

    # ------------------------------------------------------------------------------------------ sign-ins

    @rule(name=st.sampled_from(USERS))
    def begin(self, name: str) -> None:
        """The user is read, then their credentials; they were the right ones, or half of them."""
        user = self.users[name]
        read = self.run(self.storage.users.get(name))
        assert read is not None
        if user.enabled:
            self.begun.append(Begun(user, read, dict(user.counters), user.ends))

    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        """A sign-in that was begun some time ago gets its session."""
        if not self.begun:
            return
        begun = self.begun[-1 - pick % len(self.begun)]
        response = Response()
        starting = sessions.start_session(self.server, browser_with(""), response, begun.read)
        if not begun.alive:
            with pytest.raises(Elsewhere):
                self.run(starting)
            return
        stored = self.run(starting)
        set_cookies = [value for name, value in response.headers.items() if name == "set-cookie"]
        cookies = "; ".join(value.partition(";")[0] for value in set_cookies)
        self.sessions.append(Session(begun.user, browser_with(cookies), stored, begun.at, begun.at))

    @rule(pick=PICK, kind=st.sampled_from([PASSWORD, FACTOR]))
    def change_by_half(self, pick: int, kind: str) -> None:
        """Half a sign-in sets a factor up, or uses a recovery code up, as it had read it."""
        if not self.begun:
            return
        begun = self.begun[-1 - pick % len(self.begun)]
        before = begun.counters.get(kind, 0)
        moved = self.run(
            self.storage.users.end_access(
                begun.user.subject, Ending(epoch=begun.read.epoch, put=NewCredential(kind, b"half", before))
            )
        )
        # A credential changes with the epoch only: whoever is of the same one has read the present one.
        assert (moved is not None) == (begun.user.ends == begun.at)
        if moved is not None:
            begun.user.counters[kind] = before + 1
            self.ended(begun.user)

    # ------------------------------------------------------------------------------------------ sessions

    def session(self, pick: int) -> Session | None:
        return self.sessions[-1 - pick % len(self.sessions)] if self.sessions else None

    @rule(pick=PICK, keep=st.booleans(), grants=st.booleans(), kind=st.sampled_from([PASSWORD, FACTOR, None]))
    def change_by_session(self, pick: int, keep: bool, grants: bool, kind: str | None) -> None:
        """A browser changes a credential, or signs all others or all out; it read its session long ago."""
        if (session := self.session(pick)) is None:
            return
        user = session.user
        before = user.counters.get(kind or "", 0)
        moved = self.run(
            self.storage.users.end_access(
                user.subject,
                Ending(
                    session=session.digest,
                    keep=keep,
                    put=NewCredential(kind, b"new", before) if kind else None,
                    grants=grants,
                ),
            )
        )
        assert (moved is not None) == session.alive
        if moved is not None:
            if kind:
                user.counters[kind] = before + 1
            self.ended(user, kept=session if keep else None, grants=grants)

    @rule(pick=PICK)
    def end_one_session(self, pick: int) -> None:
        """One device is signed out."""
        if session := self.session(pick):
            self.run(self.storage.sign_ins.end_session(session.digest))
            session.ended = True

    # ------------------------------------------------------------------------------------------ consents

    @rule(pick=PICK)
    def ask(self, pick: int) -> None:
        """A consent page is opened."""
        if (session := self.session(pick)) and session.alive:
            self.consents.append(Consent(self.run(add_request(self.storage)), session))

    @rule(pick=PICK)
    def allow(self, pick: int) -> None:
        """A consent page that was opened some time ago is answered."""
        if not self.consents:
            return
        consent = self.consents.pop(-1 - pick % len(self.consents))
        taken = self.run(
            self.storage.grants.create(
                consent.request,
                session=consent.session.digest,
                scopes=("read",),
                grant_seconds=1000,
                code=new_seed(),
                code_seconds=100,
            )
        )
        assert taken == (REQUEST if consent.session.alive else None)
        if taken:
            self.grants[consent.session.user.name] += 1

    # -------------------------------------------------------------------------------- links, commands

    @rule(name=st.sampled_from(USERS))
    def invite(self, name: str) -> None:
        """The operator makes a link; an older one of the same user is dead."""
        user = self.users[name]
        for link in self.links:
            link.used = link.used or link.user is user
        link = Link(user, new_seed().hex(), user.ends)
        self.links.append(link)
        stored = digest(Kind.INVITATION, link.token)
        assert self.run(self.storage.users.add_invitation(stored, name, scopes=None, lifetime_seconds=100))

    @rule(pick=PICK, grants=st.booleans())
    def recover(self, pick: int, grants: bool) -> None:
        """Somebody uses a link, old or new."""
        if not self.links:
            return
        link = self.links[-1 - pick % len(self.links)]
        user = link.user
        stored = digest(Kind.INVITATION, link.token)
        found = self.run(
            self.storage.users.claim_invitation(stored, name="", credential=(PASSWORD, b"new"), grants=grants)
        )
        assert (found is not None) == (link.alive and user.enabled)
        link.used = True
        if found is not None:
            user.counters[PASSWORD] += 1
            self.ended(user, grants=grants)

    @rule(name=st.sampled_from(USERS), grants=st.booleans(), factor=st.booleans())
    def secure(self, name: str, grants: bool, factor: bool) -> None:
        """The operator signs a user out everywhere, or takes their factor away."""
        user = self.users[name]
        kinds = [FACTOR] if factor else []
        assert self.run(self.storage.users.end_access(user.subject, Ending(delete=kinds, grants=grants)))
        if factor:
            user.counters.pop(FACTOR, None)
        self.ended(user, grants=grants)

    @rule(name=st.sampled_from(USERS), back=st.sampled_from([True, True, False]))
    def disable(self, name: str, back: bool) -> None:
        """The operator disables a user, who may come back."""
        user = self.users[name]
        assert self.run(self.storage.users.disable(name))
        user.enabled = False
        self.ended(user, grants=True)
        if back:
            self.enable(name)

    @rule(name=st.sampled_from(USERS))
    def enable(self, name: str) -> None:
        """The operator lets a user in again."""
        assert self.run(self.storage.users.enable(name))
        self.users[name].enabled = True

    # -------------------------------------------------------------------------------------- invariants

    @invariant()
    def what_is_alive_is_what_the_model_says(self) -> None:
        """Sessions, links, grants and known devices, of now and of before."""
        global steps  # noqa: PLW0603
        steps += 1
        self.run(self.compare())

    async def compare(self) -> None:
        for session in self.sessions[-8:]:
            found = await self.storage.sign_ins.get_session(session.digest)
            assert (found is not None) == session.alive
            now = await self.storage.users.get(session.user.name)
            assert now is not None
            known = sessions.is_known_device(self.server, session.browser, now)
            assert known == (session.known_at == session.user.ends)
        for link in self.links[-8:]:
            stored = digest(Kind.INVITATION, link.token)
            assert (await self.storage.users.get_invitation(stored) is not None) == link.alive
        for name, user in self.users.items():
            assert len(await self.storage.grants.all(user.subject)) == self.grants[name]
            living = {one.digest for one in self.sessions if one.user is user and one.alive}
            listed = {one.digest for one in await self.storage.sign_ins.list_sessions(user.subject)}
            assert listed == living


def test_access_ends_as_the_model_says(
    engine: Engine, record_property: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 12: go on, in any way and order, with what was begun before access ended.
    Source: threat model, state machine; OWASP ASVS 5.0 7.4.
    """
    monkeypatch.setattr(limits, "SESSIONS_OF_A_USER", 1000)  # they are bounded elsewhere
    AccessLife.engine = engine
    run_state_machine_as_test(AccessLife)
    record_property("state machine steps", steps)
