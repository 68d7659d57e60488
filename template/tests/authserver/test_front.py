"""What people see who open the bare address, a wrong one, or one behind a proxy that changes headers."""

from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
import structlog
from conftest import Live, new_person, sample
from fastmcp import FastMCP
from oauth_client import OAuthClient, call, result
from person import Form, Person
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from authserver import warned
from authserver.all_settings import Settings

HIDDEN = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}


def title(page: Any) -> str:
    assert page.headers["content-type"].startswith("text/html")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    return unescape(page.text.partition("<h1>")[2].partition("</h1>")[0])


# ------------------------------------------------------------------------------------- the bare address


def test_the_bare_address_says_what_this_is_and_how_to_connect(live: Live) -> None:
    page = Person(live).browser.get("/")
    assert (page.status_code, title(page)) == (200, "This is an MCP server")
    for text in ("Sample", live.mcp_url, 'href="/account"', "<title>This is an MCP server · Sample</title>"):
        assert text in page.text
    german = Person(live).browser.get("/", headers={"Accept-Language": "de"})
    assert title(german) == "Das ist ein MCP-Server"
    assert Person(live).browser.head("/").status_code == 200


def test_the_mcp_address_is_no_riddle_in_a_browser(live: Live, alice: Person) -> None:
    for path in ("/mcp", "/mcp/"):
        page = Person(live).browser.get(path)
        assert (page.status_code, page.headers["allow"]) == (405, "POST")
        assert title(page) == "This is an MCP server"
    with live.http(headers={"Accept": "text/event-stream"}) as http:
        assert "text/html" not in http.get("/mcp").headers["content-type"]
        assert http.post("/mcp").headers["www-authenticate"].startswith("Bearer")
    assert Person(live).browser.post("/mcp").status_code == 401
    token = OAuthClient(live).tokens(alice)["access_token"]
    assert result(call(live, token, name="look", arguments={}))["isError"] is False


def test_a_program_at_the_bare_address_is_told_that_nothing_is_there(live: Live) -> None:
    for method, path in (("GET", "/"), ("POST", "/"), ("GET", "/unknown"), ("PUT", "/a/b")):
        answer = live.http().request(method, path)
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
        assert answer.headers["cache-control"] == "no-store"


def test_the_users_own_route_comes_first(start: Callable[..., Live]) -> None:
    def build(settings: Settings) -> "FastMCP[Any]":
        mcp = sample(settings)

        @mcp.custom_route("/", methods=["GET"])
        async def own(_: Request) -> PlainTextResponse:
            return PlainTextResponse("mine")

        return mcp

    assert Person(start(build=build)).browser.get("/").text == "mine"


@pytest.mark.parametrize("path", ["/unknown", "/accounts", "/login/", "/assets/x.css", "/.well-known/x"])
def test_an_unknown_address_is_a_page_for_people(live: Live, path: str) -> None:
    page = Person(live).browser.get(path, headers={"Accept-Language": "de"})
    assert (page.status_code, title(page)) == (404, "Diese Seite gibt es nicht")
    assert f'<a href="{live.url}/account">' in page.text


@pytest.mark.parametrize("path", ["/logout", "/account/apps", "/token", "/register"])
def test_an_address_that_only_takes_posts_says_so(live: Live, path: str) -> None:
    page = Person(live).browser.get(path)
    assert (page.status_code, page.headers["allow"], title(page)) == (405, "POST", "Nothing to see here")
    assert "It takes <bdi>POST</bdi> and no other method." in page.text
    answer = live.http().get(path)
    assert (answer.status_code, answer.json()["error"]) == (405, "invalid_request")
    answer = live.http().put("/authorize")
    assert "It takes GET, HEAD, POST and no other method." in answer.json()["error_description"]


def test_who_comes_without_an_app_or_with_an_unknown_one_is_told_what_to_do(
    live: Live, start: Callable[..., Live]
) -> None:
    for server, query, said in (
        (live, "", "Begin in your app"),
        (live, "?client_id=", "Begin in your app"),
        (live, "?client_id=unknown", "The app then registers anew."),
        (
            start(registration="static"),
            "?client_id=unknown",
            "Ask the operator of this server to add",
        ),
    ):
        page = Person(server).browser.get("/authorize" + query)
        assert page.status_code == 400
        assert said in page.text


def test_the_page_about_a_wrong_host_looks_like_the_others(live: Live, start: Callable[..., Live]) -> None:
    browser = Person(live).browser
    page = browser.get("/login", headers={"Host": "10.0.0.7"})
    assert (page.status_code, title(page)) == (421, "Wrong address")
    assert "/assets/style.css" in page.text
    style = browser.get("/assets/style.css", headers={"Host": "10.0.0.7"})
    assert (style.status_code, style.text) == (200, browser.get("/assets/style.css").text)
    assert browser.get("/assets/unknown.css", headers={"Host": "10.0.0.7"}).status_code == 421
    server = start(public_url="https://mcp.example.com")
    for path, status in (("/login", 421), ("/assets/style.css", 200), ("/healthz", 200)):
        answer = server.http().get(path, headers={"Host": "10.0.0.7"})
        assert (answer.status_code, answer.headers.get("strict-transport-security")) == (status, None)


