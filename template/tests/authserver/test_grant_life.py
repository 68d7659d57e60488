"""A state machine walks the life of grants and compares each answer with a plain model.

Time is not waited for: what has run out is issued with no time to live, what comes too late comes with no
replay window.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import SCOPES, new_store
from counting import Count
from engines import Engine
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from mcp.server.auth.provider import AccessToken, RefreshToken, TokenError
from mcp.shared.auth import OAuthToken
from oauth_client import said
from pydantic import AnyUrl

from authserver import AuthorizationServer
from authserver.all_settings import Settings
from authserver.crypto import secret_values
from authserver.crypto.secret_values import Kind, digest
from authserver.model import records
from authserver.model.clients import RegisteredClient
from authserver.model.issued import AuthorizationRequest

T = TypeVar("T")

URI = "http://127.0.0.1/cb"
CLIENTS = ["one", "two"]
USERS = ["ann", "bob"]
NAMES = [scope.name for scope in SCOPES]

PICK = st.integers(0, 20)

steps = 0


def wide(names: set[str]) -> set[str]:
    """What scopes amount to: in this server, `write` includes `read`."""
    return names | ({"read"} if "write" in names else set())


@dataclass
class User:
    """The model of a user."""

    subject: str
    may: set[str]
    epoch: int = 0
    enabled: bool = True


@dataclass
class Grant:
    """The model of a grant."""

    client: RegisteredClient
    user: User
    code: str
    scopes: set[str]
    revoked: bool = False
    code_spent: bool = False
    code_expired: bool = False

    @property
    def alive(self) -> bool:
        return not self.revoked and self.user.enabled


@dataclass
class Token:
    """The model of an access token, or of a refresh token with what it was spent for."""

    value: str
    grant: Grant
    scopes: set[str]
    expired: bool = False
    successor: str = ""
    purged: bool = False
    access: dict[frozenset[str], str] = field(default_factory=dict)


class GrantLife(RuleBasedStateMachine):
    """The rules are what may happen to a grant, in any order."""

    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.settings = Settings.model_validate(new_store(self.engine))
        self.server = AuthorizationServer(SCOPES, self.settings)
        self.run(self.server.open())
        self.clients = {name: self.run(self.new_client(name)) for name in CLIENTS}
        self.users = {name: self.run(self.new_user(name)) for name in USERS}
        self.grants: list[Grant] = []
        self.refreshing: list[Token] = []
        self.issued: list[Token] = []

    def run(self, operation: Awaitable[T]) -> T:
        async def wait() -> T:
            return await operation

        return self.runner.run(wait())

    def teardown(self) -> None:
        self.run(self.server.close())
        self.runner.close()

    async def new_client(self, name: str) -> RegisteredClient:
        client = RegisteredClient(
            client_id=name,
            redirect_uris=[AnyUrl(URI)],
            exact_redirect_uris=[URI],
            grant_types=["authorization_code", "refresh_token"],
            token_endpoint_auth_method="none",
        )
        await self.server.register_client(client)
        return client

    async def new_user(self, name: str) -> User:
        link = digest(Kind.INVITATION, name)
        assert await self.server.storage.users.add_invitation(link, name, scopes=["*"], lifetime_seconds=60)
        user = await self.server.storage.users.claim_invitation(
            link, name=name, credential=("password", b"x")
        )
        assert user
        await self.server.storage.users.set_scopes(name, ["*"])
        return User(user.subject, set(NAMES))

    def within(self, **changes: float) -> None:
        """Let settings hold for the next call."""
        self.server._settings = self.settings.model_copy(update=changes)

    def refused(self, operation: Awaitable[OAuthToken]) -> None:
        with pytest.raises(TokenError) as refusal:
            self.run(operation)
        assert refusal.value.error == "invalid_grant"

    # ------------------------------------------------------------------------------------- issue, redeem

    @rule(
        client=st.sampled_from(CLIENTS),
        user=st.sampled_from(USERS),
        scopes=st.sets(st.sampled_from(NAMES), min_size=1),
        expired=st.sampled_from([False, False, False, True]),
    )
    def consent(self, client: str, user: str, scopes: set[str], expired: bool = False) -> None:
        """A code is issued; one in four has run out at once."""
        who = self.users[user]
        location = self.run(
            self.server.authorize(
                self.clients[client],
                AuthorizationRequest(
                    state=None,
                    scopes=sorted(scopes),
                    code_challenge="x" * 43,
                    redirect_uri=AnyUrl(URI),
                    exact_redirect_uri=URI,
                    redirect_uri_provided_explicitly=True,
                    address=f"{len(self.issued)}",
                ),
            )
        )
        [request] = parse_qs(urlsplit(location).query)["request"]
        code = secret_values.new(Kind.AUTHORIZATION_CODE)
        session = secret_values.new_seed()
        signed_in = self.run(
            self.server.storage.sign_ins.add_session(
                session, who.subject, epoch=who.epoch, device="", lifetime_seconds=100, limit=3
            )
        )
        assert signed_in == who.enabled
        taken = self.run(
            self.server.storage.grants.create(
                digest(Kind.AUTHORIZATION_REQUEST, request),
                session=session,
                scopes=sorted(scopes),
                grant_seconds=1000,
                code=digest(Kind.AUTHORIZATION_CODE, code),
                code_seconds=0 if expired else 60,
            )
        )
        assert isinstance(taken, records.AuthorizationRequest if who.enabled else type(None))
        if taken is None:
            return
        self.grants.append(Grant(self.clients[client], who, code, scopes, code_expired=expired))

    @rule(
        pick=PICK,
        access_expired=st.booleans(),
        refresh_expired=st.sampled_from([False, False, False, True]),
    )
    def redeem(self, pick: int, access_expired: bool = False, refresh_expired: bool = False) -> None:
        """A code is redeemed: once. A second time ends its grant, unless it has run out by then."""
        if not self.grants:
            return
        grant = self.grants[-1 - pick % len(self.grants)]
        loaded = self.run(self.server.load_authorization_code(grant.client, grant.code))
        assert (loaded is None) == grant.code_expired
        if loaded is None:
            return
        self.within(
            access_token_seconds=0 if access_expired else 500,
            refresh_token_seconds=0 if refresh_expired else 900,
        )
        exchange = self.server.exchange_authorization_code(grant.client, loaded)
        if not grant.alive or grant.code_spent:
            self.refused(exchange)
            grant.revoked = grant.revoked or grant.code_spent
            return
        grant.code_spent = True
        answer = self.run(exchange)
        assert answer.refresh_token
        assert set((answer.scope or "").split()) == grant.scopes
        self.issued.append(Token(answer.access_token, grant, grant.scopes, expired=access_expired))
        self.refreshing.append(Token(answer.refresh_token, grant, grant.scopes, expired=refresh_expired))

    @rule(client=st.sampled_from(CLIENTS), user=st.sampled_from(USERS))
    def log_in(self, client: str, user: str) -> None:
        """The usual beginning."""
        if self.users[user].enabled:
            self.consent(client, user, set(NAMES))
            self.redeem(0)

    # -------------------------------------------------------------------------- refresh, repeat, replay

    @rule(
        pick=PICK,
        living=st.sampled_from([True, True, False]),
        fewer=st.sets(st.sampled_from(NAMES)),
        late=st.booleans(),
    )
    def refresh(self, pick: int, living: bool, fewer: set[str], late: bool) -> None:
        """A refresh token is used: for the first time, again, or again too late."""
        tokens = [token for token in self.refreshing if not living or token.grant.alive]
        if not tokens:
            return
        token = tokens[-1 - pick % len(tokens)]
        grant = token.grant
        asked = (grant.scopes & fewer) or grant.scopes
        loaded = self.run(self.server.load_refresh_token(grant.client, token.value))
        assert (loaded is None) == token.expired
        if loaded is None:
            return
        self.within(refresh_replay_seconds=-1 if late else 60)
        exchange = self.server.exchange_refresh_token(grant.client, loaded, sorted(asked))
        allowed = wide(asked) & wide(grant.user.may)
        if not allowed or not grant.alive:
            self.refused(exchange)
            return
        if token.successor and (late or token.purged):
            self.refused(exchange)
            grant.revoked = True
            return
        answer = self.run(exchange)
        assert set((answer.scope or "").split()) == allowed
        assert answer.refresh_token
        key = frozenset(allowed)
        if token.successor:
            assert answer.refresh_token == token.successor
            assert said(token.access.get(key, answer.access_token)) == said(answer.access_token)
            known = token.access.setdefault(key, answer.access_token)
            self.issued.append(Token(known, grant, allowed))
            return
        token.successor = answer.refresh_token
        token.access[key] = answer.access_token
        self.issued.append(Token(answer.access_token, grant, allowed))
        self.refreshing.append(Token(answer.refresh_token, grant, grant.scopes))

    # -------------------------------------------------------------------------------- what ends a grant

    @rule(pick=PICK, by_access=st.booleans())
    def revoke(self, pick: int, by_access: bool) -> None:
        """The client signs out, with either token."""
        if not self.refreshing:
            return
        token = self.refreshing[pick % len(self.refreshing)]
        loaded: AccessToken | RefreshToken | None
        if by_access:
            issued = next(one for one in self.issued if one.grant is token.grant)
            loaded = self.run(self.server.load_access_token(issued.value))
            assert (loaded is not None) == (token.grant.alive and not issued.expired)
        else:
            loaded = self.run(self.server.load_refresh_token(token.grant.client, token.value))
            assert (loaded is not None) == (not token.expired)
        if loaded is not None:
            self.run(self.server.revoke_token(loaded))
            token.grant.revoked = True

    @rule(name=st.sampled_from(USERS), back=st.sampled_from([True, True, False]))
    def disable(self, name: str, back: bool) -> None:
        """The operator disables a user: their grants end for good, even if the user may come back."""
        self.run(self.server.storage.users.disable(name))
        self.users[name].enabled = False
        self.users[name].epoch += 1
        for grant in self.grants:
            grant.revoked = grant.revoked or grant.user is self.users[name]
        if back:
            self.enable(name)

    @rule(name=st.sampled_from(USERS))
    def enable_again(self, name: str) -> None:
        """The operator lets a user in again."""
        self.enable(name)

    def enable(self, name: str) -> None:
        self.run(self.server.storage.users.enable(name))
        self.users[name].enabled = True

    @rule(name=st.sampled_from(USERS), scopes=st.sampled_from([set(NAMES), {"read"}, {"write"}, set()]))
    def entitle(self, name: str, scopes: set[str]) -> None:
        """The operator changes what a user may grant."""
        self.run(self.server.storage.users.set_scopes(name, sorted(scopes)))
        self.users[name].may = scopes

    @rule(late=st.booleans())
    def purge(self, late: bool) -> None:
        """What has run out is deleted: nobody sees a difference, except that late repeats stay late."""
        self.run(
            self.server.storage.purge(
                limit=1000, replay_seconds=-1 if late else 60, unused_seconds=1000, idle_seconds=None
            )
        )
        if late:
            for token in self.refreshing:
                token.purged = bool(token.successor)

    # -------------------------------------------------------------------------------------- invariants

    @invariant()
    def every_access_token_is_as_alive_as_its_grant(self) -> None:
        """What a token opens is what its grant, its user and its time allow now."""
        global steps  # noqa: PLW0603
        steps += 1
        self.run(self.compare())

    async def compare(self) -> None:
        await self.server.tokens.catch_up()
        # Of a token that is looked up; else the token itself says what it opens, until the next refresh.
        looked_up = self.server.tokens.digest(bytes(32)) is not None
        for token in self.issued[-12:]:
            verified = await self.server.verify_token(token.value)
            if not token.grant.alive or token.expired:
                assert verified is None
            else:
                assert verified is not None
                may = wide(token.grant.user.may) if looked_up else set(NAMES)
                assert set(verified.scopes) == wide(token.scopes) & may
                assert verified.subject == token.grant.user.subject


def test_a_grant_lives_as_the_model_says(engine: Engine, record_property: Count) -> None:
    """Attack 27: whatever may happen to a grant, in any order. Source: threat model, state machine.

    A bounded share of walks; many with --hypothesis-profile=long.
    """
    GrantLife.engine = engine
    run_state_machine_as_test(GrantLife)
    record_property("state machine steps", steps)
