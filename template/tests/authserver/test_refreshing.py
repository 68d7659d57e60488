"""How often a grant is refreshed, and spent refresh tokens of which nothing is stored any more."""

import base64
import time
import uuid
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from conftest import Live, ended, new_person
from oauth_client import OAuthClient, alive

from authserver import issuing, limits
from authserver.crypto.marked_tokens import grant_of, marked
from authserver.crypto.secret_values import Kind, digest, encode, new, new_seed
from authserver.storage import Storage
from authserver.storage.grants import Rotation
from authserver.storage.verdicts import Lifetimes, NewTokens, Rotated

Start = Callable[..., Live]


def test_who_refreshes_without_end_has_to_wait_and_loses_nothing(start: Start) -> None:
    """Attack 32: refresh without end. Source: fault 14 of 0.2.0; RFC 6585 4."""
    server = start(limit_refreshes_per_hour=3)
    client, person = OAuthClient(server), new_person(server, "alice")
    tokens = client.tokens(person)
    spent = []
    for _ in range(3):
        spent.append(tokens["refresh_token"])
        tokens = client.refresh(spent[-1]).json()
    for _ in range(2):
        answer = client.refresh(tokens["refresh_token"])
        assert answer.status_code == 429
        assert answer.json()["error"] == "temporarily_unavailable"
        assert 1 <= int(answer.headers["retry-after"]) <= 1200
    assert alive(server, tokens["access_token"])
    assert client.refresh(spent[-1]).json()["refresh_token"] == tokens["refresh_token"]  # a repeat is free
    assert client.refresh(client.tokens(person)["refresh_token"]).status_code == 200  # another grant
    server.stop()
    patient = start(limit_refreshes_per_hour=0)
    client.http = patient.http()
    assert client.refresh(tokens["refresh_token"]).status_code == 200


def test_repeats_for_other_scopes_are_counted_where_they_store_tokens(start: Start) -> None:
    """Attack 32: fill the storage by repeats, each for other scopes. Source: fault 14, its siblings."""
    server = start(limit_refreshes_per_hour=3)
    client = OAuthClient(server)
    token = client.tokens(new_person(server, "alice", ["*"]), scope="write")["refresh_token"]
    assert client.refresh(token).status_code == 200
    answers = [client.refresh(token, scope="read").status_code for _ in range(5)]
    stored = server.auth.tokens.digest(b"") is not None
    assert answers == ([200, 200, 429, 429, 429] if stored else [200] * 5)
    assert client.refresh(token).status_code == 200


