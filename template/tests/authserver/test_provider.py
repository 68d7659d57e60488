"""The ten methods: what each refuses, and how tokens are renewed."""

import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import logins
import pytest
from conftest import SCOPES, Live, ended, new_person, sample
from mcp.server.auth.provider import (
    AuthorizationParams,
    AuthorizeError,
    RegistrationError,
    TokenError,
)
from mcp.shared.auth import OAuthClientInformationFull
from oauth_client import OAuthClient, alive, call, said
from person import Person
from pydantic import AnyUrl

from authserver import AuthorizationServer, limits
from authserver.all_settings import Settings
from authserver.background import purge
from authserver.crypto.secret_values import Kind, digest
from authserver.issuing import successors
from authserver.model.clients import RegisteredClient
from authserver.model.issued import AuthorizationRequest, IssuedAccessToken, IssuedCode, IssuedRefreshToken

URI = "http://127.0.0.1/cb"
GRANT = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def server(store: dict[str, str]) -> AsyncIterator[AuthorizationServer]:
    opened = AuthorizationServer(SCOPES, Settings.model_validate(store))
    await opened.open()
    yield opened
    await opened.close()


async def test_the_storage_is_closed_before_the_server_says_that_it_is_down(store: dict[str, str]) -> None:
    """Whoever runs the server ends the event loop then, and whatever still closes with it."""
    mcp = sample(Settings.model_validate(store))
    server = mcp.auth
    assert isinstance(server, AuthorizationServer)
    asked = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    told: dict[str, bool] = {}

    async def receive() -> Any:
        return asked.pop(0)

    async def send(message: Any) -> None:
        told[message["type"]] = server._storage is not None

    await mcp.http_app(stateless_http=True)({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    assert told == {"lifespan.startup.complete": True, "lifespan.shutdown.complete": False}


async def test_the_purge_lets_others_in_between_its_batches(
    server: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 32: leave so much behind that others wait while it is deleted. Source: CWE-400."""
    for name in (b"one", b"two", b"three"):
        await server.storage.sign_ins.add_ticket(name, b"value", lifetime_seconds=-1)
    monkeypatch.setattr(limits, "PURGE_RECORDS", 1)
    monkeypatch.setattr(limits, "SWEEP_PAUSE_SECONDS", None)  # it dies between two batches
    with pytest.raises(TypeError):
        await purge(server)
    monkeypatch.setattr(limits, "SWEEP_PAUSE_SECONDS", 0)
    assert await purge(server) == 2


def registered(client_id: str = "client") -> RegisteredClient:
    return RegisteredClient(client_id=client_id, redirect_uris=[AnyUrl(URI)], exact_redirect_uris=[URI])


def issued_code(code: str) -> IssuedCode:
    return IssuedCode(
        code=code,
        grant_id=GRANT,
        exact_redirect_uri=URI,
        redirect_uri=AnyUrl(URI),
        redirect_uri_provided_explicitly=True,
        client_id="client",
        scopes=["read"],
        code_challenge="x" * 43,
        expires_at=time.time() + 60,
    )


def asking(**changes: Any) -> AuthorizationRequest:
    parameters = {
        "state": None,
        "scopes": None,
        "code_challenge": "x" * 43,
        "redirect_uri": URI,
        "exact_redirect_uri": URI,
        "redirect_uri_provided_explicitly": True,
        "address": "192.0.2.1",
    }
    return AuthorizationRequest.model_validate(parameters | changes)


# --------------------------------------------------------------- one test for each method's refusals


@pytest.mark.anyio
async def test_get_client_knows_no_stranger(server: AuthorizationServer) -> None:
    assert await server.get_client("stranger") is None
    assert await server.get_client("") is None


@pytest.mark.anyio
async def test_register_client_takes_only_what_was_checked(server: AuthorizationServer) -> None:
    unchecked = OAuthClientInformationFull(client_id="x", redirect_uris=[AnyUrl("data:x")])
    with pytest.raises(RegistrationError):
        await server.register_client(unchecked)
    assert await server.get_client("x") is None


@pytest.mark.anyio
async def test_authorize_refuses_unknown_scopes_and_foreign_resources(
    server: AuthorizationServer,
) -> None:
    await server.register_client(registered())
    for changes, error in (
        ({"scopes": ["unknown"]}, "invalid_scope"),
        ({"resource": "https://other.example/mcp"}, "invalid_target"),
        ({"resource": "http://127.0.0.1:8000/mcp-other"}, "invalid_target"),
        ({"resource": "http://[::1"}, "invalid_target"),
    ):
        with pytest.raises(AuthorizeError) as refusal:
            await server.authorize(registered(), asking(**changes))
        assert refusal.value.error == error
    unchecked = AuthorizationParams.model_validate(asking().model_dump())
    with pytest.raises(AuthorizeError):
        await server.authorize(registered(), unchecked)


@pytest.mark.anyio
async def test_a_flood_from_one_address_keeps_no_more_than_its_share(server: AuthorizationServer) -> None:
    """Attack 22, 32: fill the store with requests that nobody finishes. Source: threat model."""
    await server.register_client(registered())
    locations = [await server.authorize(registered(), asking()) for _ in range(103)]
    requests = [location.partition("request=")[2] for location in locations]
    stored = [
        await server.storage.grants.get_request(digest(Kind.AUTHORIZATION_REQUEST, value)) is not None
        for value in requests
    ]
    assert stored == [True] * 99 + [False] * 3 + [True]


@pytest.mark.anyio
async def test_load_methods_know_no_stranger(server: AuthorizationServer) -> None:
    """Attack 13, 16, 20: guess codes and tokens. Source: RFC 6749 10.10."""
    for value in ("", "mcpac_unknown", "mcprt_unknown", "mcpat_unknown", "\ud800", "x" * 100_000):
        assert await server.load_authorization_code(registered(), value) is None
        assert await server.load_refresh_token(registered(), value) is None
        assert await server.load_access_token(value) is None
        assert await server.verify_token(value) is None


@pytest.mark.anyio
async def test_exchange_methods_refuse_what_is_not_there(server: AuthorizationServer) -> None:
    with pytest.raises(TokenError) as refusal:
        await server.exchange_authorization_code(registered(), issued_code("mcpac_gone"))
    assert refusal.value.error == "invalid_grant"
    token = IssuedRefreshToken(
        token="mcprt_gone",
        grant_id=GRANT,
        forgotten=False,
        client_id="client",
        scopes=["read"],
        entitlement=None,
    )
    for scopes in (["read"], ["admin"], []):
        with pytest.raises(TokenError) as refusal:
            await server.exchange_refresh_token(registered(), token, scopes)
        assert refusal.value.error == "invalid_grant"
    await server.revoke_token(token)  # nothing to revoke is nothing to say (RFC 7009)


def test_secrets_stay_out_of_representations(store: dict[str, str]) -> None:
    """Attack 26: read secrets in a trace or an exception. Source: threat model."""
    fields: dict[str, object] = {
        "token": "the secret",
        "grant_id": GRANT,
        "forgotten": False,
        "client_id": "c",
        "scopes": [],
        "entitlement": None,
    }
    for secret in (
        IssuedRefreshToken.model_validate(fields),
        IssuedAccessToken.model_validate(fields),
        issued_code("the secret"),
    ):
        assert "the secret" not in repr(secret)
    settings = Settings.model_validate(store | {"secret_key": "k" * 40})
    assert "kkkk" not in repr(settings)


@pytest.mark.anyio
async def test_an_answer_takes_the_token_the_salt_and_the_key(server: AuthorizationServer) -> None:
    """Attack 26: compute the answer to a refresh from what the store holds. Source: threat model."""
    salts = [server.keys.new_salt() for _ in range(2)]
    other = replace(server.keys, replay_keys=dict.fromkeys(server.keys.replay_keys, b"another key"))
    answers = [
        successors(server.keys, token, GRANT, salt, ["read"]) for token in ("one", "two") for salt in salts
    ] + [successors(other, "one", GRANT, salts[0], ["read"])]
    assert len({seed for answer in answers for seed in (answer.access, answer.refresh)}) == 10


def test_verify_token_refuses_a_token_of_another_resource(
    live: Live, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 20: a token of a resource whose path only starts alike. Source: RFC 8707 2, RFC 9700 2.3."""
    token = OAuthClient(live).tokens(alice)["access_token"]
    assert alive(live, token)
    for path in ("/mcp-other", "/mc", "/mcp/x"):
        monkeypatch.setattr(live.auth, "_mcp_path", path)
        with live.http() as http:
            headers = {"Authorization": f"Bearer {token}"}
            assert http.post("/mcp", headers=headers, json={}).status_code == 401


# --------------------------------------------------------------------------------- codes and tokens


def test_a_replayed_code_revokes_what_it_bought(live: Live, alice: Person) -> None:
    """Attack 13: redeem a code that was redeemed. Source: RFC 9700 2.1.1, RFC 6749 4.1.2."""
    client = OAuthClient(live)
    code = client.code(alice)
    tokens = client.redeem(code).json()
    replay = client.redeem(code)
    assert (replay.status_code, replay.json()["error"]) == (400, "invalid_grant")
    assert ended(live, tokens["access_token"])
    assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_who_only_sees_a_code_cannot_kill_its_grant(live: Live, alice: Person) -> None:
    """Attack 13, 14: replay a code as another client, or without its verifier. Source: RFC 9700 4.5."""
    client, thief = OAuthClient(live), OAuthClient(live)
    code = client.code(alice)
    tokens = client.redeem(code).json()
    assert thief.redeem(code, code_verifier=client.verifier).json()["error"] == "invalid_grant"
    assert client.redeem(code, code_verifier="x" * 43).json()["error"] == "invalid_grant"
    assert client.redeem(code, redirect_uri="http://127.0.0.1:8/callback").status_code == 400
    assert alive(live, tokens["access_token"])


def test_the_same_refresh_answer_again_inside_the_window(live: Live, alice: Person) -> None:
    """Attack 16: answers that get lost lock the client out. Source: RFC 9700 4.14.2."""
    client = OAuthClient(live)
    tokens = client.tokens(alice)
    answers = [client.refresh(tokens["refresh_token"]).json() for _ in range(5)]
    for name in ("access_token", "refresh_token", "scope"):
        assert len({said(answer[name]) for answer in answers}) == 1
    assert alive(live, answers[0]["access_token"])
    assert alive(live, tokens["access_token"])  # rotation leaves it alive until it expires
    second = client.refresh(answers[0]["refresh_token"]).json()
    third = client.refresh(tokens["refresh_token"]).json()
    assert third["refresh_token"] == answers[0]["refresh_token"] != second["refresh_token"]
    assert alive(live, second["access_token"])


def test_parallel_refreshes_all_hold_one_living_successor(live: Live, alice: Person) -> None:
    """Attack 16: many processes of one client refresh with one token.
    Source: RFC 9700 4.14.2; peers mint ten tokens, or lock nine out.
    """
    client = OAuthClient(live)
    refresh = client.tokens(alice)["refresh_token"]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: client.refresh(refresh), range(30)))
    assert [answer.status_code for answer in answers] == [200] * 30
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert len({said(answer.json()["access_token"]) for answer in answers}) == 1
    assert alive(live, answers[0].json()["access_token"])
    assert client.refresh(answers[0].json()["refresh_token"]).status_code == 200


def test_parallel_redemptions_have_one_success(live: Live, alice: Person) -> None:
    """Attack 13: one code redeemed thirty times at once. Source: RFC 9700 2.1.1."""
    client = OAuthClient(live)
    code = client.code(alice)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: client.redeem(code), range(30)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [400] * 29
    [won] = [answer for answer in answers if answer.status_code == 200]
    assert ended(live, won.json()["access_token"])


def test_reuse_after_the_window_kills_the_family(start: Callable[..., Live]) -> None:
    """Attack 16: use a stolen refresh token after its owner did. Source: RFC 9700 4.14.2."""
    server = start(refresh_replay_seconds=0)
    client = OAuthClient(server)
    tokens = client.tokens(new_person(server, "alice"))
    renewed = client.refresh(tokens["refresh_token"]).json()
    time.sleep(0.01)
    assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert ended(server, renewed["access_token"])
    assert client.refresh(renewed["refresh_token"]).json()["error"] == "invalid_grant"


def test_narrower_scopes_of_a_refresh_leave_the_grant_as_it_is(live: Live, alice: Person) -> None:
    """RFC 6749 section 6; asked again with other scopes, the refresh token is the same."""
    client = OAuthClient(live)
    tokens = client.tokens(alice, scope="write")
    narrow = client.refresh(tokens["refresh_token"], scope="read offline_access").json()
    wide = client.refresh(tokens["refresh_token"], scope="").json()
    assert (narrow["scope"], wide["scope"]) == ("read", "read write")
    assert narrow["refresh_token"] == wide["refresh_token"]
    assert narrow["access_token"] != wide["access_token"]
    arguments: dict[str, Any] = {"name": "change", "arguments": {"text": "x"}}
    assert call(live, narrow["access_token"], **arguments).status_code == 403
    assert call(live, wide["access_token"], **arguments).status_code == 200
    assert client.refresh(wide["refresh_token"]).json()["scope"] == "read write"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"refresh_token": "mcprt_unknown"}, "invalid_grant"),
        ({"refresh_token": None}, "invalid_request"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"scope": "unknown"}, "invalid_scope"),
        ({"resource": "https://other.example"}, "invalid_target"),
    ],
)
def test_a_refused_refresh_spends_nothing(
    live: Live, alice: Person, form: dict[str, str | None], error: str
) -> None:
    """Attack 15, 16: refresh for more scopes, or for another resource. Source: RFC 6749 6, RFC 8707 2.2."""
    client = OAuthClient(live)
    refresh = client.tokens(alice)["refresh_token"]
    fields = {"grant_type": "refresh_token", "refresh_token": refresh} | form
    assert client.post("/token", **fields).json()["error"] == error
    first = client.refresh(refresh).json()
    assert first["expires_in"] == 3600


