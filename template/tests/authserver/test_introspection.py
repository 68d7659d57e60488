"""Introspection (RFC 7662): the same in every token format."""

from collections.abc import Callable

import anyio
import pytest
from conftest import Live, ended, new_person
from oauth_client import OAuthClient
from operators import Operator
from person import Person

NOT_ACTIVE = {"active": False}


class Gateway(OAuthClient):
    """A service that the operator lets ask about all tokens; it logs nobody in."""

    def __init__(self, server: Live, operator: Operator, method: str) -> None:
        super().__init__(server)
        printed = operator.types("clients", "add", "Gateway", "--introspect", "--method", method)
        told = dict(line.split(": ") for line in printed.splitlines())
        self.id, self.secret = told["client_id"], told["client_secret"]
        self.registered = {"token_endpoint_auth_method": method, "redirect_uris": [self.REDIRECT_URI]}


@pytest.fixture
def server(start: Callable[..., Live]) -> Live:
    return start()


@pytest.fixture
def person(server: Live) -> Person:
    return new_person(server, "alice", ["*"])


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
def test_a_service_that_may_ask_learns_what_a_token_amounts_to(
    server: Live, person: Person, operator: Operator, method: str
) -> None:
    client = OAuthClient(server)
    tokens = client.tokens(person, scope="write")
    gateway = Gateway(server, operator, method)
    answer = gateway.post("/introspect", token=tokens["access_token"], token_type_hint="access_token")
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert isinstance(told.pop("exp"), int)
    assert told.pop("sub")
    assert told == {
        "active": True,
        "token_type": "Bearer",
        "client_id": client.id,
        "scope": "read write",
        "aud": server.mcp_url,
        "iss": server.url,
        "username": "alice",
    }
    client.post("/revoke", token=tokens["refresh_token"])
    assert ended(server, tokens["access_token"])
    assert gateway.post("/introspect", token=tokens["access_token"]).json() == NOT_ACTIVE


def test_a_confidential_client_learns_about_its_own_tokens(server: Live, person: Person) -> None:
    client = OAuthClient(server, token_endpoint_auth_method="client_secret_post")
    tokens = client.tokens(person)
    assert client.post("/introspect", token=tokens["access_token"]).json()["active"] is True
    # What it may do with a refresh token, /token says.
    assert client.post("/introspect", token=tokens["refresh_token"]).json() == NOT_ACTIVE


def test_a_stranger_learns_nothing_by_introspection(server: Live, person: Person) -> None:
    """Attack 24b: ask about tokens of others, with or without an account. Source: RFC 7662 2.1, 4."""
    token = OAuthClient(server).tokens(person)["access_token"]
    # It says of itself that it may: what only the operator can say.
    stranger = OAuthClient(
        server, token_endpoint_auth_method="client_secret_basic", introspects=True, introspect=True
    )
    foreign = stranger.post("/introspect", token=token)
    unknown = stranger.post("/introspect", token=token + "x")
    assert foreign.json() == unknown.json() == NOT_ACTIVE
    assert foreign.headers.keys() == unknown.headers.keys()
    public = OAuthClient(server)
    own = public.tokens(person)["access_token"]
    for answer in (
        public.post("/introspect", token=own),
        server.http().post("/introspect", data={"token": token}),
        server.http().post(
            "/introspect", data={"token": token}, headers={"Authorization": f"Bearer {token}"}
        ),
        stranger.http.post("/introspect", data={"token": token}, auth=(stranger.id, "wrong")),
    ):
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert stranger.post("/introspect").json()["error"] == "invalid_request"
    assert server.http().get("/introspect").status_code == 405


def test_who_only_asks_gets_no_tokens(server: Live, person: Person, operator: Operator) -> None:
    """Attack 24b: use the secret of a service that checks tokens to get some. Source: RFC 6749 10.2."""
    gateway = Gateway(server, operator, "client_secret_post")
    page = person.get(gateway.authorization_url())
    assert page.status_code == 400
    for grant_type in ("authorization_code", "refresh_token", "client_credentials"):
        answer = gateway.post("/token", grant_type=grant_type, code="x", refresh_token="x")
        assert answer.status_code == 400
    assert "with a secret" in operator.fails("clients", "add", "Gateway", "--introspect", "--method", "none")


def test_a_disabled_users_token_is_not_active(server: Live, person: Person, operator: Operator) -> None:
    gateway = Gateway(server, operator, "client_secret_post")
    token = OAuthClient(server).tokens(person)["access_token"]
    assert gateway.post("/introspect", token=token).json()["active"] is True
    anyio.run(server.on_storage, lambda storage: storage.users.disable("alice"))
    assert ended(server, token)
    assert gateway.post("/introspect", token=token).json() == NOT_ACTIVE
