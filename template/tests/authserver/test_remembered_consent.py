"""Consent that is remembered: only where the operator and the user want it, and for nothing else."""

from collections.abc import Callable, Iterator
from typing import Any

import anyio
import httpx2
import pytest
from conftest import Live, new_person, new_store
from engines import Engine
from oauth_client import OAuthClient, answered
from operators import Operator
from person import Form, Person

BY_A_PROGRAM = {"Sec-Fetch-Site": "none"}


@pytest.fixture(scope="module")
def live(engine: Engine) -> Iterator[Live]:
    """A server that lets people have their consent remembered."""
    server = Live(new_store(engine), remember_consent_days=30).start()
    yield server
    server.stop()


def ask(person: Person, url: str, **headers: str) -> httpx2.Response:
    """Open the address as a program does, or as the headers say."""
    first = person.browser.get(url, headers=headers or BY_A_PROGRAM)
    return person.follow(first)


def remember(person: Person, client: OAuthClient, **parameters: str) -> None:
    """Allow, with the tick."""
    page = person.enter(person.get(client.authorization_url(**parameters)))
    assert page.text.count('name="remember"') == 1
    allowed = person.submit(page, "decision", decision="allow", remember="on")
    assert "code" in answered(allowed.headers["location"])


def is_asked(person: Person, url: str, **headers: str) -> bool:
    page = ask(person, url, **headers)
    if page.status_code == 200:
        return 'name="decision"' in page.text
    assert "code" in answered(page.headers["location"])
    return False


def test_who_ticked_it_is_not_asked_again(live: Live, alice: Person) -> None:
    client = OAuthClient(live)
    remember(alice, client, scope="write")
    for scope in ("write", "read"):
        page = ask(alice, client.authorization_url(scope=scope))
        answer = answered(page.headers["location"])
        assert (answer["state"], answer["iss"]) == ("the state", live.url)
        assert client.redeem(answer["code"]).json()["scope"] in ("read write", "read")


def test_who_did_not_tick_it_is_asked_again(live: Live, alice: Person) -> None:
    client = OAuthClient(live)
    page = alice.get(client.authorization_url())
    fields = {name: value for name, value in Form(page.text, "decision").fields.items() if name != "remember"}
    assert alice.browser.post("/consent", data=fields | {"decision": "allow"}).is_redirect
    assert is_asked(alice, client.authorization_url())


def test_nothing_is_remembered_unless_the_operator_allows_it(start: Callable[..., Live]) -> None:
    """Attack 7b: have a consent remembered on a server that does not. Source: RFC 6749 10.2, RFC 8252 8.6."""
    server = start()
    person, client = new_person(server, "alice"), OAuthClient(server)
    page = person.get(client.authorization_url())
    assert 'name="remember"' not in page.text
    person.submit(page, "decision", decision="allow", remember="on")
    assert is_asked(person, client.authorization_url())
    server.stop()
    allowing = start(port=server.port, remember_consent_days=30)  # for a while
    remember(person, client)
    assert not is_asked(person, client.authorization_url())
    allowing.stop()
    start(port=server.port)
    assert is_asked(person, client.authorization_url())


@pytest.mark.parametrize("site", ["cross-site", "same-site", "NONE", "none, none", ""])
def test_a_page_elsewhere_cannot_ride_on_it(live: Live, alice: Person, site: str) -> None:
    """Attack 7b: lead who consented once to the sign-in from another site. Source: GHSA-6x8h-498w-gv8c."""
    client = OAuthClient(live)
    remember(alice, client)
    url = client.authorization_url()
    assert is_asked(alice, url, **{"Sec-Fetch-Site": site})
    assert is_asked(alice, url, Accept="text/html")  # an old browser, which does not tell
    assert not is_asked(alice, url)


def test_how_a_request_came_cannot_be_changed_on_the_way(live: Live, alice: Person) -> None:
    """Attack 7b: go on by oneself with what another site began. Source: GHSA-6x8h-498w-gv8c."""
    client = OAuthClient(live)
    remember(alice, client)
    page = ask(alice, client.authorization_url(), **{"Sec-Fetch-Site": "cross-site"})
    assert is_asked(alice, str(page.url))  # the same request, opened by itself


