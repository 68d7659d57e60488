"""Each shortfall of FastMCP and the MCP SDK that we work around.

These tests pass while the shortfall is there. One that fails says: it was mended upstream, the workaround
can go.
"""

import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Live, new_person
from fastmcp import FastMCP, FastMCPApp
from fastmcp.exceptions import ToolError
from fastmcp.server.auth.auth import AuthProvider
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from fastmcp.server.providers.addressing import hashed_backend_name
from fastmcp.tools import Tool
from mcp.server.auth.handlers.authorize import AuthorizationHandler, AuthorizationRequest
from mcp.server.auth.handlers.revoke import RevocationRequest
from mcp.server.auth.handlers.token import AuthorizationCodeRequest, TokenHandler
from mcp.server.auth.middleware import client_auth
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.routes import build_metadata, create_auth_routes
from mcp.server.auth.settings import ClientRegistrationOptions, RevocationOptions
from mcp.server.streamable_http import StreamableHTTPServerTransport, check_accept_headers
from oauth_client import OAuthClient, call, result
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.testclient import TestClient
from uvicorn import Config, Server
from uvicorn.supervisors import multiprocess

from authserver import limits, requires
from authserver.upstream import (
    PatientWorker,
    Punctual,
    authenticated,
    component_scopes,
    plain_headers,
    socket_peer,
    without_cause,
)


def upstream_metadata() -> Any:
    return build_metadata(
        AnyHttpUrl("https://example.com"), None, ClientRegistrationOptions(), RevocationOptions()
    )


# --------------------------------------------------------------- why `endpoints/` replaces handlers


def test_upstream_adds_a_slash_to_the_issuer() -> None:
    """So `endpoints/metadata.py` writes addresses as strings."""
    assert str(AuthProvider(base_url="https://example.com").base_url) == "https://example.com/"


def test_upstream_metadata_leaves_out_none_and_iss() -> None:
    """So public clients would not find their method (RFC 8414), nor `iss` (RFC 9207)."""
    found = upstream_metadata()
    assert "none" not in found.token_endpoint_auth_methods_supported
    assert found.authorization_response_iss_parameter_supported is None


def test_upstream_sends_no_iss() -> None:
    """So `endpoints/authorize.py` writes its own redirects."""
    assert "iss" not in inspect.getsource(AuthorizationHandler.handle).replace("issue", "").replace(
        "permission", ""
    ).replace("missing", "")


def test_upstream_takes_a_missing_challenge_method_for_s256() -> None:
    """RFC 7636 section 4.3 says: missing means plain, which OAuth 2.1 forbids."""
    asked = AuthorizationRequest.model_validate(
        {"client_id": "x", "response_type": "code", "code_challenge": "short"}
    )
    assert asked.code_challenge_method == "S256"


def test_upstream_takes_any_verifier() -> None:
    """RFC 7636 section 4.1: 43 to 128 unreserved characters."""
    form = {"grant_type": "authorization_code", "code": "x", "client_id": "x", "code_verifier": "ü"}
    assert AuthorizationCodeRequest.model_validate(form).code_verifier == "ü"


def test_upstream_answers_a_grant_that_was_not_registered_with_the_wrong_error() -> None:
    """RFC 6749 section 5.2: unauthorized_client."""
    assert "unauthorized_client" not in inspect.getsource(TokenHandler.handle).split("JwtBearerRequest")[0]


def test_upstream_never_looks_at_the_resource_of_a_token_request() -> None:
    """RFC 8707 section 2.2: so `endpoints/token.py` does."""
    source = inspect.getsource(TokenHandler.handle).split("JwtBearerRequest")[0]
    assert "resource" not in source


def test_upstream_revocation_requires_the_field_client_secret() -> None:
    """Public clients have none (RFC 7009 section 2.1)."""
    assert RevocationRequest.model_fields["client_secret"].is_required()


def test_upstream_basic_authentication_wants_client_id_in_the_body_and_keeps_plus() -> None:
    """RFC 6749 section 2.3.1 and appendix B."""
    source = inspect.getsource(client_auth)
    assert "Missing client_id" in source
    assert "unquote_plus" not in source


def test_upstream_lets_repeated_parameters_pass() -> None:
    """RFC 6749 section 3.1."""
    provider = InMemoryOAuthProvider(base_url="http://localhost")
    routes = create_auth_routes(provider, AnyHttpUrl("http://localhost"))
    with TestClient(Starlette(routes=routes)) as http:
        answer = http.get("/authorize?client_id=a&client_id=b&response_type=code&code_challenge=x")
    assert "repeat" not in answer.text


# ------------------------------------------------------------------------------- `upstream.py` itself


