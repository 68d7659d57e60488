"""The HTTP surface, as RFCs and real clients want it."""

import asyncio
import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog
from conftest import Live, ended, posts, sample
from oauth_client import OAuthClient, alive, answered, call, result
from person import Person

from authserver import clock
from authserver.storage import Storage
from authserver.storage.errors import StorageUnavailable

CALLBACK = "http://127.0.0.1:9/callback"


def error(response: Any) -> tuple[int, str]:
    """Return status and OAuth error code; nobody may cache an error."""
    assert response.headers["cache-control"] == "no-store"
    return response.status_code, response.json()["error"]


# ------------------------------------------------------------------------------------------ metadata


@pytest.mark.parametrize("name", ["oauth-authorization-server", "openid-configuration"])
def test_authorization_server_metadata(live: Live, name: str) -> None:
    """RFC 8414, RFC 9207: the issuer is the public URL, letter by letter."""
    found = live.http().get(f"/.well-known/{name}").json()
    assert found["issuer"] == live.url
    assert found["authorization_response_iss_parameter_supported"] is True
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["scopes_supported"] == ["read", "write", "admin"]
    for endpoint in ("authorization", "token", "registration", "revocation", "introspection"):
        assert found[f"{endpoint}_endpoint"].startswith(live.url + "/")
    for methods in ("token_endpoint", "revocation_endpoint"):
        assert found[f"{methods}_auth_methods_supported"][0] == "none"


@pytest.mark.parametrize("path", ["", "/mcp"])
def test_protected_resource_metadata_names_the_least_scopes(live: Live, path: str) -> None:
    """RFC 9728: clients ask for every scope that stands here."""
    found = live.http().get(f"/.well-known/oauth-protected-resource{path}").json()
    assert found["resource"] == live.mcp_url
    assert found["authorization_servers"] == [live.url]
    assert found["scopes_supported"] == ["read"]


def test_a_challenge_names_metadata_and_default_scopes(live: Live) -> None:
    """RFC 9728 section 5.1; RFC 6750 section 3.1: no error where no token was sent."""
    challenge = live.http().post("/mcp").headers["www-authenticate"]
    assert f'resource_metadata="{live.url}/.well-known/oauth-protected-resource/mcp"' in challenge
    assert 'scope="read"' in challenge
    assert "error" not in challenge


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
def test_metadata_names_the_resource_as_it_was_typed(live: Live, alice: Person, path: str) -> None:
    """RFC 9728 section 3.3: VS Code and Gemini compare it letter by letter. Tokens are the same."""
    answer = live.http().post(path)
    metadata = f"{live.url}/.well-known/oauth-protected-resource{path}"
    assert f'resource_metadata="{metadata}"' in answer.headers["www-authenticate"]
    assert live.http().get(metadata).json()["resource"] == live.url + path
    client = OAuthClient(live)
    token = client.tokens(alice, resource=live.url + path)["access_token"]
    for spelling in ("/mcp", "/mcp/"):
        refused = live.http().post(
            spelling,
            json={
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": "change", "arguments": {"text": "x"}},
            },
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"},
        )
        assert refused.status_code == 403
        named = f'resource_metadata="{live.url}/.well-known/oauth-protected-resource{spelling}"'
        assert named in refused.headers["www-authenticate"]
    assert alive(live, token)


# -------------------------------------------------------------------------------------- registration


