"""Advisory 0008: a link to the authorization endpoint sent visitors to an address of a stranger's choice."""

import pytest
from conftest import Live
from oauth_client import OAuthClient
from person import Person


@pytest.mark.parametrize("wrong", ["response_type", "scope", "code_challenge_method"])
def test_a_wrong_request_sends_nobody_to_a_strangers_address(live: Live, wrong: str) -> None:
    """The app is one that registered itself, and nobody ever allowed it."""
    client = OAuthClient(live, redirect_uris=["https://evil.example/cb"])
    answer = Person(live).browser.get(client.authorization_url(**{wrong: "wrong"}))
    location = answer.headers.get("location", "")
    assert not location.startswith("https://evil.example"), "the browser is sent there at once"


@pytest.mark.parametrize(
    "uri", ["vscode://vscode.git/clone?url=x", "cursor://anysphere.cursor-deeplink/mcp/install?name=x"]
)
def test_a_link_that_installs_or_clones_is_no_redirect_uri(live: Live, uri: str) -> None:
    with live.http() as http:
        answer = http.post("/register", json={"redirect_uris": [uri], "token_endpoint_auth_method": "none"})
    assert answer.status_code == 400, "what follows the consent page would act on the user's computer"