# ------------------------------------------------------------------------------------ whence a form came


def test_a_form_whose_origin_a_proxy_hides_is_ours_if_the_browser_says_so(live: Live) -> None:
    """Attack 21: post from a frame without an origin, or say part of what a browser says.
    Source: Fetch 3.2, Fetch Metadata 2.4.

    Browsers send `Origin: null` where a proxy adds `Referrer-Policy: no-referrer`.
    """
    person = new_person(live, "hidden")
    form = Form(person.get("/account/sign-out").text)
    for site in ("cross-site", "same-site", "none", "same-origin, same-origin", ""):
        refused = person.browser.post(
            form.action, data=form.fields, headers=HIDDEN | {"Sec-Fetch-Site": site, "Accept-Language": "de"}
        )
        assert (refused.status_code, title(refused)) == (403, "Bitte noch einmal")
        assert live.url in refused.text
    refused = person.browser.post(form.action, data={"csrf": "x"}, headers=HIDDEN)
    assert (refused.status_code, "too old" in refused.text) == (403, True)
    for path in ("/token", "/register", "/mcp"):
        assert live.http(headers=HIDDEN).post(path).status_code == 403
    done = person.browser.post(form.action, data=form.fields, headers=HIDDEN)
    assert title(done) == "You are signed out everywhere"


def test_what_refuses_a_form_is_written_down_once(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 21: fill the log, and the operator's screen, by origins. Source: CWE-117, CWE-150."""
    warned._warned.clear()
    monkeypatch.setattr("authserver.limits.WARNED_SENDERS", 3)
    seen = (b"https://evil.example", b"https://evil.example", b"x\x9b2J", b"null", b"null", b"one-more")
    with structlog.testing.capture_logs() as logged:
        for origin in seen:
            http = live.http(headers={b"Origin": origin})
            assert [http.post(path).status_code for path in ("/login", "/token")] == [403, 403]
    warnings = [line for line in logged if line["log_level"] == "warning"]
    for text, number in (("no-referrer", 1), ("AUTH_PUBLIC_URL", 3), ("AUTH_ALLOWED_ORIGINS", 3)):
        assert sum(text in line["event"] for line in warnings) == number
    assert len(warnings) == 7
    assert all(line["sender"].isprintable() for line in warnings)


def test_an_origin_may_be_written_otherwise(start: Callable[..., Live]) -> None:
    """RFC 6454 section 4: neither case nor the default port makes another origin."""
    server = start(allowed_origins="https://Inspector.example:443,http://inspector.example:8080")
    plain = ("https://inspector.example", "http://inspector.example:8080")
    for origin in (*plain, "HTTPS://inspector.EXAMPLE:443"):
        assert server.http(headers={"Origin": origin}).post("/token").status_code == 400
    for origin in (
        "http://inspector.example",
        "https://inspector.example:8443",
        "https://inspector.example:80",
    ):
        assert server.http(headers={"Origin": origin}).post("/token").status_code == 403
    own = server.http(headers={"Origin": server.url.upper(), "Accept": "text/html"})
    assert "too old" in own.post("/logout", data={"csrf": "x"}).text


@pytest.mark.parametrize("origin", ["null", "https://elsewhere.example"])
@pytest.mark.parametrize("path", ["/", "/nope", "/mcp", "/token"])
def test_a_foreign_origin_is_a_page_for_people_and_json_for_programs(
    live: Live, path: str, origin: str
) -> None:
    navigation = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Origin": origin}
    page = Person(live).browser.get(path, headers=navigation)
    assert (page.status_code, title(page)) == (403, "Please try again")
    assert live.url in page.text
    answer = live.http(headers=navigation).get(path)
    assert (answer.status_code, answer.json()["error"]) == (403, "access_denied")


def test_a_wrong_host_is_one_warning_for_each(live: Live) -> None:
    warned._warned.clear()
    with structlog.testing.capture_logs() as logged:
        for host in ("10.0.0.7", "10.0.0.7", "x" * 9000, live.url.partition("://")[2]):
            live.http().get("/login", headers={"Host": host})
    warnings = [line for line in logged if line["log_level"] == "warning"]
    assert ["AUTH_PUBLIC_URL" in line["event"] for line in warnings] == [True, True]
    assert warnings[0]["sender"] == "10.0.0.7"
    assert len(warnings[1]["sender"]) < 9000


def test_reading_a_page_needs_no_origin(live: Live) -> None:
    """Some browsers name one after a redirect from a form elsewhere."""
    for origin in ("null", "https://client.example"):
        assert Person(live).browser.get("/account", headers={"Origin": origin}).status_code == 303