def test_a_registration_is_echoed_without_what_was_dropped(live: Live) -> None:
    """Cursor registers several URIs at once; one that cannot be used must not fail the others."""
    uris = [
        "http://localhost:8787/callback",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://192.0.2.7/callback",
    ]
    answer = live.http().post("/register", json={"redirect_uris": uris})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    registered = answer.json()
    assert registered["redirect_uris"] == uris[:3]
    assert registered["token_endpoint_auth_method"] == "client_secret_post"
    assert registered["client_secret"].startswith("mcpcs_")
    assert registered["client_secret_expires_at"] == 0


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 413),
        (b"[" * 60_000, "application/json", 400),
        (b"null", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"redirect_uris": ["\\ud800:/x"]}', "application/json", 400),
        (
            b'{"redirect_uris": ["http://127.0.0.1/"], "redirect_uris": ["https://a.example/"]}',
            "application/json",
            400,
        ),
        (
            b'{"redirect_uris": ["http://127.0.0.1/"], "jwks": {"keys": [{"x": 1, "x": 2}]}}',
            "application/json",
            400,
        ),
        (
            b'{"redirect_uris": ["http://127.0.0.1/"], "scope": "read", "sc\\u006fpe": "admin"}',
            "application/json",
            400,
        ),
        (b'{"redirect_uris": ["http://127.0.0.1/"], "x": NaN}', "application/json", 400),
        (b"redirect_uris=x", "application/x-www-form-urlencoded", 400),
        (b'{"redirect_uris": ["http://127.0.0.1/"]}', "text/plain", 400),
    ],
)
def test_a_registration_that_cannot_be_read_is_refused(
    live: Live, content: bytes, content_type: str, status: int
) -> None:
    """Attack 4, 22: register with a body that is too large, too deep, no JSON, or of which each parser reads
    another value. Source: RFC 7591 5, RFC 8259 4.
    """
    answer = live.http().post("/register", content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.json()["error"].startswith("invalid_")


def test_registrations_of_one_address_are_limited(start: Callable[..., Live]) -> None:
    """Attack 22: flood the store with registrations from one address. Source: RFC 7591 5."""
    server = start(limit_registrations_per_minute=2)
    http = server.http()
    answers = [http.post("/register", json={"redirect_uris": [CALLBACK]}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert error(answers[2]) == (429, "temporarily_unavailable")
    assert int(answers[2].headers["retry-after"]) > 0


def test_a_static_server_registers_nobody(start: Callable[..., Live]) -> None:
    http = start(registration="static").http()
    assert error(http.post("/register", json={"redirect_uris": [CALLBACK]}))[0] == 403
    assert "registration_endpoint" not in http.get("/.well-known/oauth-authorization-server").json()


def test_a_client_that_waits_for_approval_cannot_begin(start: Callable[..., Live]) -> None:
    server = start(registration="approval")
    client = OAuthClient(server)
    page = Person(server).get(client.authorization_url())
    assert page.status_code == 403
    assert client.id in page.text


# ------------------------------------------------------------------------------------- authorization


@pytest.mark.parametrize("client_id", ["", "unknown", None, "\ud800"])
def test_an_unknown_client_gets_a_page_and_no_redirect(live: Live, client_id: str | None) -> None:
    """Attack 2: send a user to a redirect URI that no client registered.
    Source: RFC 6749 4.1.2.1, RFC 9700 4.11.
    """
    client = OAuthClient(live)
    client_id = client_id if client_id != "\ud800" else "%ED%A0%80"
    for accept in ("text/html", "application/json"):
        for more in ({}, {"redirect_uri": "https://evil.example/"}, {"response_type": "token"}):
            url = client.authorization_url(client_id=client_id, **more)
            answer = live.http().get(url, headers={"Accept": accept})
            assert answer.status_code == 400
            assert "location" not in answer.headers


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/",
        "http://127.0.0.1:9/callback/",
        "http://127.0.0.1:9/callback?x=1",
        "http://127.0.0.1:9/callback#",
        "http://127.0.0.1:9/Callback",
        "http://127.0.0.1:9/x/../callback",
        "http://127.0.0.1:9/callback%2f",
        "http://127.0.0.1:9/callback;params",
        "http://127.0.0.1:9/callback/..;/",
        "http://127.0.0.1:9/x/%2e%2e/callback",
        "http://127.0.0.1:9/callback\t",
        "http://127.0.0.1:9/callback#fragment",
        "http://127.0.0.1:9:80/callback",
        "http://127.0.0.1:9/callback\\",
        "http://127.0.0.1:9/callback\n",
        "http://user@127.0.0.1:9/callback",
        "http://127.0.0.1.evil.example/callback",
        "javascript:alert(1)",
    ],
)
def test_a_foreign_redirect_uri_is_never_redirected_to(live: Live, uri: str) -> None:
    """Attack 1, 2: ask for another redirect URI, in a request that is wrong in other ways too.
    Source: RFC 9700 2.1, 4.1.
    """
    client = OAuthClient(live)
    for more in ({}, {"response_type": "token"}, {"code_challenge": None}):
        answer = live.http().get(client.authorization_url(redirect_uri=uri, **more))
        assert answer.status_code == 400
        assert "location" not in answer.headers


def test_a_missing_redirect_uri_means_the_only_registered_one(live: Live, alice: Person) -> None:
    client = OAuthClient(live)
    code = client.code(alice, redirect_uri=None)
    assert client.redeem(code, redirect_uri=None).status_code == 200
    several = OAuthClient(live, redirect_uris=[CALLBACK, "https://example.com/cb"])
    assert live.http().get(several.authorization_url(redirect_uri=None)).status_code == 400


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "x" * 44}, "invalid_request"),
        ({"code_challenge": "=" * 43}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "unknown"}, "invalid_scope"),
        ({"resource": "https://other.example/mcp"}, "invalid_target"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"request_uri": "urn:x"}, "invalid_request"),
        ({"request": "x.y.z"}, "invalid_request"),
        ({"state": "s" * 5000}, "invalid_request"),
    ],
)
def test_later_errors_go_to_the_client_with_state_and_issuer(
    live: Live, parameters: dict[str, str | None], code: str
) -> None:
    """Attack 3, 5: leave PKCE out, weaken it, ask for another way to answer; mix up issuers by an error.
    Source: RFC 7636 4.4.1, RFC 9700 2.1.1, RFC 9207; CVE-2025-4143.
    """
    client = OAuthClient(live)
    url = client.authorization_url(**parameters)
    answer = live.http().get(url)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(CALLBACK + "?")
    told = answered(answer.headers["location"])
    assert (told["error"], told["iss"]) == (code, live.url)
    assert told["state"] == parameters.get("state", "the state")


