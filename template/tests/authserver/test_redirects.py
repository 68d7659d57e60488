"""Where browsers are sent: nobody leaves without a word of theirs for what only a stranger named."""

from collections.abc import Callable
from html import unescape
from typing import Any

import anyio
import pytest
from conftest import Live, new_person
from httpx2 import Response
from oauth_client import OAuthClient, answered
from operators import Operator
from person import Person

ELSEWHERE = "https://evil.example/cb"
WRONG: dict[str, str | None] = {"response_type": "token"}


def elsewhere(server: Live, *uris: str) -> OAuthClient:
    return OAuthClient(server, redirect_uris=list(uris) or [ELSEWHERE], client_name="<b>Stranger</b>")


def leads_on(page: Response) -> dict[str, str]:
    """Return what the app is told by the only link of a page that leads elsewhere: nothing else does."""
    assert "location" not in page.headers
    assert "refresh" not in page.headers
    assert "http-equiv" not in page.text
    [href] = [unescape(part.partition('"')[0]) for part in page.text.split('href="')[1:] if "error=" in part]
    return {"to": href.partition("?")[0]} | answered(href)


def goes(answer: Response) -> str:
    assert answer.status_code == 303
    return answer.headers["location"].partition("?")[0]


@pytest.mark.parametrize(
    "uri", [ELSEWHERE, "cursor://anysphere.cursor-mcp/oauth/callback", "com.example.app:/cb"]
)
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (WRONG, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"scope": "unknown"}, "invalid_scope"),
        ({"resource": "https://other.example/mcp"}, "invalid_target"),
        ({"response_mode": "fragment", "prompt": "none", "max_age": "0"}, "invalid_request"),
    ],
)
def test_an_error_sends_nobody_to_a_strangers_address(
    live: Live, uri: str, wrong: dict[str, str | None], error: str
) -> None:
    """Attack 33: use the server as an open redirector, by an app of one's own and a wrong request.
    Source: RFC 9700 4.11.2, RFC 6749 4.1.2.1.
    """
    url = elsewhere(live, uri).authorization_url(**wrong)
    page = Person(live).browser.get(url)
    assert page.status_code == 400
    assert "<b>Stranger" not in page.text
    assert "&lt;b&gt;Stranger&lt;/b&gt;" in page.text
    told = leads_on(page)
    assert (told["to"], told["error"], told["state"], told["iss"]) == (uri, error, "the state", live.url)
    answer = live.http().get(url)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert "location" not in answer.headers


def test_a_posted_request_sends_nobody_to_a_strangers_address(live: Live) -> None:
    """Attack 33: the same by a form on another site. Source: RFC 9700 4.11.2."""
    path, _, query = elsewhere(live).authorization_url(**WRONG).partition("?")
    page = Person(live).browser.post(
        path, content=query, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert leads_on(page)["to"] == ELSEWHERE


def test_a_program_on_the_browsers_own_computer_is_told_at_once(live: Live) -> None:
    client = OAuthClient(live)
    assert goes(live.http().get(client.authorization_url(**WRONG))) == client.REDIRECT_URI
    several = elsewhere(live, ELSEWHERE, client.REDIRECT_URI)
    assert leads_on(Person(live).browser.get(several.authorization_url(**WRONG)))["to"] == ELSEWHERE


def test_an_address_that_the_operator_added_or_approved_is_told_at_once(
    start: Callable[..., Live], operator: Operator
) -> None:
    """Attack 33: the operator's word counts, that of registration does not. Source: RFC 9700 4.11.2."""
    server = start()
    printed = operator.types("clients", "add", "Claude", "https://claude.ai/cb", "--method", "none")
    client = elsewhere(server)
    http = server.http()
    for client_id in (client.id, printed.split()[1]):
        operator.types("clients", "approve", client_id)
    assert goes(http.get(client.authorization_url(**WRONG))) == ELSEWHERE
    added = client.authorization_url(
        client_id=printed.split()[1], redirect_uri="https://claude.ai/cb", **WRONG
    )
    assert goes(http.get(added)) == "https://claude.ai/cb"
    assert leads_on(Person(server).browser.get(elsewhere(server).authorization_url(**WRONG)))


def test_approval_by_the_operator_is_a_word_for_it(start: Callable[..., Live], operator: Operator) -> None:
    server = start(registration="approval")
    client = elsewhere(server)
    operator.types("clients", "approve", client.id)
    assert goes(server.http().get(client.authorization_url(**WRONG))) == ELSEWHERE


def test_who_allowed_an_app_is_sent_to_it_until_they_disconnect_it(live: Live, alice: Person) -> None:
    """Attack 33: ride on what another user, or another address of the app, was allowed.
    Source: RFC 9700 4.11.2.
    """
    other = "https://evil.example/other"
    client = elsewhere(live, ELSEWHERE, other)
    url = client.authorization_url(**WRONG)
    assert leads_on(alice.browser.get(url))
    client.tokens(alice)
    assert goes(alice.browser.get(url)) == ELSEWHERE
    for person, asked in (
        (Person(live), url),
        (new_person(live, "bob-elsewhere"), url),
        (alice, client.authorization_url(redirect_uri=other, **WRONG)),
        (alice, elsewhere(live).authorization_url(**WRONG)),
    ):
        assert leads_on(person.browser.get(asked))

    async def disconnect(storage: Any) -> None:
        for grant in await storage.grants.all():
            await storage.grants.revoke(grant.grant_id)

    anyio.run(live.on_storage, disconnect)
    assert leads_on(alice.browser.get(url))


def test_asking_for_what_the_user_may_not_grant_sends_nobody_off(live: Live) -> None:
    """Attack 33: have somebody who is signed in sent on without a word of theirs, by a scope they lack.
    Source: RFC 9700 4.11.2.
    """
    bob = new_person(live, "bob-scopeless")
    client = elsewhere(live)
    page = bob.get(client.authorization_url(scope="admin"))
    assert page.status_code == 403
    assert leads_on(page)["error"] == "access_denied"
    client.tokens(bob)
    assert goes(bob.get(client.authorization_url(scope="admin"))) == ELSEWHERE


def test_refusing_still_tells_the_app(live: Live, alice: Person) -> None:
    location = alice.allow(elsewhere(live).authorization_url(), decision="deny")
    assert location.startswith(f"{ELSEWHERE}?error=access_denied")


@pytest.mark.parametrize(
    "uri", ["vscode://vscode.git/clone?url=x", "cursor://anysphere.cursor-deeplink/mcp/install"]
)
def test_deep_links_into_desktop_apps_are_no_redirect_uris(live: Live, uri: str) -> None:
    """Attack 33: have the consent page's answer install or clone something. Source: RFC 9700 4.11.2."""
    answer = live.http().post("/register", json={"redirect_uris": [uri]})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")