def test_another_clients_refresh_token_is_refused_and_stays_alive(live: Live, alice: Person) -> None:
    """Attack 14, 16: use, or kill, the refresh token of another client. Source: RFC 6749 6, RFC 9700 4.14."""
    client, thief = OAuthClient(live), OAuthClient(live)
    refresh = client.tokens(alice)["refresh_token"]
    assert thief.refresh(refresh).json()["error"] == "invalid_grant"
    assert client.refresh(refresh).status_code == 200


def test_a_value_of_one_kind_is_not_accepted_as_another(live: Live, alice: Person) -> None:
    """Attack 13, 20: a code as token, a token as code. Source: Keycloak CVE-2026-4282."""
    client = OAuthClient(live)
    code = client.code(alice)
    tokens = client.tokens(alice)
    assert client.refresh(code).json()["error"] == "invalid_grant"
    assert client.refresh(tokens["access_token"]).json()["error"] == "invalid_grant"
    assert client.redeem(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert not alive(live, tokens["refresh_token"])
    assert not alive(live, code)


def test_tokens_run_out(start: Callable[..., Live]) -> None:
    """Attack 16: use tokens after their time. Source: RFC 6749 1.5, RFC 9700 4.14.2."""
    server = start(access_token_seconds=5, refresh_replay_seconds=0, refresh_token_seconds=5)
    client = OAuthClient(server)
    tokens = client.tokens(new_person(server, "alice"))
    assert tokens["expires_in"] == 5
    assert alive(server, tokens["access_token"])
    time.sleep(5.1)
    assert not alive(server, tokens["access_token"])
    assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


@pytest.mark.anyio
async def test_disabling_a_user_ends_their_tokens_at_the_next_request(
    start: Callable[..., Live],
) -> None:
    """Attack 12, 13: go on after the account was disabled. Source: OWASP ASVS 5.0 7.4.2."""
    server = start()
    with ThreadPoolExecutor(1) as pool:
        person = pool.submit(new_person, server, "alice").result()
    client = OAuthClient(server)
    tokens = client.tokens(person)
    code = client.code(person)
    await server.on_storage(lambda storage: storage.users.disable("alice"))
    assert ended(server, tokens["access_token"])
    assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert client.redeem(code).json()["error"] == "invalid_grant"
    page = person.get(client.authorization_url())
    assert logins.chosen().asks(page)  # signed out
    assert person.sign_in(page).status_code in (401, 403)