@pytest.mark.parametrize(
    "query",
    [
        "client_id=a&client_id=b",
        "client_id=%00",
        "client_id=%ff",
        "a=1&" * 200,
        "client_id[]=x",
        "%",
    ],
)
def test_queries_that_cannot_be_read_are_refused(live: Live, query: str) -> None:
    """Attack 4: repeated, broken, bracketed and far too many parameters. Source: RFC 6749 3.1."""
    answer = live.http().get(f"/authorize?{query}")
    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_a_query_has_at_most_a_hundred_parameters(live: Live) -> None:
    """Attack 4: parameters without end. Source: CWE-400."""
    url = OAuthClient(live).authorization_url()
    for number, status in ((50, 303), (100, 400)):
        more = "".join(f"&more{index}=x" for index in range(number))
        assert live.http().get(url + more).status_code == status


def test_an_authorization_request_may_be_posted(live: Live) -> None:
    """Attack 4: put parameters in the query and in the body. Source: RFC 6749 3.1."""
    client = OAuthClient(live)
    path, _, query = client.authorization_url().partition("?")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert live.http().post(path, content=query, headers=form).status_code == 303
    assert live.http().post(f"{path}?{query}", content=query, headers=form).status_code == 400


def test_unknown_parameters_are_ignored_and_state_is_echoed(live: Live, alice: Person) -> None:
    """Attack 5: a state that a careless server changes, so that the client's check is lost.
    Source: RFC 6749 4.1.2, 10.12.
    """
    state = "a b&c=d#é/🗝"
    url = OAuthClient(live).authorization_url(state=state, prompt="consent", foo="bar")
    assert answered(alice.allow(url))["state"] == state


def test_a_query_of_the_redirect_uri_is_kept(live: Live, alice: Person) -> None:
    client = OAuthClient(live, redirect_uris=["https://example.com/cb?tenant=a%20b"])
    location = alice.allow(client.authorization_url())
    assert location.startswith("https://example.com/cb?tenant=a%20b&")
    assert client.redeem(answered(location)["code"]).status_code == 200


