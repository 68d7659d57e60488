"""Parameters as real clients write them: without a value, several times, spelled otherwise."""

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import Live
from oauth_client import OAuthClient, alive, answered, call, result
from person import Person

METHODS = ["none", "client_secret_post", "client_secret_basic"]


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def form(client: OAuthClient, **fields: str) -> dict[str, str]:
    """Return a token request with the client's own id."""
    return {"client_id": client.id, **fields}


# --------------------------------------------------------------------------------------- without a value

EMPTY = "&resource=&response_mode=&request=&request_uri=&prompt=&nonce=&scope="


def test_a_parameter_without_a_value_is_omitted_at_authorization(live: Live, alice: Person) -> None:
    """RFC 6749 section 3.1."""
    client = OAuthClient(live)
    for url in (
        client.authorization_url() + EMPTY,
        client.authorization_url() + EMPTY + "&state&response_type=&client_id=&redirect_uri=",
        client.authorization_url(redirect_uri="") + EMPTY,
    ):
        answer = answered(alice.allow(url))
        assert (answer["state"], answer["iss"]) == ("the state", live.url)
        assert client.redeem(answer["code"]).json()["scope"] == "read"
    assert "state" not in answered(alice.allow(client.authorization_url(state="")))
    refused = live.http().get(client.authorization_url(code_challenge=""))
    assert answered(refused.headers["location"])["error"] == "invalid_request"
    several = OAuthClient(live, redirect_uris=[client.REDIRECT_URI, "https://example.com/cb"])
    assert live.http().get(several.authorization_url(redirect_uri="")).status_code == 400


@pytest.mark.parametrize("method", METHODS)
def test_a_parameter_without_a_value_is_omitted_at_the_endpoints(
    live: Live, alice: Person, method: str
) -> None:
    """RFC 6749 section 3.2. With Basic, the body has neither id nor secret, or has them empty."""
    client = OAuthClient(live, token_endpoint_auth_method=method)
    empty = {"resource": "", "client_assertion": "", "client_assertion_type": "", "scope": ""}
    if method == "client_secret_basic":
        empty |= {"client_id": "", "client_secret": ""}
    if method == "none":
        empty |= {"client_secret": ""}
    tokens = client.redeem(client.code(alice), **empty).json()
    tokens = client.refresh(tokens["refresh_token"], redirect_uri="", code="", **empty).json()
    assert tokens["scope"] == "read"
    assert (
        client.post("/revoke", token=tokens["refresh_token"], token_type_hint="", **empty).status_code == 200
    )
    assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert client.post("/token", grant_type="").json()["error"] == "invalid_request"
    assert client.post("/revoke", token="").json()["error"] == "invalid_request"


def test_basic_with_empty_parts_is_what_is_left_of_it(live: Live, alice: Person) -> None:
    """RFC 6749 section 2.3.1: an empty secret may be left out. Two secrets are two ways, all the same."""
    public = OAuthClient(live)
    posting = OAuthClient(live, token_endpoint_auth_method="client_secret_post")
    token = public.tokens(alice)["refresh_token"]
    refresh = {"grant_type": "refresh_token", "refresh_token": token}
    http = live.http()
    for headers, fields in (
        (basic(public.id, ""), refresh),
        (basic(public.id, ""), form(public, **refresh)),
        (basic("", ""), form(public, **refresh)),
    ):
        assert http.post("/token", data=fields, headers=headers).status_code == 200
    unknown = {"grant_type": "refresh_token", "refresh_token": "mcprt_unknown"}
    secret = {"client_id": posting.id, "client_secret": posting.secret or ""}
    for headers in (basic("", ""), basic(posting.id, "")):
        answer = http.post("/token", data=unknown | secret, headers=headers)
        assert answer.json()["error"] == "invalid_grant"


