"""Step-up for clients that only refresh after a 403: what was refused is offered at the next consent."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Live, new_person
from oauth_client import OAuthClient, alive, answered, call
from person import Form, Person

from authserver import limits

CHANGE: dict[str, Any] = {"name": "change", "arguments": {"text": "it"}}


def offered(page: Any) -> set[str]:
    """Return the scopes that the page offers, and check that none is ticked."""
    assert " checked" not in page.text
    fields = Form(page.text, "decision").fields
    return {name.removeprefix("also:") for name in fields if name.startswith("also:")}


def refused(live: Live, client: OAuthClient, person: Person, **call_of: Any) -> dict[str, Any]:
    """Connect with the default scopes and call what needs more; return the tokens."""
    tokens = client.tokens(person)
    assert call(live, tokens["access_token"], **(call_of or CHANGE)).status_code == 403
    return tokens


def allow(person: Person, client: OAuthClient, *also: str, **parameters: str) -> dict[str, Any]:
    """Allow what is asked for, tick these, and return the token answer."""
    page = person.enter(person.get(client.authorization_url(**parameters)))
    ticked = {f"also:{name}": "on" for name in also}
    location = person.submit(page, "decision", decision="allow", **ticked).headers["location"]
    tokens: dict[str, Any] = client.redeem(answered(location)["code"]).json()
    return tokens


@pytest.mark.parametrize("by_itself", [{}, {"scope": "read"}])
def test_a_client_that_refreshes_after_a_403_gets_further_by_a_new_sign_in(
    live: Live, alice: Person, by_itself: dict[str, str]
) -> None:
    """As the TypeScript SDK v1 does it: it refreshes, tries once more, and asks for the same scopes again."""
    client = OAuthClient(live)
    tokens = refused(live, client, alice)
    renewed = client.refresh(tokens["refresh_token"]).json()
    assert renewed["scope"] == "read"
    assert call(live, renewed["access_token"], **CHANGE).status_code == 403
    assert alive(live, renewed["access_token"])
    page = alice.get(client.authorization_url(**by_itself))
    assert offered(page) == {"write"}
    assert "Read and change things." in page.text
    wider = allow(alice, client, "write", **by_itself)
    assert wider["scope"] == "read write"
    assert call(live, wider["access_token"], **CHANGE).status_code == 200
    again = client.refresh(wider["refresh_token"]).json()
    assert call(live, again["access_token"], **CHANGE).status_code == 200
    # What the client had before lives on, and is no wider.
    assert client.refresh(renewed["refresh_token"]).json()["scope"] == "read"


def test_what_is_not_ticked_is_not_granted(live: Live, alice: Person) -> None:
    """Attack 7: get a scope that its user did not choose. Source: RFC 9700 2.3, RFC 6749 3.3."""
    client = OAuthClient(live)
    refused(live, client, alice)
    assert allow(alice, client)["scope"] == "read"
    # It can be ticked the next time, and be asked for: then it is no offer.
    assert offered(alice.get(client.authorization_url())) == {"write"}
    assert offered(alice.get(client.authorization_url(scope="write"))) == set()
    assert allow(alice, client, scope="write")["scope"] == "read write"


def test_only_what_was_refused_is_offered_or_can_be_ticked(live: Live, alice: Person) -> None:
    """Attack 7: tick what was not on the page. Source: RFC 9700 2.3."""
    client, other = OAuthClient(live), OAuthClient(live)
    refused(live, client, alice)
    assert allow(alice, client, "admin", "nonsense")["scope"] == "read"
    assert offered(alice.get(other.authorization_url())) == set()
    assert allow(alice, other, "write")["scope"] == "read"
    bob = new_person(live, "bob-too", ["*"])
    assert offered(bob.get(client.authorization_url())) == set()


def test_what_a_user_may_not_grant_is_not_offered(live: Live) -> None:
    """Attack 7: get a scope by the way of the offer. Source: RFC 9700 2.3."""
    carol = new_person(live, "carol-too")
    client = OAuthClient(live)
    refused(live, client, carol)
    assert offered(carol.get(client.authorization_url())) == set()
    assert allow(carol, client, "write")["scope"] == "read"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/read", {"uri": "secret://plan"}),
        ("resources/read", {"uri": "secret://page/7"}),
        ("prompts/get", {"name": "persuade"}),
    ],
)
def test_resources_and_prompts_are_remembered_too(
    live: Live, alice: Person, method: str, params: dict[str, str]
) -> None:
    client = OAuthClient(live)
    refused(live, client, alice, method=method, **params)
    assert offered(alice.get(client.authorization_url())) == {"write"}


def test_nobody_writes_without_a_living_token(live: Live, alice: Person) -> None:
    """Attack 20: have scopes offered to somebody by calls without their token. Source: RFC 6750 2."""
    client = OAuthClient(live)
    tokens = client.tokens(alice)
    client.post("/revoke", token=tokens["refresh_token"])
    for token in (tokens["access_token"], tokens["refresh_token"], "x"):
        live.http().post(
            "/mcp",
            json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CHANGE},
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"},
        )
    if not live.auth.tokens.revoked_within_seconds:
        assert offered(alice.get(client.authorization_url())) == set()


def test_an_offer_is_shown_although_the_consent_is_remembered(start: Callable[..., Live]) -> None:
    server = start(remember_consent_days=30)
    dora = new_person(server, "dora", ["*"])
    client = OAuthClient(server)
    page = dora.get(client.authorization_url())
    dora.submit(page, "decision", decision="allow", remember="on")
    by_a_program = {"Sec-Fetch-Site": "none"}
    first = dora.browser.get(client.authorization_url(), headers=by_a_program)
    tokens = client.redeem(answered(dora.follow(first).headers["location"])["code"]).json()
    assert call(server, tokens["access_token"], **CHANGE).status_code == 403
    page = dora.follow(dora.browser.get(client.authorization_url(), headers=by_a_program))
    assert offered(page) == {"write"}


def test_it_outlives_the_process_and_is_forgotten_in_the_end(
    start: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    erin = new_person(server, "erin", ["*"])
    client = OAuthClient(server)
    refused(server, client, erin)
    server.stop()
    server.start()
    assert offered(erin.get(client.authorization_url())) == {"write"}
    monkeypatch.setattr(limits, "REFUSED_SCOPE_SECONDS", 0.1)
    brief = OAuthClient(server)
    refused(server, brief, erin)
    deadline = time.monotonic() + 60
    while offered(erin.get(brief.authorization_url())):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_kept_of_one_user_is_bounded(
    start: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 22: fill the store with calls that are refused, by client after client. Source: CWE-770."""
    monkeypatch.setattr(limits, "REFUSED_SCOPES", 2)
    server = start()
    frank = new_person(server, "frank", ["*"])
    gina = new_person(server, "gina", ["*"])
    clients = [OAuthClient(server) for _ in range(4)]
    for client in clients:
        refused(server, client, frank)
    shown = [offered(frank.get(client.authorization_url())) for client in clients]
    assert shown == [{"write"}, {"write"}, set(), set()]
    refused(server, clients[3], gina)
    assert offered(gina.get(clients[3].authorization_url())) == {"write"}


def test_scopes_can_be_left_out_of_what_clients_discover(start: Callable[..., Live]) -> None:
    """Some clients ask for the scopes that the server names, whatever their users set."""
    server = start(announce_scopes=False)
    http = server.http()
    assert "scope" not in http.post("/mcp").headers["www-authenticate"]
    for name in ("oauth-protected-resource/mcp", "oauth-protected-resource", "oauth-authorization-server"):
        document = http.get(f"/.well-known/{name}").json()
        assert "scopes_supported" not in document
    hans = new_person(server, "hans", ["*"])
    client = OAuthClient(server)
    assert client.tokens(hans)["scope"] == "read"
    assert client.tokens(hans, scope="write")["scope"] == "read write"
    answer = call(server, client.tokens(hans)["access_token"], **CHANGE)
    assert 'scope="read write"' in answer.headers["www-authenticate"]