@pytest.mark.parametrize("port", [1, 8080, 65535])
def test_the_port_of_a_loopback_redirect_uri_is_free(live: Live, alice: Person, port: int) -> None:
    """RFC 8252 section 7.3; Copilot CLI uses another port than the one in its document."""
    client = OAuthClient(live, redirect_uris=["http://127.0.0.1:33418/"])
    uri = f"http://127.0.0.1:{port}/"
    location = alice.allow(client.authorization_url(redirect_uri=uri))
    assert location.startswith(uri)
    answer = client.redeem(answered(location)["code"], redirect_uri=uri)
    assert answer.status_code == 200


# ---------------------------------------------------------------------------------------------- token


def test_token_answers_are_complete_and_never_cached(live: Live, alice: Person) -> None:
    """RFC 6749 section 5.1."""
    client = OAuthClient(live)
    answer = client.redeem(client.code(alice))
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert tokens["expires_in"] == 3600
    assert tokens["refresh_token"].startswith("mcprt_")


def test_a_client_without_the_refresh_grant_gets_no_refresh_token(live: Live, alice: Person) -> None:
    client = OAuthClient(live, grant_types=["authorization_code"])
    assert "refresh_token" not in client.tokens(alice)
    assert error(client.refresh("mcprt_x")) == (400, "unauthorized_client")


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "implicit"}, "unsupported_grant_type"),
        ({"code": None}, "invalid_request"),
        ({"code": "mcpac_unknown"}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:10/callback"}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": "x" * 42}, "invalid_request"),
        ({"code_verifier": "x" * 129}, "invalid_request"),
        ({"code_verifier": "ü" * 43}, "invalid_request"),
        ({"code_verifier": "x" * 43}, "invalid_grant"),
        ({"resource": "https://other.example/mcp"}, "invalid_target"),
    ],
)
def test_a_refused_code_is_not_spent(
    live: Live, alice: Person, form: dict[str, str | None], code: str
) -> None:
    """Attack 3, 13, 15: redeem a stolen code without its verifier, redirect URI or resource.
    Source: RFC 7636 4.6, RFC 9700 4.5, 4.8.2, RFC 8707 2.2.
    """
    client = OAuthClient(live)
    issued = client.code(alice)
    assert error(client.redeem(issued, **form)) == (400, code)
    assert client.redeem(issued).status_code == 200