@pytest.mark.anyio
async def test_upstream_believes_the_first_of_two_authorization_headers() -> None:
    class Verifier:
        async def verify_token(self, token: str) -> AccessToken:
            return AccessToken(token=token, client_id="x", scopes=[])

    headers = [(b"authorization", b"Bearer one"), (b"authorization", b"Bearer two")]
    scope = {"type": "http", "headers": headers}
    verifier: Any = Verifier()
    assert await authenticated(verifier, scope) is None
    assert await authenticated(verifier, scope | {"headers": headers[1:]}) is not None
    assert await BearerAuthBackend(verifier).authenticate(HTTPConnection(scope)) is not None


def test_upstream_hides_a_tool_instead_of_asking_for_its_scope(start: Callable[..., Live]) -> None:
    """`require_scopes` answers 200 and "Unknown tool", from which no client can step up."""
    from fastmcp.server.auth import require_scopes  # noqa: PLC0415

    from authserver import AuthorizationServer  # noqa: PLC0415

    def build(settings: Any) -> "FastMCP[Any]":
        from conftest import SCOPES  # noqa: PLC0415

        mcp: FastMCP[Any] = FastMCP("hides", auth=AuthorizationServer(SCOPES, settings))
        mcp.tool(lambda: "x", name="hidden", auth=require_scopes("write"))
        return mcp

    server = start(build=build)
    person = new_person(server, "alice")
    token = OAuthClient(server).tokens(person)["access_token"]
    answer = call(server, token, name="hidden", arguments={})
    assert answer.status_code == 200
    assert "Unknown tool" in answer.text or "error" in str(result(answer)).lower()


@pytest.mark.anyio
async def test_scopes_are_found_through_mounts_and_renames() -> None:
    """FastMCP has no public way from a mounted component to its function."""
    child: FastMCP[Any] = FastMCP("child")

    @requires("write")
    def change() -> str:
        return "x"

    child.tool(change)
    child.resource("plan://a")(change)
    child.resource("plan://{name}/b", name="template")(requires("admin")(lambda name: name))
    child.prompt(change)
    middle: FastMCP[Any] = FastMCP("middle")
    middle.mount(child, namespace="inner")
    parent: FastMCP[Any] = FastMCP("parent")
    parent.mount(middle, namespace="outer")
    own = Tool.from_function(change)
    parent.add_tool(Tool.from_tool(own, name="renamed"))

    async def scopes(method: str, **params: str) -> tuple[str, ...]:
        return await component_scopes(parent, method, params)

    tools = {tool.name for tool in await parent.list_tools()}
    assert tools == {"renamed", "outer_inner_change"}
    for name in tools:
        assert await scopes("tools/call", name=name) == ("write",)
    [prompt] = await parent.list_prompts()
    assert await scopes("prompts/get", name=prompt.name) == ("write",)
    [resource] = await parent.list_resources()
    assert await scopes("resources/read", uri=str(resource.uri)) == ("write",)
    [template] = await parent.list_resource_templates()
    uri = template.uri_template.replace("{name}", "n")
    assert await scopes("resources/read", uri=uri) == ("admin",)
    assert await scopes("tools/call", name="unknown") == ()
    assert await scopes("resources/read", uri="unknown://x") == ()
    assert await scopes("ping") == ()


def panel() -> "FastMCP[Any]":
    """Return a server with an app whose tool needs a scope."""

    @requires("write")
    def press(button: str) -> str:
        return f"pressed {button}"

    app = FastMCPApp("panel")
    app.tool(press)
    mcp: FastMCP[Any] = FastMCP("with an app")
    mcp.add_provider(app)
    return mcp


HASHED = hashed_backend_name("panel", "press")


@pytest.mark.anyio
async def test_scopes_are_found_by_hashed_names() -> None:
    """FastMCP's `get_tool` does not know the hashed names that tools of an app answer to."""
    parent: FastMCP[Any] = FastMCP("parent")
    middle: FastMCP[Any] = FastMCP("middle")
    middle.mount(panel(), namespace="inner")
    parent.mount(middle, namespace="outer")
    for server in (panel(), middle, parent):
        assert await server.get_tool(HASHED) is None
        assert await component_scopes(server, "tools/call", {"name": HASHED}) == ("write",)
    assert await component_scopes(parent, "tools/call", {"name": HASHED + "x"}) == ()


