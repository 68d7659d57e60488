"""The whole flow through real HTTP: FastMCP's own client, then step by step."""

import threading
from collections.abc import Callable

import pytest
from conftest import Live, ended, new_person
from fastmcp import Client
from fastmcp.client.auth import OAuth
from key_value.aio.stores.memory import MemoryStore
from oauth_client import OAuthClient, alive, answered, call, result
from person import Person, browse


@pytest.mark.filterwarnings("ignore:Using in-memory token storage")
@pytest.mark.anyio
async def test_a_fastmcp_client_logs_in_calls_a_tool_and_steps_up(
    live: Live, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = browse(monkeypatch, alice)
    oauth = OAuth(token_storage=MemoryStore(), callback_timeout=120, client_name="FastMCP <b>client</b>")
    async with Client(live.mcp_url, auth=oauth) as client:
        me = (await client.call_tool("whoami")).data
        assert (me["name"], me["scopes"]) == ("alice", ["read"])
        assert (await client.call_tool("look")).data == "seen"
        assert len(opened) == 1
        assert (await client.call_tool("change", {"text": "it"})).data == "changed to it"
        assert (await client.call_tool("whoami")).data["scopes"] == ["read", "write"]
        assert len(opened) == 2


def test_step_up_names_the_scopes_and_the_tool_stays_listed(live: Live, alice: Person) -> None:
    client = OAuthClient(live)
    token = client.tokens(alice)["access_token"]
    names = [tool["name"] for tool in result(call(live, token, "tools/list"))["tools"]]
    assert "change" in names
    refused = call(live, token, name="change", arguments={"text": "it"})
    assert refused.status_code == 403
    challenge = refused.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="read write"' in challenge
    assert f'resource_metadata="{live.url}/.well-known/oauth-protected-resource/mcp"' in challenge
    wider = client.tokens(alice, scope="read write")["access_token"]
    answer = result(call(live, wider, name="change", arguments={"text": "it"}))
    assert answer["content"][0]["text"] == "changed to it"


def test_a_token_with_every_scope_is_not_read_and_any_other_is(
    live: Live, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = OAuthClient(live)
    every = client.tokens(alice, scope=" ".join(live.auth.scopes.names))["access_token"]
    fewer = client.tokens(alice)["access_token"]
    assert result(call(live, every, name="change", arguments={"text": "it"}))["content"]
    read: list[object] = []

    async def needed(*asked: object) -> tuple[str, ...]:
        read.append(asked)
        return ()

    monkeypatch.setattr("authserver.middleware.step_up._scopes_needed", needed)
    assert call(live, every, "tools/list").status_code == 200
    assert read == []
    assert call(live, fewer, "tools/list").status_code == 200
    assert len(read) == 1
    # What is not read here has the SDK's own limit.
    headers = {"Authorization": f"Bearer {every}", "Content-Type": "application/json"}
    assert live.http(headers=headers).post("/mcp", content=b"[" * (5 << 20)).status_code == 413


LOOK, CHANGE = '{"name": "look", "arguments": {}}', '{"name": "change", "arguments": {"text": "it"}}'
TWICE = {
    "params": (f'"method": "tools/call", "params": {LOOK}, "params": {CHANGE}', True),
    "params, the other way round": (f'"method": "tools/call", "params": {CHANGE}, "params": {LOOK}', False),
    "a name": ('"method": "tools/call", "params": {"name": "look", "name": "change"}', True),
    "a name, escaped": ('"method": "tools/call", "params": {"name": "change", "\\u006eame": "look"}', False),
    "a method": (f'"method": "ping", "params": {CHANGE}, "method": "tools/call"', True),
}


@pytest.mark.parametrize(("twice", "changes"), TWICE.values(), ids=TWICE)
def test_a_call_with_a_name_twice_is_judged_by_what_would_run(
    live: Live, alice: Person, twice: str, changes: bool
) -> None:
    """Attack 4: name one tool for the check and another for the endpoint. Source: RFC 8259 4, RFC 9700 4.14.

    The SDK takes the last of equal names, and so does step-up: as long as they agree, nobody is misled.
    """
    token = OAuthClient(live).tokens(alice)["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "*/*"}
    answer = live.http(headers=headers).post("/mcp", content=f'{{"jsonrpc": "2.0", "id": 1, {twice}}}')
    assert answer.status_code == (403 if changes else 200), answer.text
    assert "changed to" not in answer.text
    assert changes or "seen" in answer.text
    everything = OAuthClient(live).tokens(alice, scope="read write admin")["access_token"]
    headers["Authorization"] = f"Bearer {everything}"
    answer = live.http(headers=headers).post("/mcp", content=f'{{"jsonrpc": "2.0", "id": 1, {twice}}}')
    assert ("seen" in answer.text) == (not changes)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/read", {"uri": "secret://plan"}),
        ("resources/read", {"uri": "secret://page/7"}),
        ("prompts/get", {"name": "persuade"}),
    ],
)
def test_resources_and_prompts_step_up_too(
    live: Live, alice: Person, method: str, params: dict[str, str]
) -> None:
    client = OAuthClient(live)
    assert call(live, client.tokens(alice)["access_token"], method, **params).status_code == 403
    wider = client.tokens(alice, scope="write")["access_token"]
    assert result(call(live, wider, method, **params))


def test_refusing_tells_the_client_and_grants_nothing(live: Live, alice: Person) -> None:
    """Attack 5: mix up issuers by a refusal. Source: RFC 9207 2."""
    client = OAuthClient(live)
    answer = answered(alice.allow(client.authorization_url(), decision="deny"))
    assert answer["error"] == "access_denied"
    assert (answer["state"], answer["iss"]) == ("the state", live.url)


def test_a_success_carries_state_and_issuer(live: Live, alice: Person) -> None:
    """Attack 5: mix up issuers by a code. Source: RFC 9207 2, RFC 9700 4.4."""
    answer = answered(alice.allow(OAuthClient(live).authorization_url()))
    assert (answer["state"], answer["iss"]) == ("the state", live.url)


def test_a_user_grants_no_more_than_they_may(live: Live) -> None:
    bob = new_person(live, "bob")
    client = OAuthClient(live)
    assert client.tokens(bob, scope="read admin")["scope"] == "read"
    answer = answered(bob.allow(client.authorization_url(scope="admin")))
    assert answer["error"] == "access_denied"


@pytest.mark.anyio
async def test_an_entitlement_taken_away_is_gone_after_the_next_refresh(
    live: Live,
) -> None:
    carol = new_person_in_thread(live, "carol", ["*"])
    client = OAuthClient(live)
    tokens = client.tokens(carol, scope="write")
    assert call(live, tokens["access_token"], name="change", arguments={"text": ""}).status_code == 200
    await live.on_storage(lambda storage: storage.users.set_scopes("carol", None))
    tokens = client.refresh(tokens["refresh_token"]).json()
    assert call(live, tokens["access_token"], name="change", arguments={"text": ""}).status_code == 403


def new_person_in_thread(server: Live, name: str, scopes: list[str]) -> Person:
    """Make a person from inside an event loop."""
    people: list[Person] = []
    thread = threading.Thread(target=lambda: people.append(new_person(server, name, scopes)))
    thread.start()
    thread.join()
    return people[0]


def test_a_restart_keeps_clients_grants_tokens_and_sessions(start: Callable[..., Live]) -> None:
    server = start()
    person = new_person(server, "alice")
    client = OAuthClient(server)
    tokens = client.tokens(person)
    server.stop()
    server.start()
    assert alive(server, tokens["access_token"])
    assert client.refresh(tokens["refresh_token"]).status_code == 200
    assert 'name="decision"' in person.get(client.authorization_url()).text  # still signed in


@pytest.mark.parametrize("method", ["none", "client_secret_post", "client_secret_basic"])
def test_every_way_to_authenticate_a_client_works(live: Live, alice: Person, method: str) -> None:
    client = OAuthClient(live, token_endpoint_auth_method=method)
    tokens = client.tokens(alice)
    assert tokens["token_type"] == "Bearer"
    assert tokens["scope"] == "read"
    renewed = client.refresh(tokens["refresh_token"]).json()
    assert alive(live, renewed["access_token"])
    assert client.post("/revoke", token=renewed["refresh_token"]).status_code == 200
    for token in (tokens["access_token"], renewed["access_token"]):
        assert ended(live, token)


@pytest.mark.usefixtures("alice")  # who has an account, and is signed in elsewhere
def test_two_tabs_do_not_hurt_each_other(live: Live) -> None:
    """Attack 7: a second request in the same browser takes over the first. Source: RFC 9700 4.7."""
    person = Person(live)
    one, two = OAuthClient(live), OAuthClient(live)
    page_one, page_two = (person.get(client.authorization_url()) for client in (one, two))
    consent_one, consent_two = person.enter(page_one), person.enter(page_two)
    for client, page in ((two, consent_two), (one, consent_one)):
        location = person.submit(page, "decision", decision="allow").headers["location"]
        assert client.redeem(answered(location)["code"]).status_code == 200
