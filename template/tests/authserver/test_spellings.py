"""Other ways to write a path, a host, a call: all of them mean the same, or are refused."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Live, sample
from fastmcp import FastMCP
from oauth_client import OAuthClient, call
from person import Person
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from authserver.all_settings import Settings

CHANGE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "change", "arguments": {"text": "x"}},
}


def posted(live: Live, path: str, token: str, body: Any) -> Any:
    return live.http().post(
        path,
        content=json.dumps(body),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        },
    )


@pytest.mark.parametrize("ending", ["%0a", "%0A", "%0d", "%09", "%00", "/%0a", "%7f", "%1b[0m"])
def test_a_path_with_control_characters_is_refused(live: Live, alice: Person, ending: str) -> None:
    """Attack 31: spell the path so that a check misses it and the router does not. Source: CWE-436."""
    token = OAuthClient(live).tokens(alice)["access_token"]
    assert posted(live, f"/mcp{ending}", token, CHANGE).status_code == 400
    for path in ("/login", "/token", "/.well-known/oauth-authorization-server"):
        assert live.http().get(path + ending).status_code == 400


def test_a_root_path_switches_nothing_off(live: Live, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 31: `--root-path` of an ASGI server, for a proxy that takes a prefix away. Source: CWE-436."""
    token = OAuthClient(live).tokens(alice)["access_token"]
    monkeypatch.setattr(live._server.config, "root_path", "/behind")
    assert call(live, token, name="change", arguments={"text": "x"}).status_code == 403
    assert call(live, token, name="look", arguments={}).status_code == 200
    foreign = live.http(headers={"Origin": "https://evil.example"})
    assert foreign.post("/login").status_code == 403
    assert foreign.get("/.well-known/oauth-authorization-server").status_code == 200
    assert live.http().get("/healthz", headers={"Host": "10.0.0.7"}).status_code == 200
    assert posted(live, "/mcp/", token, CHANGE).status_code == 403


def test_an_array_of_calls_is_refused_unread(
    live: Live, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 31: hide a call in an array, or very many of them. Source: MCP 2025-06-18, CWE-400."""
    looked_up: list[object] = []

    async def recorded(*words: object) -> tuple[str, ...]:
        looked_up.append(words)
        return ()

    monkeypatch.setattr("authserver.components.component_scopes", recorded)
    token = OAuthClient(live).tokens(alice)["access_token"]
    assert posted(live, "/mcp", token, [CHANGE] * 1000).status_code == 400
    assert (
        live.http()
        .post(
            "/mcp",
            content=b"\n \t" + json.dumps([CHANGE]).encode(),
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
                "Accept": "application/json, text/event-stream",
            },
        )
        .is_client_error
    )
    assert looked_up == []


def with_a_route(settings: Settings) -> "FastMCP[Any]":
    mcp = sample(settings)

    @mcp.custom_route("/mine/", methods=["GET"])
    async def mine(request: Request) -> Response:
        return PlainTextResponse("mine")

    return mcp


def test_a_slash_too_many_is_redirected_nowhere(start: Callable[..., Live]) -> None:
    """Attack 31: behind TLS such a redirect leads to http, and a token goes there. Source: RFC 9700 2.6."""
    server = start(build=with_a_route)
    http = server.http()
    for method, path in (
        ("POST", "/token/"),
        ("POST", "/register/"),
        ("GET", "/login/"),
        ("GET", "/account/"),
        ("GET", "/mine"),
        ("GET", "/.well-known/oauth-authorization-server/"),
    ):
        answer = http.request(method, path, headers={"X-Forwarded-Proto": "https"})
        assert answer.status_code == 404, path
        assert "location" not in answer.headers
    assert http.get("/mine/").text == "mine"


def test_the_default_port_may_be_written(start: Callable[..., Live]) -> None:
    """As nginx does with `$host:$server_port`."""
    server = start(public_url="https://mcp.example.com")
    for host, status in (
        ("mcp.example.com", 200),
        ("MCP.example.com:443", 200),
        ("mcp.example.com:80", 421),
        ("mcp.example.com:4430", 421),
        ("mcp.example.com:", 421),
        ("evil.example:443", 421),
        ("[", 421),
    ):
        path = "/.well-known/oauth-authorization-server"
        assert server.http().get(path, headers={"Host": host}).status_code == status, host


def test_a_browser_that_came_by_https_stays_with_it(start: Callable[..., Live], live: Live) -> None:
    """Attack 6: be in the way of the next visit, by http. Source: RFC 6797, OWASP ASVS 5.0 3.4.1."""
    server = start(public_url="https://mcp.example.com")
    for path in ("/account", "/token", "/nowhere", "/assets/style.css"):
        answer = server.http(headers={"Host": "mcp.example.com"}).get(path)
        assert answer.headers["strict-transport-security"] == "max-age=31536000", path
        assert "strict-transport-security" not in live.http().get(path).headers


@pytest.mark.parametrize("name", ["uvicorn.access", "hypercorn.access", "granian.access", "gunicorn.access"])
def test_no_asgi_server_logs_what_was_asked_for(
    start: Callable[..., Live], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Attack 31: read one-time links in the access log of another server's command. Source: CWE-532."""
    written: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(record.getMessage())

    logger = logging.getLogger(name)
    monkeypatch.setattr(logger, "handlers", [Kept()])
    monkeypatch.setattr(logger, "level", logging.INFO)
    monkeypatch.setattr(logger, "disabled", False)
    logger.info("before")
    server = start()
    server.http().get("/invite/mcpiv_secret")
    logger.info('"GET /invite/mcpiv_secret HTTP/1.1" 410')
    assert written == ["before"]
