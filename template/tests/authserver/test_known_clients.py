"""What real clients send, recorded in `known_clients.toml`: each logs in, renews, and is revoked."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from conftest import Live, ended
from oauth_client import OAuthClient, alive, answered
from person import Person

CLIENTS: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("known_clients.toml").read_text(encoding="utf-8")
)
# How RFC 7591 section 2 and the SDKs read a registration that names no method.
UNNAMED = "client_secret_post"


class KnownClient(OAuthClient):
    """A client that registers exactly as recorded, and names the resource as all of them do."""

    def __init__(self, server: Live, recorded: dict[str, Any]) -> None:
        self.recorded = recorded
        unnamed = {"client_name": None, "token_endpoint_auth_method": None}
        super().__init__(server, **unnamed | recorded["registration"])


@pytest.mark.parametrize("name", CLIENTS)
def test_a_known_client_logs_in_renews_and_is_revoked(live: Live, alice: Person, name: str) -> None:
    recorded = CLIENTS[name]
    client = KnownClient(live, recorded)
    for field in ("redirect_uris", "client_name"):
        assert client.registered.get(field) == recorded["registration"].get(field)
    method = recorded["registration"].get("token_endpoint_auth_method", UNNAMED)
    assert client.registered["token_endpoint_auth_method"] == method
    assert (client.secret is None) == (method == "none")

    bound = {"redirect_uri": recorded["redirect_uri"], "resource": live.mcp_url}
    asked = {key: recorded[key] for key in ("scope", "prompt") if key in recorded}
    location = alice.allow(client.authorization_url(**bound, **asked))
    assert location.startswith(recorded["redirect_uri"] + "?")
    answer = answered(location)
    assert (answer["state"], answer["iss"]) == ("the state", live.url)

    tokens = client.redeem(answer["code"], **bound).json()
    assert tokens["scope"] == recorded["granted"]
    renewed = client.refresh(tokens["refresh_token"], resource=live.mcp_url).json()
    assert renewed["scope"] == recorded["granted"]
    assert alive(live, renewed["access_token"])
    assert client.post("/revoke", token=renewed["refresh_token"]).status_code == 200
    # What tells a client to log in again, and not to register again.
    assert client.refresh(renewed["refresh_token"]).json()["error"] == "invalid_grant"
    assert ended(live, renewed["access_token"])


@pytest.mark.parametrize("name", CLIENTS)
def test_a_known_client_that_was_removed_is_told_to_register_again(live: Live, name: str) -> None:
    client = KnownClient(live, CLIENTS[name])
    client.id = "removed"
    answer = client.refresh("mcprt_unknown")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