@pytest.mark.parametrize("suffix", ["", "/"])
def test_the_resource_is_compared_without_case_of_the_host_and_slash(
    live: Live, alice: Person, suffix: str
) -> None:
    client = OAuthClient(live)
    resource = live.mcp_url.replace("http://", "HTTP://") + suffix
    code = client.code(alice, resource=resource)
    assert client.redeem(code, resource=resource).status_code == 200


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b'{"grant_type": "authorization_code"}', "application/json"),
        (b"grant_type=authorization_code", "text/plain"),
        (b"grant_type=authorization_code", "multipart/form-data; boundary=x"),
        (b"grant_type=a&grant_type=b", "application/x-www-form-urlencoded"),
        (b"grant_type=%ff", "application/x-www-form-urlencoded"),
        (b"grant_type=\xff", "application/x-www-form-urlencoded"),
        (b"grant_type=%00", "application/x-www-form-urlencoded"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(live: Live, content: bytes, content_type: str) -> None:
    """Attack 4: repeated fields, NUL, bytes that are no UTF-8, JSON where a form belongs.
    Source: RFC 6749 3.2, appendix B.
    """
    for path in posts(live) - {"/register"}:
        answer = live.http().post(path, content=content, headers={"Content-Type": content_type})
        assert error(answer) == (400, "invalid_request"), path


def test_a_large_body_is_refused(live: Live) -> None:
    assert error(live.http().post("/token", data={"x": "x" * 70_000})) == (413, "invalid_request")


@pytest.mark.parametrize("path", ["/token", "/revoke"])
def test_parameters_in_the_query_are_refused(live: Live, path: str) -> None:
    """Attack 4, 17: send client id or secret in the address, where logs keep it. Source: RFC 6749 2.3.1."""
    client = OAuthClient(live, token_endpoint_auth_method="client_secret_post")
    for query in (f"client_id={client.id}&client_secret={client.secret}", "x"):
        data = {"client_id": client.id, "client_secret": client.secret, "token": "x"}
        answer = live.http().post(f"{path}?{query}", data=data if query == "x" else {"token": "x"})
        assert error(answer) == (400, "invalid_request")


# ---------------------------------------------------------------------------- client authentication


@pytest.mark.parametrize("path", ["/token", "/revoke"])
def test_an_unknown_client_is_told_so(live: Live, path: str) -> None:
    """Claude Code registers again on 401 invalid_client."""
    for data in (
        {"x": "y"},
        {"client_id": "unknown"},
        {"client_id": "unknown", "client_secret": "x"},
    ):
        assert error(live.http().post(path, data=data)) == (401, "invalid_client")


def test_basic_authentication_needs_no_client_id_in_the_body(live: Live, alice: Person) -> None:
    """Attack 17: an id or secret that reads otherwise once percent-decoded.
    Source: RFC 6749 2.3.1; LibreChat and the TypeScript SDK.
    """
    client = OAuthClient(live, token_endpoint_auth_method="client_secret_basic")
    pair = ":".join("".join(f"%{byte:02x}" for byte in text.encode()) for text in (client.id, client.secret))
    code = client.code(alice)
    answer = live.http().post(
        "/token",
        data={
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": client.verifier,
        },
        headers={"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic /w==",
        "Bearer x",
    ],
)
def test_a_bad_authorization_header_is_invalid_client_with_a_challenge(live: Live, header: str) -> None:
    """Attack 17: credentials that cannot be read. Source: RFC 6749 5.2."""
    answer = live.http().post("/token", data={"x": "y"}, headers={"Authorization": header})
    assert error(answer) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_a_client_authenticates_in_its_one_way_only(live: Live) -> None:
    """Attack 17: downgrade to no secret, use another method, or two at once.
    Source: RFC 6749 2.3, RFC 9700 2.5.
    """
    post = OAuthClient(live)
    basic = OAuthClient(live, token_endpoint_auth_method="client_secret_basic")
    confidential = OAuthClient(live, token_endpoint_auth_method="client_secret_post")
    http = live.http()
    both = {"client_id": confidential.id, "client_secret": confidential.secret}
    assert error(http.post("/token", data={"client_id": confidential.id}))[1] == "invalid_client"
    assert error(http.post("/token", data=both | {"client_secret": "wrong"}))[1] == "invalid_client"
    assert error(http.post("/token", data={"client_id": post.id, "client_secret": "x"}))[0] == 401
    assert error(http.post("/token", data={"x": "y"}, auth=(confidential.id, confidential.secret)))[0] == 401
    in_body = {"client_id": basic.id, "client_secret": basic.secret}
    assert error(http.post("/token", data=in_body)) == (401, "invalid_client")
    form = {"grant_type": "refresh_token", "refresh_token": "mcprt_unknown"}
    for more in (in_body, {"client_id": post.id}, {"client_secret": basic.secret}):
        two_ways = http.post("/token", data=form | more, auth=(basic.id, basic.secret))
        assert error(two_ways) == (400, "invalid_request")
    right = "Basic " + base64.b64encode(f"{basic.id}:{basic.secret}".encode()).decode()
    twice = http.post("/token", data={"x": "y"}, headers=[("Authorization", right)] * 2)
    assert error(twice) == (401, "invalid_client")


# ----------------------------------------------------------------------------------------- revocation


def test_revoking_either_token_kills_both(live: Live, alice: Person) -> None:
    """Attack 24: keep the one token after the other was revoked. Source: RFC 7009 2.1."""
    client = OAuthClient(live)
    for kind in ("access_token", "refresh_token"):
        for hint in (None, "access_token", "refresh_token", "nonsense"):
            tokens = client.tokens(alice)
            answer = client.post("/revoke", token=tokens[kind], token_type_hint=hint)
            assert answer.status_code == 200
            assert ended(live, tokens["access_token"])
            assert error(client.refresh(tokens["refresh_token"])) == (400, "invalid_grant")


def test_another_clients_token_is_left_alone(live: Live, alice: Person) -> None:
    """Attack 24: revoke the tokens of another client. Source: RFC 7009 2.1, 5."""
    client, other = OAuthClient(live), OAuthClient(live)
    tokens = client.tokens(alice)
    for token in (tokens["access_token"], tokens["refresh_token"], "unknown"):
        assert other.post("/revoke", token=token).status_code == 200
    assert alive(live, tokens["access_token"])
    assert error(other.post("/revoke")) == (400, "invalid_request")


# --------------------------------------------------------------------------------------- MCP endpoint


def test_both_spellings_of_the_mcp_endpoint_answer(live: Live, alice: Person) -> None:
    token = OAuthClient(live).tokens(alice)["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for path in ("/mcp", "/mcp/"):
        assert live.http().post(path, json=body, headers=headers).status_code == 200
        assert live.http().post(path, json=body).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer unknown")],
        [("Authorization", "Basic {token}")],
        [("Authorization", "Bearer {refresh}")],
        [("Authorization", "Bearer {token}"), ("Authorization", "Bearer {token}")],
        [("Authorization", "Bearer unknown"), ("Authorization", "Bearer {token}")],
    ],
)
def test_anything_but_one_living_access_token_is_refused(
    live: Live, alice: Person, headers: list[tuple[str, str]]
) -> None:
    """Attack 20: a refresh token, two headers, a token in the query. Source: RFC 6750 2, RFC 9700 4.3.2."""
    tokens = OAuthClient(live).tokens(alice)
    filled = [
        (name, value.format(token=tokens["access_token"], refresh=tokens["refresh_token"]))
        for name, value in headers
    ]
    answer = live.http().post("/mcp", headers=filled, json={})
    assert answer.status_code == 401
    assert "www-authenticate" in answer.headers
    assert live.http().post(f"/mcp?access_token={tokens['access_token']}").status_code == 401


