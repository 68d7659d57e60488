"""Attacks that go across the parts. Those on one part stand in that part's tests.

A docstring that begins with "Attack" names what the attacker does and where that is described; the numbers
are those of the threat model.
"""

import hmac
import re
import time
from collections.abc import Callable
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import anyio
import logins
import pytest
from conftest import Live, new_person, posts, sample
from fastmcp import FastMCP
from fuzz import send
from httpx2 import Response
from oauth_client import OAuthClient, alive, answered, said
from person import Form, Person
from starlette.requests import Request

from authserver import limits
from authserver.all_settings import Settings
from authserver.endpoints import client_authentication
from authserver.requests.addresses import client_address

SCRIPT = "\"'><script>alert(1)</script>"
METADATA = ("oauth-authorization-server", "oauth-protected-resource", "oauth-protected-resource/mcp")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def error(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


# ------------------------------------------------------------------------------------------- pages


def test_nothing_that_a_request_says_is_more_than_text_on_a_page(live: Live, alice: Person) -> None:
    """Attack 8: script in whatever a client or an address says. Source: RFC 6819 4.4.1.13, RFC 7591 5."""
    client = OAuthClient(
        live,
        redirect_uris=["https://app.example/cb?'alert(1)'"],
        client_name=SCRIPT,
        client_uri="https://app.example/" + SCRIPT,
        logo_uri="https://app.example/logo.png",
        software_id=SCRIPT,
        scope=SCRIPT,
    )
    stranger = Person(live, SCRIPT)
    sign_in = stranger.get(client.authorization_url(scope=f"read {SCRIPT}"))
    pages = [
        sign_in,
        stranger.sign_in(sign_in),
        alice.get(client.authorization_url(scope=f"read admin {SCRIPT}")),
        alice.get(client.authorization_url(client_id=SCRIPT)),
        alice.get(client.authorization_url(redirect_uri=SCRIPT)),
        alice.get(f"/consent?request={SCRIPT}"),
        alice.get(f"/login?request={SCRIPT}"),
        alice.get(f"/invite/{SCRIPT}"),
        alice.get(f"/{SCRIPT}"),
    ]
    assert "alert(1)" in pages[2].text
    for page in pages:
        assert "<script>" not in page.text, page.url
        assert "logo.png" not in page.text


def test_an_error_given_to_a_client_stays_one_parameter(live: Live) -> None:
    """Attack 8: parameters of the attacker's in an error's address. Source: RFC 6749 4.1.2.1."""
    client = OAuthClient(live)
    state = "x&code=forged#\r\nLocation: https://evil.example/"
    location = live.http().get(client.authorization_url(state=state, scope="x&code=y")).headers["location"]
    answer = answered(location)
    assert set(answer) == {"error", "error_description", "state", "iss"}
    assert answer["state"] == state


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "/\\evil.example"])
def test_signing_in_and_out_leads_nowhere_else(live: Live, alice: Person, target: str) -> None:
    """Attack 8: use the sign-in as an open redirect. Source: RFC 9700 4.11.2."""
    person = Person(live)
    page = person.get(f"/login?next={target}&redirect_uri={target}&return_to={target}")
    field = f'<input type="hidden" name="next" value="{target}">'
    page = Response(
        200, text=re.sub("<form[^>]*>", lambda form: form[0] + field, page.text), request=page.request
    )
    assert field in page.text or "<form" not in page.text
    assert person.sign_in(page).url.path == "/account"
    page = person.get("/account")
    form = Form(page.text)
    answer = person.browser.post(form.action, data={**form.fields, "request": target, "next": target})
    assert person.follow(answer).status_code in (200, 400)  # nothing to follow is left


# ------------------------------------------------------------------------- where a request comes from


def test_nothing_of_forwarded_headers_reaches_metadata_links_or_cookies(live: Live, alice: Person) -> None:
    """Attack 25: let links lead, and cookies go, elsewhere. Source: CWE-644, OWASP WSTG-INPV-17."""
    client = OAuthClient(live)
    forwarded = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/evil",
        "X-Original-URL": "/evil",
        "Forwarded": "host=evil.example;proto=https",
    }
    http = live.http(headers=forwarded)
    answer = http.get(client.authorization_url())
    assert answer.headers["location"].startswith(f"{live.url}/login?")
    texts = [http.get(f"/.well-known/{path}").text for path in METADATA]
    texts += [str(answer.headers), http.post("/mcp").headers["www-authenticate"], http.get("/login").text]
    for text in texts:
        assert "evil" not in text
        assert "https:" not in text
    for cookie in answer.headers.get_list("set-cookie"):
        assert "Secure" not in cookie
        assert "Domain" not in cookie


