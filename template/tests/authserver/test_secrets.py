"""Nothing secret is stored, logged or said in an error, in clear."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from conftest import Command, Live, invite, new_person, new_store
from engines import Engine
from oauth_client import OAuthClient, alive
from person import PASSWORD, Person
from storage import operations

from authserver import limits
from authserver.crypto.secret_values import Kind, derive, digest, encode, new
from authserver.storage.errors import StorageUnavailable


def test_no_secret_is_found_in_the_store_or_the_log(engine: Engine, tmp_path: Path) -> None:
    """Attack 26: read the store and the log. Source: RFC 6819 5.1.4.1.3."""
    store = new_store(engine, "secrets")
    server = Command(store, tmp_path / "output").start()
    link = invite(server, "alice")
    person = Person(server)
    assert person.get(link).status_code in (200, 404)  # there may be no links
    person.join(link)
    Person(server).get(link)
    client = OAuthClient(server, token_endpoint_auth_method="client_secret_basic")
    state = "the state of the client"  # stored, since the client gets it back, but logged nowhere
    code = client.code(person, state=state)
    first = client.redeem(code).json()
    second = client.refresh(first["refresh_token"]).json()
    client.refresh("mcprt_unknown_one")
    client.post("/revoke", token="mcpat_unknown_one")
    guesser = Person(server, "alice", "a wrong password here")
    guesser.sign_in(guesser.get("/login"))
    server.stop()
    secrets = [
        PASSWORD,
        "a wrong password here",
        state,
        link.rsplit("/", 1)[1],
        code,
        client.secret,
        client.verifier,
        "mcprt_unknown_one",
        "mcpat_unknown_one",
        *(cookie.value for cookie in person.browser.cookies.jar),
        *(tokens[name] for tokens in (first, second) for name in ("access_token", "refresh_token")),
        _secret_key(server),
    ]
    text = server.output.read_text()
    assert '"route": "/invite/{token}"' in text
    assert '"event": "code redeemed"' in text
    assert "/invite/mcpiv" not in text  # no terminal, so no link for the first account either
    stored = engine.contents("secrets")
    assert len(stored) > 1_000  # at least each record, where the files cannot be read
    for secret in secrets:
        assert secret
        assert secret not in text
        assert secret.encode() not in stored or secret == state


def _secret_key(server: Live) -> str:
    set_key, made = server.settings.secret_key, server.settings.made_key_path
    return set_key.get_secret_value() if set_key else made.read_text() if made else ""


def test_storage_trouble_is_503_everywhere_and_passes(
    start: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 18: take the storage away, so that clients throw their credentials away.
    Source: RFC 6749 5.2; MCP clients drop them on 401 and invalid_grant.
    """
    server = start()
    person = new_person(server, "alice")
    client = OAuthClient(server)
    tokens = client.tokens(person)
    code = client.code(person)

    async def broken(*_: object, **__: object) -> None:
        raise StorageUnavailable("the disk is gone")

    with monkeypatch.context() as patch:
        for operation, kind in operations(server.auth.storage).items():
            patch.setattr(kind, operation.rpartition(".")[2], broken)
        # For so long a check may do without it, and the last answer about readiness is given again.
        time.sleep(max(server.auth.tokens.revoked_within_seconds, limits.PROBE_SECONDS))
        answers = [
            client.redeem(code),
            client.refresh(tokens["refresh_token"]),
            client.post("/revoke", token=tokens["access_token"]),
            client.http.post("/register", json={"redirect_uris": ["http://127.0.0.1/"]}),
            client.http.get(client.authorization_url()),
            client.http.post("/mcp", headers={"Authorization": f"Bearer {tokens['access_token']}"}),
            client.http.get("/readyz"),
            person.browser.get("/account"),
            person.browser.get(client.authorization_url()),
        ]
        for answer in answers:
            assert answer.status_code == 503, answer.url
            assert int(answer.headers["retry-after"]) > 0
        for answer in answers[:7]:
            assert answer.json()["error"] == "temporarily_unavailable"
        assert "<h1" in answers[7].text
    assert alive(server, tokens["access_token"])
    assert client.redeem(code).status_code == 200
    assert client.refresh(tokens["refresh_token"]).status_code == 200


def test_an_unexpected_error_is_a_page_without_details_and_logs_no_message(
    start: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 26: make the server fail, and read what it says. Source: OWASP ASVS 5.0 16.5.1."""
    server = start()
    message = "what the error says"

    def broken(*_: object) -> None:
        raise ValueError(message)

    monkeypatch.setattr(type(server.auth.storage.clients), "get", broken)
    with structlog.testing.capture_logs() as logged:
        answer = server.http(headers={"Accept": "text/html"}).get("/authorize?client_id=x")
    assert answer.status_code == 500
    assert message not in answer.text
    [entry] = [entry for entry in logged if entry["event"] == "unexpected error"]
    assert entry["kind"] == "ValueError"
    assert message not in str(logged)


def test_values_are_long_scannable_and_never_alike() -> None:
    values = {new(kind) for kind in Kind for _ in range(100)}
    assert len(values) == 100 * len(Kind)
    for kind in Kind:
        assert new(kind).startswith(kind.value)
        assert len(encode(kind, bytes(32))) == len(kind.value) + 43
    assert len({digest(kind, "x") for kind in Kind}) == len(Kind)


def test_derived_keys_differ_for_different_parts() -> None:
    parts = [("a", "bc"), ("ab", "c"), ("abc",), ("abc", ""), ("", "abc")]
    assert len({derive(b"key", *list_of_parts) for list_of_parts in parts}) == len(parts)


def test_the_data_folder_is_not_in_the_way_of_git(tmp_path: Path) -> None:
    ignored = Path(__file__).parents[2] / ".gitignore"
    assert any(line.strip("/") == "data" for line in ignored.read_text().splitlines())