@pytest.mark.parametrize("scheme", ["bEARER ", "Bearer  "])
def test_the_bearer_scheme_has_no_case(live: Live, alice: Person, scheme: str) -> None:
    """Attack 20: lock out clients that write the scheme otherwise. Source: RFC 9110 11.1, 11.4."""
    token = OAuthClient(live).tokens(alice)["access_token"]
    answer = live.http().post("/mcp", headers={"Authorization": f"{scheme}{token}"}, json={})
    assert answer.status_code != 401


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"method": "tools/call", "params": {"name": 7}}', b"[" * 99999],
)
def test_calls_that_cannot_be_read_are_refused_by_the_mcp_endpoint(
    live: Live, alice: Person, body: bytes
) -> None:
    """Attack 4: calls that are no JSON-RPC, or nested too deep. Source: threat model."""
    token = OAuthClient(live).tokens(alice)["access_token"]
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
    }
    answer = live.http().post("/mcp", content=body, headers=headers)
    assert 400 <= answer.status_code < 500


def test_a_call_hidden_behind_a_header_steps_up(live: Live, alice: Person) -> None:
    """What counts is the name in the body."""
    token = OAuthClient(live).tokens(alice)["access_token"]
    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "change", "arguments": {"text": "x"}},
    }
    answer = live.http().post(
        "/mcp",
        content=json.dumps(request),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Mcp-Name": "look",
        },
    )
    assert answer.status_code == 403


def test_tools_learn_who_calls(live: Live, alice: Person) -> None:
    client = OAuthClient(live)
    token = client.tokens(alice, scope="write")["access_token"]
    me = result(call(live, token, name="whoami", arguments={}))["structuredContent"]
    assert (me["name"], me["client"]) == ("alice", client.id)
    assert me["scopes"] == ["read", "write"]
    assert me["subject"]


# --------------------------------------------------------------------------- hosts, origins, health


@pytest.mark.parametrize("path", ["/mcp", "/login", "/token", "/.well-known/oauth-authorization-server"])
def test_a_foreign_host_is_refused_everywhere(live: Live, path: str) -> None:
    """Attack 21: rebind a name to the server's address. Source: python-sdk CVE-2025-66416."""
    for host in (
        "evil.example",
        f"[::1]:{live.port}",
        "127.0.0.1",
        f"127.0.0.1:{live.port}.evil",
    ):
        assert live.http().get(path, headers={"Host": host}).status_code == 421