def test_where_no_limit_is_set_a_clock_that_goes_back_makes_none(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's time is the process's; the contract has it of every engine that no bucket is kept."""
    server = start(limit_refreshes_per_hour=0)
    client = OAuthClient(server)
    token = client.tokens(new_person(server, "alice", ["*"]), scope="write")["refresh_token"]
    token = client.refresh(token).json()["refresh_token"]
    client.refresh(token)
    assert client.refresh(token, scope="read").status_code == 200
    monkeypatch.setattr("authserver.clock.now", lambda: time.time() - 600)
    assert client.refresh(client.refresh(token).json()["refresh_token"]).status_code == 200
    assert client.refresh(token, scope="admin write read").status_code == 200


def test_a_spent_token_that_is_forgotten_still_counts_as_theft(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 16: use a stolen refresh token long after its owner did. Source: RFC 9700 4.14.2."""
    monkeypatch.setattr(limits, "SPENT_REFRESH_TOKENS", 0)
    server = start(refresh_replay_seconds=0)
    client, other = OAuthClient(server), OAuthClient(server)
    first, last = forgotten(client, client.tokens(new_person(server, "alice")))
    refused = [client.refresh(first, resource="https://elsewhere.example/mcp"), other.refresh(first)]
    refused.append(client.refresh(first, scope="admin"))
    wrong = (first + "=", first[:-1], altered(first), of_grant(first, new_seed()))
    refused += [client.refresh(token) for token in wrong]
    assert {answer.status_code for answer in refused} == {400}
    assert alive(server, last["access_token"])
    assert client.refresh(first).json()["error"] == "invalid_grant"
    assert ended(server, last["access_token"])
    assert client.refresh(last["refresh_token"]).json()["error"] == "invalid_grant"


def test_whoever_guesses_the_id_of_a_grant_cannot_end_it(start: Start) -> None:
    """Attack 16: end the grant of somebody by a forged spent token. Source: fault 14, threat model."""
    server = start()
    client = OAuthClient(server)
    tokens = client.tokens(new_person(server, "alice"))
    [grant] = anyio.run(server.on_storage, lambda storage: storage.grants.all())
    for key in (b"", b"guessed", server.settings.public_url.encode()):
        forged = encode(Kind.REFRESH_TOKEN, marked(new_seed(), grant.grant_id, key))
        assert client.refresh(forged).json()["error"] == "invalid_grant"
        assert client.post("/revoke", token=forged).status_code == 200
    assert alive(server, tokens["access_token"])
    assert client.refresh(tokens["refresh_token"]).status_code == 200


def test_who_comes_back_after_the_last_token_ran_out_has_stolen_nothing(start: Start) -> None:
    server = start(refresh_token_seconds=1, access_token_seconds=61)
    client = OAuthClient(server)
    tokens = client.tokens(new_person(server, "alice"))
    deadline = time.monotonic() + 60
    while client.refresh(tokens["refresh_token"], scope="admin").json()["error"] != "invalid_grant":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert alive(server, tokens["access_token"])


def test_a_refresh_token_of_an_earlier_release_goes_on(start: Start) -> None:
    """It says nothing of its grant; its successor does."""
    server = start()
    client = OAuthClient(server)
    tokens = client.tokens(new_person(server, "alice"))
    earlier = new(Kind.REFRESH_TOKEN)

    async def store(storage: Storage) -> Any:
        return await storage.grants.rotate_refresh_token(
            digest(Kind.REFRESH_TOKEN, tokens["refresh_token"]),
            Rotation(
                scopes=["read"],
                salt=new_seed(),
                replay_seconds=60,
                tokens=NewTokens(None, digest(Kind.REFRESH_TOKEN, earlier)),
                lifetimes=Lifetimes(3600, 3600),
                bucket=issuing.bucket(server.settings, "x"),
                kept=20,
            ),
        )

    assert isinstance(anyio.run(server.on_storage, store), Rotated)
    renewed = client.refresh(earlier).json()
    assert client.refresh(earlier).json()["refresh_token"] == renewed["refresh_token"]
    assert issuing.grant_of(server.auth.keys, earlier) is None
    assert issuing.grant_of(server.auth.keys, renewed["refresh_token"])
    assert client.refresh(renewed["refresh_token"]).status_code == 200


def test_what_a_node_of_an_earlier_release_rotated_is_repeated_as_that_node_said_it(start: Start) -> None:
    """Its salts begin otherwise, and its successors have no mark."""
    keys = start().auth.keys
    grant_id = str(uuid.uuid4())
    ours, theirs = list(keys.replay_keys)
    for name, is_marked in ((ours, True), (theirs, False)):
        seeds = issuing.successors(keys, "mcprt_x", grant_id, name + b"x" * 28, ["read"])
        assert seeds.refresh
        assert (len(seeds.refresh) == 64) == is_marked


def test_a_mark_holds_for_one_token_one_grant_and_one_key() -> None:
    grant_id = str(uuid.uuid4())
    token = encode(Kind.REFRESH_TOKEN, marked(new_seed(), grant_id, b"key"))
    assert grant_of(token, [b"other", b"key"]) == grant_id
    assert grant_of(token, [b"other"]) is None
    for wrong in (
        altered(token),
        of_grant(token, uuid.uuid4().bytes),
        token[6:],
        "",
        "mcprt_",
        "mcprt_ü",
        "\ud800",
    ):
        assert grant_of(wrong, [b"key"]) is None


def forgotten(client: OAuthClient, tokens: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Refresh until nothing is stored of the first refresh token; return it, and the last answer."""
    first = tokens["refresh_token"]
    for _ in range(3):
        time.sleep(0.01)
        tokens = client.refresh(tokens["refresh_token"]).json()
    return first, tokens


def content(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.removeprefix("mcprt_") + "==")


def altered(token: str) -> str:
    """Another seed."""
    return encode(Kind.REFRESH_TOKEN, new_seed() + content(token)[32:])


def of_grant(token: str, grant: bytes) -> str:
    """Another grant."""
    return encode(Kind.REFRESH_TOKEN, content(token)[:32] + grant[:16] + content(token)[48:])