def from_peer(peer: str, *forwarded: str) -> Request:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return Request({"type": "http", "client": (peer, 1), "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["127.0.0.1, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9:50001"], "198.51.100.9"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.9:50001, 10.0.0.2:443"], "198.51.100.9"),
        ("10.0.0.1", ['"198.51.100.9:50001"'], "198.51.100.9"),
        ("10.0.0.1", ["[2001:db8:1:2::1]:4711"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ['"[2001:db8:1:2::1]"'], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["2001:db8:1:2::1"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["fe80:0:0:2::1%eth0"], "fe80:0:0:2::/64"),
        ("10.0.0.1", ["[fe80:0:0:2::1%eth0]:80"], "fe80:0:0:2::/64"),
        ("10.0.0.1", ["[::ffff:198.51.100.9]:80"], "198.51.100.9"),
        ("10.0.0.1", ["198.51.100.9:port"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.9:1:2"], "10.0.0.1"),
        ("unix socket", [], "unknown"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", [], "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
    ],
)
def test_an_address_is_what_the_socket_or_a_trusted_proxy_says(
    store: dict[str, str], peer: str, forwarded: list[str], address: str
) -> None:
    """Attack 10, 22: count as somebody else by a forged header, or as many by one network.
    Source: RFC 7239 8.1.
    """
    settings = Settings.model_validate(store | {"trusted_proxies": "10.0.0.0/8"})
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"),)
    assert client_address(from_peer(peer, *forwarded), settings) == address


def test_a_forged_address_escapes_no_limit(start: Callable[..., Live]) -> None:
    """Attack 10, 22: another forwarded address with each request. Source: RFC 7239 8.1."""
    server = start(limit_registrations_per_minute=2)
    answers = [
        server.http().post(
            "/register",
            json={"redirect_uris": ["http://127.0.0.1/"]},
            headers={"X-Forwarded-For": f"192.0.2.{number}", "Forwarded": f"for=192.0.2.{number}"},
        )
        for number in range(3)
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 429]


# -------------------------------------------------------------------------------------- large bodies


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_its_limit_is_refused_on_every_route(live: Live, chunked: bool) -> None:
    """Attack 4, 21: send bodies without end. Source: RFC 9110 15.5.14."""
    content = b"x" * 70_000
    for path in posts(live):
        kind = {"Content-Type": "application/json"} if path == "/register" else FORM
        answer = live.http().post(path, content=iter([content]) if chunked else content, headers=kind)
        assert error(answer) == (413, "invalid_request"), path


def test_a_value_of_64_kb_is_an_error_like_any_other(live: Live) -> None:
    """Attack 4: values as long as a request may be, in the address and in the body. Source: RFC 9110 4.1."""
    client = OAuthClient(live)
    long = "x" * 64_000
    for name in ("client_id", "redirect_uri"):
        path = client.authorization_url().removeprefix(live.url).replace(f"{name}=", f"{name}={long}")
        request = f"GET {path} HTTP/1.1\r\nHost: {live.url.removeprefix('http://')}\r\n\r\n"
        answer = send(live, request.encode())
        assert answer is not None
        assert 400 <= answer.status < 500
        assert "location" not in answer.headers
    assert error(client.redeem(long)) == (400, "invalid_grant")
    assert error(client.redeem("x", code_verifier=long)) == (400, "invalid_grant")
    assert error(client.refresh(long)) == (400, "invalid_grant")
    assert error(live.http().post("/token", data={"client_id": long})) == (401, "invalid_client")


def test_a_call_beyond_its_limit_is_refused(live: Live, alice: Person) -> None:
    """Attack 21: send a call without end. Source: RFC 9110 15.5.14."""
    token = OAuthClient(live).tokens(alice)["access_token"]
    content = b'{"x": "' + b"x" * 5_000_000
    for headers, status in (({"Authorization": f"Bearer {token}"}, 413), ({}, 401)):
        answer = live.http().post(
            "/mcp", content=content, headers=headers | {"Content-Type": "application/json"}
        )
        assert answer.status_code == status


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_body_that_does_not_arrive_is_not_waited_for(
    live: Live, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    """Attack 21: send a body byte by byte, or only say that one comes. Source: RFC 9110 15.5.9."""
    monkeypatch.setattr(limits, "BODY_SECONDS", 0)
    for path in posts(live):
        kind = "application/json" if path == "/register" else FORM["Content-Type"]
        request = (
            f"POST {path} HTTP/1.1\r\nHost: {live.url.removeprefix('http://')}\r\nAccept: {accept}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: 100\r\n\r\nx="
        )
        answer = send(live, request.encode())
        assert answer is not None
        assert (answer.status, answer.headers["connection"]) == (408, "close"), path
        assert b"did not arrive within" in answer.read()


@pytest.mark.parametrize("scope", ["read", "read write admin"])
def test_a_call_that_does_not_arrive_is_not_waited_for(
    live: Live, alice: Person, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    """Attack 21: hold the MCP endpoint by a call that never ends. Source: RFC 9110 15.5.9."""
    token = OAuthClient(live).tokens(alice, scope=scope)["access_token"]
    monkeypatch.setattr(limits, "BODY_SECONDS", 0)
    request = (
        f"POST /mcp HTTP/1.1\r\nHost: {live.url.removeprefix('http://')}\r\nContent-Length: 100\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\r\n{{"
    )
    answer = send(live, request.encode())
    assert answer is not None
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert b'"invalid_request"' in answer.read()


# ------------------------------------------------------------- what a page elsewhere makes a browser send

NOT_OPENED = {
    "image": {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    "script": {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    "no dest": {"Sec-Fetch-Mode": "no-cors"},
    "frame": {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    "object": {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "object"},
    "prefetch": {"Sec-Fetch-Mode": "cors", "Sec-Purpose": "prefetch"},
    "prerender": {
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
        "Sec-Purpose": "prefetch;prerender",
    },
    "preview": {"X-Purpose": "preview"},
}


@pytest.mark.parametrize("headers", NOT_OPENED.values(), ids=NOT_OPENED)
def test_what_nobody_opened_stores_no_request(
    start: Callable[..., Live], monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    """Attack 7, 32: load the authorization endpoint as an image, until its visitors' network cannot sign in.
    Source: Fetch Metadata 2, HTML 4.8.3.
    """
    monkeypatch.setattr(limits, "WAITING_REQUESTS_PER_ADDRESS", 1)
    server = start()
    client, person = OAuthClient(server), Person(server)
    opened = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    begun = person.browser.get(client.authorization_url(), headers=opened)
    assert begun.status_code == 303
    query = client.authorization_url().partition("?")[2]
    with server.http(headers=headers) as http:
        loaded = [http.get(client.authorization_url()), http.post("/authorize", content=query, headers=FORM)]
    assert {answer.status_code for answer in loaded} == {403}
    assert not any("set-cookie" in answer.headers for answer in loaded)
    assert logins.chosen().asks(person.get(begun.headers["location"]))


def test_a_look_at_the_head_stores_no_request(
    start: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 32: let a link preview begin sign-ins. Source: RFC 9110 9.2.1."""
    monkeypatch.setattr(limits, "WAITING_REQUESTS_PER_ADDRESS", 1)
    server = start()
    client, person = OAuthClient(server), Person(server)
    begun = person.browser.get(client.authorization_url())
    assert server.http().head(client.authorization_url()).status_code == 403
    assert logins.chosen().asks(person.get(begun.headers["location"]))


def test_no_page_does_anything_that_nobody_opened(live: Live, alice: Person) -> None:
    """Attack 7, 32: have a page that writes or counts loaded as an image. Source: Fetch Metadata 2."""
    routes = live.auth.get_routes("/mcp")
    pages = [route for route in routes if route.endpoint.__module__ == "authserver.browser.handling"]
    assert len(pages) > 7
    for route in pages:
        for method in (route.methods or set()) - {"HEAD"}:
            path = route.path.replace("{token}", "x")
            answer = alice.browser.request(method, path, headers=NOT_OPENED["image"])
            assert (answer.status_code, "set-cookie" in answer.headers) == (403, False), path


# ------------------------------------------------------------------------------- clients and registration


def register_from(server: Live, address: str) -> Response:
    return server.http().post(
        "/register",
        json={"redirect_uris": ["http://127.0.0.1/"]},
        headers={"X-Forwarded-For": address},
    )


def test_registrations_of_one_line_stop_nobody_else(
    start: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 22, 32: register from every /64 of one home connection, until nothing fits.
    Source: RFC 7591 5, RFC 6177.
    """
    monkeypatch.setattr(limits, "UNUSED_CLIENTS", 4)
    monkeypatch.setattr(limits, "UNUSED_CLIENTS_OF_A_NETWORK", (9, 9, 9))
    server = start(trusted_proxies="127.0.0.1,::1")
    used = OAuthClient(server)
    used.tokens(new_person(server, "alice"))
    before = register_from(server, "192.0.2.1")
    flood = [register_from(server, f"2001:db8:0:{number:x}::1") for number in range(20)]
    newcomer = register_from(server, "198.51.100.1")
    assert [answer.status_code for answer in (before, *flood, newcomer)] == [201] * 22

    def may_ask(answer: Response) -> bool:
        url = used.authorization_url(client_id=answer.json()["client_id"], redirect_uri="http://127.0.0.1/")
        return server.http().get(url).status_code == 303

    assert [may_ask(answer) for answer in (before, *flood, newcomer)] == [True] * 3 + [False] * 18 + [True]
    assert server.http().get(used.authorization_url()).status_code == 303


def test_the_addresses_of_one_line_are_counted_together(start: Callable[..., Live]) -> None:
    """Attack 22, 32: register from another /64 each time. Source: RFC 6177."""
    server = start(limit_registrations_per_minute=1, trusted_proxies="127.0.0.1,::1")
    answers = [register_from(server, f"2001:db8:0:{number:x}::1") for number in range(6)]
    assert [answer.status_code for answer in answers] == [201] * 4 + [429] * 2
    assert register_from(server, "2001:db8:0:100::1").status_code == 201


def test_sign_ins_begun_by_one_line_are_counted_together(
    start: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 32: begin sign-ins from every /64 of one line, until they fill the storage.
    Source: RFC 6177, RFC 6585 4.
    """
    monkeypatch.setattr(limits, "AUTHORIZATION_REQUESTS_FOR_AN_ATTEMPT", 1)
    server = start(limit_sign_ins_per_minute=1, trusted_proxies="127.0.0.1,::1")
    url = OAuthClient(server).authorization_url()

    def begin(address: str, **headers: str) -> Response:
        return server.http().get(url, headers={"X-Forwarded-For": address} | headers)

    begun = [begin(f"2001:db8:0:{number:x}::1") for number in (1, 1, 2, 3, 4, 5)]
    assert [answer.status_code for answer in begun] == [303, 429, 303, 303, 303, 429]
    page, told = begin("2001:db8:0:6::1", Accept="text/html"), begun[-1]
    assert (page.status_code, told.json()["error"]) == (429, "temporarily_unavailable")
    assert "Too many sign-ins began at your address" in page.text
    assert {1 <= int(answer.headers["retry-after"]) <= 60 for answer in (page, told)} == {True}
    assert not any("location" in answer.headers or "set-cookie" in answer.headers for answer in (page, told))
    assert begin("2001:db8:0:100::1").status_code == 303

    async def requests(storage: Any) -> int:
        return len([row async for table, row in storage.dump() if table == "authorization_requests"])

    assert anyio.run(server.on_storage, requests) == 5


def test_an_unknown_client_costs_as_much_as_a_known_one(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 17: find out by time which clients exist. Source: RFC 6819 4.6.3, CWE-208."""
    compared: list[int] = []

    def compare_digest(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(client_authentication, "hmac", SimpleNamespace(compare_digest=compare_digest))
    client = OAuthClient(live, token_endpoint_auth_method="client_secret_post")
    work = []
    for client_id in (client.id, "unknown"):
        form = {"client_id": client_id, "client_secret": "wrong"}
        assert error(live.http().post("/token", data=form)) == (401, "invalid_client")
        work.append(list(compared))
        compared.clear()
    assert work == [[32], [32]]


def test_who_cannot_authenticate_cannot_kill_a_grant(live: Live, alice: Person) -> None:
    """Attack 14: replay a spent code and token with the client's id alone. Source: RFC 9700 4.14.2."""
    client = OAuthClient(live, token_endpoint_auth_method="client_secret_post")
    code = client.code(alice)
    tokens = client.redeem(code).json()
    for secret in ("", "wrong"):
        for answer in (
            client.redeem(code, client_secret=secret),
            client.refresh(tokens["refresh_token"], client_secret=secret),
            client.post("/revoke", token=tokens["refresh_token"], client_secret=secret),
        ):
            assert error(answer) == (401, "invalid_client")
    assert alive(live, tokens["access_token"])
    assert client.refresh(tokens["refresh_token"]).status_code == 200


# -------------------------------------------------------------------------------------- codes, tokens


def test_a_code_is_worth_nothing_after_its_consent_was_withdrawn(live: Live, alice: Person) -> None:
    """Attack 13: redeem a code after the user changed their mind. Source: RFC 6749 4.1.2, 5.2."""
    client = OAuthClient(live)
    code = client.code(alice)

    async def withdraw(storage: Any) -> None:
        [grant] = [grant for grant in await storage.grants.all() if grant.client_id == client.id]
        assert await storage.grants.revoke(grant.grant_id)

    anyio.run(live.on_storage, withdraw)
    assert error(client.redeem(code)) == (400, "invalid_grant")


def test_an_answer_is_repeated_to_nobody_else_and_for_nothing_else(live: Live, alice: Person) -> None:
    """Attack 16: use the replay window with a stolen token. Source: RFC 9700 4.14.2, RFC 8707 2.2."""
    client, thief = OAuthClient(live), OAuthClient(live)
    tokens = client.tokens(alice)
    renewed = client.refresh(tokens["refresh_token"]).json()
    assert error(thief.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    other = client.refresh(tokens["refresh_token"], resource="https://other.example/mcp")
    assert error(other) == (400, "invalid_target")
    assert error(client.refresh(tokens["refresh_token"], scope="admin")) == (400, "invalid_scope")
    assert alive(live, renewed["access_token"])
    client.post("/revoke", token=renewed["access_token"])
    assert error(client.refresh(tokens["refresh_token"])) == (400, "invalid_grant")


@pytest.mark.parametrize("skew", [-60, 60])
def test_a_node_whose_clock_is_a_minute_off_gives_the_same_answer(
    live: Live, alice: Person, monkeypatch: pytest.MonkeyPatch, skew: int
) -> None:
    """Attack 16: nodes with different clocks. Source: threat model, clock skew of 60 s."""
    client = OAuthClient(live)
    refresh = client.tokens(alice)["refresh_token"]
    first = client.refresh(refresh).json()
    monkeypatch.setattr("authserver.issuing.clock", SimpleNamespace(now=lambda: time.time() + skew))
    again = client.refresh(refresh).json()
    for name in ("access_token", "refresh_token", "scope"):
        assert said(again[name]) == said(first[name])
    assert abs(again["expires_in"] - first["expires_in"]) <= 61
    assert alive(live, again["access_token"])


def stateful(settings: Settings) -> "FastMCP[Any]":
    """The sample server, with MCP sessions: not as our own command runs it, but as others may."""
    mcp = sample(settings)
    http_app = mcp.http_app
    vars(mcp)["http_app"] = lambda **_: http_app(stateless_http=False)
    return mcp


def test_an_mcp_session_is_of_no_use_to_anybody_else(store: dict[str, str]) -> None:
    """Attack 21: go on in the MCP session of another user. Source: python-sdk GHSA-jpw9-pfvf-9f58."""
    server = Live(store).start(stateful)
    alice, mallory = new_person(server, "alice"), new_person(server, "mallory")
    client, other = OAuthClient(server), OAuthClient(server)

    def ask(token: str, method: str, session: dict[str, str], **params: Any) -> Any:
        return server.http().post(
            "/mcp",
            json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params},
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
            | session,
        )

    token = client.tokens(alice)["access_token"]
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    session = {"Mcp-Session-Id": ask(token, "initialize", {}, **hello).headers["mcp-session-id"]}
    assert ask(token, "ping", session).status_code == 200
    for foreign in (client.tokens(mallory), other.tokens(mallory), other.tokens(alice)):
        assert ask(foreign["access_token"], "ping", session).status_code == 404
    assert server.http().post("/mcp", headers=session, json={}).status_code == 401
    assert ask(token, "ping", session).status_code == 200
    server.stop()