def test_health_answers_on_any_host(live: Live) -> None:
    for path in ("/healthz", "/readyz"):
        answer = live.http().get(path, headers={"Host": "10.0.0.7"})
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_however_often_readiness_is_asked_the_storage_is_asked_once_a_second(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 32: fill the disk with probes, which need no sign-in. Source: CWE-770."""
    now, pings = [clock.now() + 100], 0
    storage = live.auth.storage
    ping = type(storage).ping

    async def counted(self: Storage) -> None:
        nonlocal pings
        if self is storage:
            pings += 1
            if pings == 2:
                raise StorageUnavailable("gone")
        await ping(self)

    monkeypatch.setattr(type(storage), "ping", counted)
    for name in ("now", "elapsed"):
        monkeypatch.setattr(f"authserver.clock.{name}", lambda: now[0])
    http = live.http()
    for seconds, statuses in ((0, {200}), (0.9, {200}), (0.2, {503}), (0.9, {503}), (0.2, {200})):
        now[0] += seconds
        with ThreadPoolExecutor(8) as threads:
            answers = threads.map(lambda _: http.get("/readyz").status_code, range(16))
            assert set(answers) == statuses
    assert pings == 3


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"])
def test_a_foreign_origin_is_refused_but_may_read_metadata(live: Live, origin: str) -> None:
    """Attack 21: call the server from a page elsewhere.
    Source: MCP transports, Security Warning; CVE-2025-66416.
    """
    http = live.http(headers={"Origin": origin})
    for path in ("/mcp", "/token", "/register", "/login", "/consent", "/logout", "/invite/x"):
        assert http.post(path).status_code == 403, path
    answer = http.get("/.well-known/oauth-authorization-server")
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")


def test_a_local_developers_tool_may_use_a_local_server_but_not_its_pages(live: Live) -> None:
    http = live.http(headers={"Origin": "http://localhost:6274"})
    assert http.post("/token").status_code == 400
    assert http.post("/login").status_code == 403


def test_allowed_origins_are_those_of_the_setting(start: Callable[..., Live]) -> None:
    server = start(allowed_origins="https://inspector.example")
    assert server.http(headers={"Origin": "https://inspector.example"}).post("/token").status_code == 400


def test_preflights_allow_what_browser_clients_send(live: Live) -> None:
    for path in ("/mcp", "/token", "/register", "/revoke"):
        answer = live.http().options(
            path,
            headers={
                "Origin": "http://localhost:6274",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization, content-type,"
                " mcp-protocol-version, mcp-session-id, mcp-method, mcp-name, last-event-id",
            },
        )
        assert answer.status_code == 200, path
        assert answer.headers["access-control-allow-origin"] == "*"
    exposed = live.http(headers={"Origin": "http://localhost:6274"}).post("/mcp")
    assert "WWW-Authenticate" in exposed.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in live.http().get("/authorize").headers


def test_unknown_paths_and_methods_are_no_server_errors(live: Live) -> None:
    assert live.http().get("/unknown").status_code == 404
    assert live.http().put("/token").status_code == 405
    assert live.http().delete("/login").status_code == 405


@pytest.mark.anyio
async def test_a_stop_before_the_whole_body_came_is_no_fault(store: dict[str, str]) -> None:
    """uvicorn cancels what is not done when its patience ends; it logs what comes out as a traceback."""
    server = Live(store)
    app = sample(server.settings).http_app(stateless_http=True)
    reading = asyncio.Event()
    sent: list[Any] = []

    async def receive() -> Any:
        reading.set()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    host = server.url.partition("://")[2].encode()
    headers = [(b"host", host), (b"content-type", b"application/x-www-form-urlencoded")]
    scope = {"type": "http", "method": "POST", "path": "/token", "raw_path": b"/token", "query_string": b""}
    scope |= {"headers": headers, "client": ("127.0.0.1", 1), "scheme": "http", "root_path": ""}
    with structlog.testing.capture_logs() as logged:
        task = asyncio.create_task(app(scope, receive, send))
        await reading.wait()
        task.cancel()
        await task
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"5") in sent[0]["headers"]
    [line] = logged
    assert (line["event"], line["status"]) == ("request", 503)