def test_an_empty_secret_opens_nothing(live: Live, alice: Person) -> None:
    """Attack 17: leave the secret empty, in any place. Source: RFC 6749 2.3.1, RFC 9700 2.5."""
    http = live.http()
    for method in METHODS[1:]:
        client = OAuthClient(live, token_endpoint_auth_method=method)
        token = client.tokens(alice)["refresh_token"]
        refresh = {"grant_type": "refresh_token", "refresh_token": token}
        for headers, fields in (
            ({}, form(client, **refresh)),
            ({}, form(client, client_secret="", **refresh)),
            (basic(client.id, ""), refresh),
            (basic(client.id, ""), form(client, client_secret="", **refresh)),
            (basic("", ""), form(client, **refresh)),
        ):
            answer = http.post("/token", data=fields, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert client.refresh(token).status_code == 200


# --------------------------------------------------------------------------------------- several times


@pytest.mark.parametrize(
    "name",
    [
        *("state", "scope", "response_type", "code_challenge", "code_challenge_method"),
        *("response_mode", "prompt", "request_uri", "unknown"),
    ],
)
def test_a_repeated_parameter_is_the_clients_to_learn_of(live: Live, name: str) -> None:
    """Attack 4: a parameter twice, of which one part reads the first and another the last.
    Source: RFC 6749 3.1, 4.1.2.1.
    """
    client = OAuthClient(live)
    for first, second in (("query", "query"), ("S256", "plain")):
        url = client.authorization_url() + f"&{name}={first}&{name}={second}"
        answer = live.http().get(url)
        assert answer.headers["location"].startswith(client.REDIRECT_URI + "?")
        told = answered(answer.headers["location"])
        assert (told["error"], told["iss"]) == ("invalid_request", live.url)
        assert told.get("state") == (None if name == "state" else "the state")


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_what_decides_where_an_error_goes_stands_once(live: Live, name: str) -> None:
    """Attack 2, 4: two redirect URIs, or two clients, good or bad. Source: RFC 6749 3.1, RFC 9700 4.1."""
    client = OAuthClient(live)
    good = {"client_id": client.id, "redirect_uri": client.REDIRECT_URI}[name]
    for other in (good, "https://evil.example/"):
        for more in ("", "&response_type=x"):
            answer = live.http().get(f"{client.authorization_url()}&{name}={other}{more}")
            assert (answer.status_code, "location" in answer.headers) == (400, False)


def test_a_repeated_parameter_is_refused_at_every_endpoint(live: Live, alice: Person) -> None:
    """Attack 4: a field twice, at the endpoints for programs. Source: RFC 6749 3.2."""
    client = OAuthClient(live)
    token = client.tokens(alice)["refresh_token"]
    body = f"client_id={client.id}&grant_type=refresh_token&refresh_token={token}&token={token}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/token", "/revoke", "/introspect"):
        for twice in ("grant_type=refresh_token", f"client_id={client.id}", f"token={token}", "scope=read"):
            more = "&scope=read" if twice.startswith("scope") else ""
            answer = live.http().post(path, content=f"{body}&{twice}{more}", headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert client.refresh(token).status_code == 200


# ------------------------------------------------------------------------------------------- resources


def resources(live: Live) -> dict[str, str]:
    address = urlsplit(live.url)
    return {
        "the resource": live.mcp_url,
        "with a slash": live.mcp_url + "/",
        "other case": live.mcp_url.replace("http://", "HTTP://"),
        "the origin": live.url,
        "the origin with a slash": live.url + "/",
        "the origin in other case": f"HTTP://{address.netloc}",
    }


@pytest.mark.parametrize("one", ["the resource", "with a slash", "the origin", "the origin with a slash"])
@pytest.mark.parametrize("other", ["the resource", "with a slash", "other case", "the origin in other case"])
def test_any_name_of_the_resource_may_stand_several_times(
    live: Live, alice: Person, one: str, other: str
) -> None:
    """RFC 8707 section 2. Codex sends two, ChatGPT the origin: tokens are for the MCP endpoint."""
    client = OAuthClient(live)
    twice = {"resource": resources(live)[one]}
    location = alice.allow(f"{client.authorization_url(**twice)}&resource={resources(live)[other]}")
    fields = [
        ("client_id", client.id),
        ("grant_type", "authorization_code"),
        ("code", answered(location)["code"]),
        ("code_verifier", client.verifier),
        ("resource", resources(live)[one]),
        ("resource", resources(live)[other]),
    ]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = "&".join(f"{name}={value}" for name, value in fields)
    tokens = live.http().post("/token", content=body, headers=headers).json()
    assert alive(live, tokens["access_token"])
    renewed = client.refresh(tokens["refresh_token"], resource=resources(live)[one])
    assert alive(live, renewed.json()["access_token"])


@pytest.mark.parametrize(
    "foreign",
    [
        "https://other.example/mcp",
        "{url}/mcp-other",
        "{url}/other",
        "{url}//",
        "{url}/?x",
        "{url}#x",
        "{url}.evil.example",
        "x{url}",
        "/mcp",
        "mcp",
    ],
)
def test_a_foreign_resource_among_them_is_refused(live: Live, alice: Person, foreign: str) -> None:
    """Attack 15: name a foreign resource beside the right one. Source: RFC 8707 2, 2.2."""
    client = OAuthClient(live)
    asked = foreign.format(url=live.url).replace("#", "%23")
    for url in (
        client.authorization_url(resource=live.mcp_url) + f"&resource={asked}",
        client.authorization_url() + f"&resource={asked}&resource={live.mcp_url}",
        client.authorization_url() + f"&resource={asked}",
    ):
        told = answered(live.http().get(url).headers["location"])
        assert (told["error"], told["state"]) == ("invalid_target", "the state")
    tokens = client.tokens(alice)
    body = f"client_id={client.id}&grant_type=refresh_token&refresh_token={tokens['refresh_token']}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    content = f"{body}&resource={live.mcp_url}&resource={asked}"
    assert live.http().post("/token", content=content, headers=headers).json()["error"] == "invalid_target"
    assert client.refresh(tokens["refresh_token"]).status_code == 200


def test_the_schemes_own_port_may_be_written(start: Callable[..., Live]) -> None:
    """RFC 3986 section 6.2.3."""
    server = start(public_url="https://mcp.example")
    client = OAuthClient.__new__(OAuthClient)
    client.server, client.verifier = server, "x" * 43
    http = server.http(headers={"Host": "mcp.example"})
    body = {"redirect_uris": [OAuthClient.REDIRECT_URI], "token_endpoint_auth_method": "none"}
    client.registered = http.post("/register", json=body).json()
    client.id = client.registered["client_id"]
    for resource, good in (
        ("https://mcp.example:443/mcp", True),
        ("https://mcp.example:443", True),
        ("https://mcp.example:80/mcp", False),
        ("http://mcp.example/mcp", False),
        ("https://[", False),
    ):
        url = client.authorization_url(resource=resource).partition("/authorize")[2]
        answer = http.get("/authorize" + url)
        assert ("error=invalid_target" in answer.headers["location"]) != good, resource


# ----------------------------------------------------------------------------- code, refresh, the answer


def test_a_token_request_needs_no_redirect_uri(live: Live, alice: Person) -> None:
    """OAuth 2.1 section 10.2: PKCE binds the code. One that is sent must be the same."""
    client = OAuthClient(live)
    code = client.code(alice)
    for other in (client.REDIRECT_URI + "/", "http://127.0.0.1:10/callback", "x"):
        refused = client.redeem(code, redirect_uri=other)
        assert refused.json()["error"] == "invalid_grant"
    assert client.redeem(code, redirect_uri=None).status_code == 200


@pytest.mark.parametrize(
    ("granted", "asked", "scope"),
    [
        ("read", "read write admin", "read"),
        ("read", "write", "read"),
        ("read", "read unknown offline_access", "read"),
        ("write", "admin write", "read write"),
        ("write", "read admin", "read"),
        ("read admin", "write admin", "read admin"),
    ],
)
def test_a_refresh_is_narrowed_and_never_widened(
    live: Live, alice: Person, granted: str, asked: str, scope: str
) -> None:
    """Attack 16: ask for more at a refresh than was granted. Source: RFC 6749 6.

    mcp-remote repeats what it asked for, also where less was granted.
    """
    client = OAuthClient(live)
    tokens = client.tokens(alice, scope=granted)
    renewed = client.refresh(tokens["refresh_token"], scope=asked).json()
    assert renewed["scope"] == scope
    held: dict[str, Any] = result(call(live, renewed["access_token"], name="whoami", arguments={}))
    assert held["structuredContent"]["scopes"] == scope.split()
    assert client.refresh(renewed["refresh_token"]).json()["scope"] == tokens["scope"]
    assert client.refresh(renewed["refresh_token"], scope="unknown").json()["error"] == "invalid_scope"


def test_a_space_of_an_answer_is_percent_encoded(live: Live) -> None:
    """Codex shows a `+` as it stands."""
    client = OAuthClient(live)
    location = live.http().get(client.authorization_url(scope="unknown", state="a b")).headers["location"]
    assert "+" not in location
    assert "error_description=none%20of%20the%20scopes%20exists%20here" in location
    assert answered(location)["state"] == "a b"