def test_it_is_for_the_same_redirect_uri_scopes_and_client_only(live: Live, alice: Person) -> None:
    """Attack 7b: use a consent for another address, port, scope or client. Source: RFC 8252 8.6."""
    uris = ["http://127.0.0.1/cb", "https://app.example/cb", "https://app.example/other"]
    client, other = OAuthClient(live, redirect_uris=uris), OAuthClient(live, redirect_uris=uris)
    local, remote = "http://127.0.0.1:4000/cb", "https://app.example/cb"
    remember(alice, client, redirect_uri=local, scope="read")
    remember(alice, client, redirect_uri=remote, scope="read")
    for uri in (local, remote):
        assert not is_asked(alice, client.authorization_url(redirect_uri=uri, scope="read"))
        assert is_asked(alice, client.authorization_url(redirect_uri=uri, scope="read write"))
        assert is_asked(alice, other.authorization_url(redirect_uri=uri, scope="read"))
    for uri in ("http://127.0.0.1:4001/cb", "http://127.0.0.1/cb", "https://app.example/other"):
        assert is_asked(alice, client.authorization_url(redirect_uri=uri, scope="read")), uri


def test_it_is_for_the_same_resource_only(start: Callable[..., Live]) -> None:
    """Attack 7b: use a consent for another resource. Source: RFC 8707 2."""
    server = start(remember_consent_days=30)
    person, client = new_person(server, "alice"), OAuthClient(server)
    remember(person, client)
    url = client.authorization_url()
    assert not is_asked(person, url)
    server.auth._mcp_path = "/other"  # the endpoint moved
    assert is_asked(person, url)


def test_it_is_for_the_same_user_only(live: Live, alice: Person) -> None:
    """Attack 7b: use the consent of another user of the browser. Source: RFC 6749 10.2."""
    client = OAuthClient(live)
    remember(alice, client)
    assert is_asked(new_person(live, "rita"), client.authorization_url())


def test_a_client_that_wants_the_user_asked_gets_that(live: Live, alice: Person) -> None:
    """OpenID Connect Core 3.1.2.1: `prompt=consent` comes with `offline_access`, as SDKs send it."""
    client = OAuthClient(live)
    remember(alice, client)
    assert is_asked(alice, client.authorization_url(prompt="consent"))


def test_what_the_user_may_grant_no_more_is_not_remembered(live: Live) -> None:
    """Attack 7b: keep by a remembered consent what was taken away. Source: RFC 6749 3.3."""
    person = new_person(live, "sven", ["write"])
    client = OAuthClient(live)
    remember(person, client, scope="write")
    anyio.run(live.on_storage, lambda storage: storage.users.set_scopes("sven", ["read"]))
    answer = answered(ask(person, client.authorization_url(scope="write")).headers["location"])
    assert client.redeem(answer["code"]).json()["scope"] == "read"


def test_disconnecting_an_app_forgets_it(live: Live, alice: Person) -> None:
    """Attack 7b: come back by itself after the user disconnected the app. Source: RFC 7009 1."""
    client = OAuthClient(live)
    remember(alice, client)
    assert not is_asked(alice, client.authorization_url())
    csrf = Form(alice.get("/account").text).fields["csrf"]
    alice.browser.post("/account/apps", data={"csrf": csrf, "app": client.id})
    assert is_asked(alice, client.authorization_url())


def test_it_runs_out_however_often_it_is_used(live: Live, alice: Person) -> None:
    """Attack 7b: keep a remembered consent alive by using it. Source: RFC 6749 10.2."""
    client = OAuthClient(live)
    remember(alice, client)
    for _ in range(3):
        assert not is_asked(alice, client.authorization_url())

    async def remembered(storage: Any) -> list[float]:
        rows = [row async for table, row in storage.dump() if table == "grants"]
        mine = [row for row in rows if row["client_id"] == client.id]
        return [row["remembered_until"] - row["created_at"] for row in mine]

    seconds = sorted(anyio.run(live.on_storage, remembered))
    assert [round(value) for value in seconds] == [0, 0, 0, 30 * 86_400]


def test_a_negative_number_of_days_stops_the_start(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTH_REMEMBER_CONSENT_DAYS", "-1")
    assert operator.fails("users", "list").startswith("my-server: AUTH_REMEMBER_CONSENT_DAYS: ")
