"""Opaque access tokens."""

import re
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from conftest import Live, new_person
from oauth_client import OAuthClient, alive, call
from person import Person

from authserver.crypto.secret_values import Kind, encode, new_seed


def test_a_token_can_be_scanned_for_and_says_nothing(live: Live, alice: Person) -> None:
    """A prefix of our own, then 256 random bits: secret scanners find it, nobody reads it."""
    client = OAuthClient(live)
    first, second = client.tokens(alice)["access_token"], client.tokens(alice)["access_token"]
    assert re.fullmatch(r"mcpat_[A-Za-z0-9_-]{43}", first)
    assert first != second


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token.removeprefix("mcpat_"),
        lambda token: token.replace("mcpat_", "mcprt_"),
        lambda token: token.swapcase(),
        lambda _: encode(Kind.ACCESS_TOKEN, new_seed()),
    ],
)
def test_only_the_very_token_opens(live: Live, alice: Person, change: Callable[[str], str]) -> None:
    """Attack 20: change a token a little. Source: RFC 6749 10.10."""
    token = OAuthClient(live).tokens(alice)["access_token"]
    assert alive(live, token)
    assert not alive(live, change(token))


def test_revoking_takes_effect_at_the_next_call(live: Live, alice: Person) -> None:
    """Attack 24: use a token that was revoked. Source: RFC 7009 2."""
    client = OAuthClient(live)
    token = client.tokens(alice)["access_token"]
    assert client.post("/revoke", token=token).status_code == 200
    assert not alive(live, token)


def test_a_change_of_entitlement_takes_effect_at_the_next_call(live: Live) -> None:
    person = new_person(live, "narrowed", ["write"])
    token = OAuthClient(live).tokens(person, scope="write")["access_token"]
    change: dict[str, Any] = {"name": "change", "arguments": {"text": "x"}}
    assert call(live, token, **change).status_code == 200
    anyio.run(live.on_storage, lambda storage: storage.users.set_scopes("narrowed", ["read"]))
    assert call(live, token, **change).status_code == 403