def test_a_hashed_name_leads_around_no_scope(
    start: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 403 comes before such a call; without the 403, the check inside the tool holds."""

    def build(settings: Any) -> "FastMCP[Any]":
        from conftest import SCOPES  # noqa: PLC0415

        from authserver import AuthorizationServer  # noqa: PLC0415

        mcp: FastMCP[Any] = FastMCP("mounts", auth=AuthorizationServer(SCOPES, settings))
        mcp.mount(panel(), namespace="inner")
        return mcp

    server = start(build=build)
    client = OAuthClient(server)
    person = new_person(server, "alice", ["*"])
    token = client.tokens(person)["access_token"]
    wider = client.tokens(person, scope="write")["access_token"]
    press: dict[str, Any] = {"name": HASHED, "arguments": {"button": "it"}}
    assert "pressed it" in str(result(call(server, wider, **press)))
    refused = call(server, token, **press)
    assert refused.status_code == 403
    assert 'scope="read write"' in refused.headers["www-authenticate"]

    async def none(*_: Any) -> tuple[str, ...]:
        return ()

    monkeypatch.setattr("authserver.middleware.step_up._scopes_needed", none)
    inside = result(call(server, token, **press))
    assert inside["isError"]
    assert "needs the scope write" in str(inside)


@contextmanager
def connected(app: Any, **options: Any) -> Iterator[socket.socket]:
    """Give a connection to an application that uvicorn runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(Config(app, lifespan="off", log_level="critical", **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with socket.create_connection(listener.getsockname(), timeout=20) as visitor:
            yield visitor
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost: ", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /"]
)
def test_a_connection_on_which_no_request_comes_is_closed(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """Attack 21: open connections, and send heads byte by byte or never. Source: RFC 9112 9.5.

    uvicorn waits for ever: only between two requests, while nothing comes, it counts the seconds.
    """
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.05)
    with connected(Response("seen"), http=Punctual) as visitor:
        visitor.sendall(sent)
        received = b"".join(iter(lambda: visitor.recv(4096), b""))
    assert received.count(b"200 OK") == sent.count(b"\r\n\r\n")


def test_upstream_judges_a_worker_that_has_not_started() -> None:
    """It kills what does not answer in time, also while it still imports."""

    def running(kind: type[multiprocess.Process]) -> multiprocess.Process:
        worker = kind(Config("x:x", log_config=None), [])
        worker.process = SimpleNamespace(is_alive=lambda: True)  # type: ignore[assignment]
        return worker

    assert not running(multiprocess.Process).is_alive(0.01)
    worker = running(PatientWorker)
    assert worker.is_alive(0.01)
    worker.pong()
    assert worker.is_alive(0.01)  # it answers that it has not started
    assert worker.is_alive(0.01)
    worker.server.started = True
    worker.pong()
    assert worker.is_alive(0.01)
    assert not worker.is_alive(0.01)


# The second is what `serve` takes where uvloop is: not on Windows.
@pytest.mark.parametrize(("http", "loop"), [("h11", "asyncio"), ("httptools", "auto")])
def test_upstream_overwrites_the_peer_with_what_a_header_says(http: Any, loop: str) -> None:
    """So `middleware/peer.py` asks the socket, which `receive` leads to."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen[:] = [scope["client"], *socket_peer(receive)]
        await Response("seen")(scope, receive, send)

    with connected(app, http=http, loop=loop) as visitor:
        visitor.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1:99\r\n\r\n")
        assert b" 200 OK" in visitor.recv(4096)
        assert seen == [("192.0.2.1", 99), True, visitor.getsockname()]


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_white_space_around_a_headers_value_is_none_of_it(http: Any) -> None:
    """RFC 9110 section 5.5. httptools leaves what is behind it."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        plain_headers(scope)
        seen[:] = [value for name, value in scope["headers"] if name == b"x"]
        await Response("seen")(scope, receive, send)

    with connected(app, http=http) as visitor:
        visitor.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: \t a b \t \r\n\r\n")
        assert b" 200 OK" in visitor.recv(4096)
        assert seen == [b"a b"]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ((), (True, True)),
        ((b"",), (True, True)),
        ((b"application/json", b"text/event-stream"), (True, True)),
        ((b"application/json",), (True, False)),
    ],
)
def test_upstream_reads_one_accept_of_several(written: tuple[bytes, ...], read: tuple[bool, bool]) -> None:
    """RFC 9110 sections 5.3 and 12.5.1. So `plain_headers` makes one of them."""
    scope = {"type": "http", "headers": [(b"accept", value) for value in written]}
    assert (check_accept_headers(Request(scope)) == read) == (len(written) == 1 and written[0] != b"")
    plain_headers(scope)
    assert check_accept_headers(Request(scope)) == read


@pytest.mark.anyio
async def test_upstream_compares_media_types_letter_by_letter() -> None:
    """RFC 9110 section 8.3.1. So `plain_headers` writes them in small letters."""
    scope = {"type": "http", "headers": [(b"content-type", b"Application/JSON; boundary=A")]}
    transport = StreamableHTTPServerTransport(None)
    assert not transport._check_content_type(Request(scope))
    plain_headers(scope)
    assert transport._check_content_type(Request(scope))
    assert (b"content-type", b"application/json; boundary=A") in scope["headers"]


@pytest.mark.anyio
async def test_upstream_hands_the_text_of_an_unexpected_error_on() -> None:
    """So `middleware/calls.py` takes it out; a mounted server would have to be told by itself."""
    mcp: FastMCP[Any] = FastMCP("parent", mask_error_details=True)
    child: FastMCP[Any] = FastMCP("child")

    @child.tool
    def fails() -> None:
        raise ValueError("hunter2")

    mcp.mount(child)
    with pytest.raises(ToolError, match="hunter2") as raised:
        await mcp.call_tool("fails")
    assert without_cause(raised.value) == "Error calling tool 'fails'"
