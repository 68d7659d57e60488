"""Tools, resources and prompts whose guard would guard nothing: refused before anything is served."""

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest
import structlog
from conftest import Live, new_person
from fastmcp import Client, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server import create_proxy
from fastmcp.server.middleware import Middleware
from fastmcp.server.providers import Provider
from fastmcp.server.transforms import Namespace
from fastmcp.tools import Tool, tool
from oauth_client import OAuthClient, call, result
from operators import Operator
from ports import free_port

from authserver import AuthorizationServer, Scope, components, requires
from authserver.all_settings import Settings
from authserver.doctor.components import examine_components
from authserver.model.scopes import Scopes
from authserver.storage.errors import StorageUnavailable

SCOPES = [Scope("read", "Read.", default=True), Scope("write", "Write.", includes=("read",))]
KNOWN = Scopes(SCOPES)


def plain(mcp: FastMCP[Any]) -> Callable[..., Any]:
    return mcp.tool


WAYS: dict[str, Callable[[FastMCP[Any]], Callable[..., Any]]] = {
    "tool": plain,
    "named tool": lambda mcp: mcp.tool("other"),
    "tool with options": lambda mcp: mcp.tool(description="It does."),
    "resource": lambda mcp: mcp.resource("data://all"),
    "template": lambda mcp: mcp.resource("data://{name}"),
    "prompt": lambda mcp: mcp.prompt,
    "standalone tool": lambda _: tool,
}


def new(kind: str, *, name: bool = False) -> Any:
    """Return a function that nobody has registered yet."""
    if kind == "coroutine":

        async def coroutine(name: str = "") -> str:
            return name

        async def nothing() -> str:
            return ""

        return coroutine if name else nothing

    def function(name: str = "") -> str:
        return name

    def returning() -> str:
        return ""

    return function if name else returning


@pytest.mark.parametrize("function", ["function", "coroutine"])
@pytest.mark.parametrize("way", WAYS)
def test_requires_above_the_registration_is_refused_at_import(way: str, function: str) -> None:
    """Attack 31: call what its author believes to be guarded. Source: OWASP ASVS 5.0 8.2.1, CWE-862."""

    mcp: FastMCP[Any] = FastMCP("order")
    registered = WAYS[way](mcp)(new(function, name=way == "template"))
    with pytest.raises(TypeError, match="@requires in the line below it"):
        requires("write")(registered)


def test_requires_of_a_component_is_refused() -> None:
    """Attack 31: the same, where the registration returns an object. Source: CWE-862."""
    with pytest.raises(TypeError, match="returning is registered already"):
        requires("write")(Tool.from_function(new("function")))  # type: ignore[type-var]


def unguarded(mcp: FastMCP[Any]) -> None:
    def erase() -> None:
        """Erase all."""

    requires("write")(erase)
    mcp.add_tool(Tool.from_function(erase))


@pytest.mark.anyio
@pytest.mark.parametrize("where", ["here", "mounted", "mounted under a name", "renamed"])
async def test_a_function_that_is_guarded_elsewhere_only_is_found(where: str) -> None:
    """Attack 31: call the function that the guard was wrapped around. Source: CWE-862."""
    mcp: FastMCP[Any] = FastMCP("parent")
    child: FastMCP[Any] = FastMCP("child")
    unguarded(mcp if where in ("here", "renamed") else child)
    if where == "renamed":
        mcp.add_transform(Namespace("other"))
    elif where != "here":
        mcp.mount(child, namespace="child" if "name" in where else None)
    with pytest.raises(components.UnsafeComponent, match="tool erase: it runs the function itself"):
        await components.check(mcp, KNOWN)


@pytest.mark.anyio
async def test_a_scope_that_does_not_exist_is_found() -> None:
    """Nobody could be granted it: consent would be asked for again and again."""
    mcp: FastMCP[Any] = FastMCP("typing")

    @mcp.resource("data://{name}")
    @requires("wrte")
    def data(name: str) -> str:
        return name

    with pytest.raises(components.UnsafeComponent, match=r"'wrte', which it needs\. Did you mean 'write'"):
        await components.check(mcp, KNOWN)


@pytest.mark.anyio
async def test_what_is_right_is_listed_with_what_it_needs() -> None:
    mcp: FastMCP[Any] = FastMCP("right")
    child: FastMCP[Any] = FastMCP("child")
    mcp.tool(requires("write")(new("function")), name="renamed")
    mcp.tool(new("coroutine"))
    child.prompt(requires("read", "write")(new("coroutine")), name="asked")
    mcp.mount(child)
    await components.check(mcp, KNOWN)
    assert sorted(await components.list_needs(mcp)) == [
        ("prompt asked", ("read", "write")),
        ("tool nothing", ()),
        ("tool renamed", ("write",)),
    ]


@pytest.mark.anyio
async def test_a_server_that_cannot_be_reached_does_not_stop_the_start() -> None:
    """It is asked when somebody calls it; what it guards is its own business."""
    mcp: FastMCP[Any] = FastMCP("gateway")
    mcp.mount(create_proxy("http://127.0.0.1:9/mcp"))
    await components.check(mcp, KNOWN)


@pytest.mark.anyio
async def test_whatever_runs_the_app_it_does_not_start(store: dict[str, str]) -> None:
    """Attack 31: `fastmcp run`, uvicorn's own command, a test: the guard is in the app. Source: CWE-862."""
    mcp: FastMCP[Any] = FastMCP("app", auth=AuthorizationServer(SCOPES, Settings.model_validate(store)))
    unguarded(mcp)
    app = mcp.http_app(stateless_http=True)
    told: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        told.append(message)

    with pytest.raises(components.UnsafeComponent):
        await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    [failed] = told
    assert failed["type"] == "lifespan.startup.failed"
    assert failed["message"].startswith("tool erase: ")


@pytest.mark.anyio
async def test_a_store_that_goes_away_during_the_start_is_told_too(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is not told takes the app for one without a lifespan, and serves it."""
    server = AuthorizationServer(SCOPES, Settings.model_validate(store))
    mcp: FastMCP[Any] = FastMCP("app", auth=server)
    app = mcp.http_app(stateless_http=True)
    told: list[Any] = []

    async def gone() -> None:
        raise StorageUnavailable("gone")

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        told.append(message)

    monkeypatch.setattr(server.tokens, "catch_up", gone)
    with pytest.raises(StorageUnavailable):
        await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    assert told == [{"type": "lifespan.startup.failed", "message": "gone"}]
    with pytest.raises(RuntimeError, match="not open"):
        _ = server.storage


@pytest.mark.anyio
async def test_without_that_the_call_would_go_through() -> None:
    """What all of this is about: FastMCP runs what it was given."""
    mcp: FastMCP[Any] = FastMCP("bare")
    unguarded(mcp)
    async with Client(mcp) as client:
        assert not (await client.call_tool("erase")).is_error


def test_serve_says_it_in_one_line(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise components.UnsafeComponent("tool erase: it runs the function itself")

    monkeypatch.setattr("authserver.components.check", fails)
    line = operator.fails("serve", "--port", str(free_port()))
    assert line == "my-server: tool erase: it runs the function itself"


def test_components_are_listed(operator: Operator) -> None:
    rows = {row["component"]: row["scopes"] for row in operator.rows("components")}
    assert rows["tool look"] == "read"
    assert {name.partition(" ")[0] for name in rows} == {"tool", "resource", "template", "prompt"}


class Own(Provider):
    """A provider of the user's own, whose tools stand in no list."""

    async def _get_tool(self, name: str, version: Any = None) -> Tool | None:
        return Tool.from_function(new("coroutine"), name=name) if name.startswith("own") else None


SPECIFICATION = {
    "openapi": "3.1.0",
    "info": {"title": "Files", "version": "1"},
    "paths": {
        "/all": {"delete": {"operationId": "erase_all", "responses": {"200": {"description": "done"}}}}
    },
}


def mixed(settings: Settings, default: str | None) -> FastMCP[Any]:
    """A server with what `@requires` cannot reach."""
    auth = AuthorizationServer(SCOPES, settings, requires_by_default=default)
    mcp: FastMCP[Any] = FastMCP("mixed", auth=auth, providers=[Own()])
    child: FastMCP[Any] = FastMCP("child")
    mcp.tool(new("coroutine"), name="bare")
    mcp.tool(requires("read")(new("coroutine")), name="declared")
    mcp.resource("data://all")(new("coroutine"))
    mcp.prompt(new("coroutine"), name="asked")
    child.tool(new("coroutine"), name="mounted")
    mcp.mount(child, namespace="child")
    mcp.mount(FastMCP.from_openapi(SPECIFICATION, httpx2.AsyncClient(base_url="http://127.0.0.1:9")))
    return mcp


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("tools/call", {"name": "bare", "arguments": {}}),
    ("tools/call", {"name": "child_mounted", "arguments": {}}),
    ("tools/call", {"name": "erase_all", "arguments": {}}),
    ("tools/call", {"name": "own_erase", "arguments": {}}),
    ("tools/call", {"name": "nowhere", "arguments": {}}),
    ("resources/read", {"uri": "data://all"}),
    ("prompts/get", {"name": "asked", "arguments": {}}),
]


def test_what_declares_nothing_needs_what_is_required_by_default(
    start: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 31: call what `@requires` cannot reach, from any provider. Source: ASVS 5.0 8.2.1, CWE-862."""
    server = start(build=lambda settings: mixed(settings, "write"))
    client = OAuthClient(server)
    person = new_person(server, "alice", ["*"])
    reader = client.tokens(person)["access_token"]
    writer = client.tokens(person, scope="write")["access_token"]
    for method, params in CALLS:
        assert call(server, reader, method, **params).status_code == 403, params
        answer = call(server, writer, method, **params)
        assert answer.status_code == 200, params
        assert "This needs" not in answer.text, params
    declared = call(server, reader, name="declared", arguments={})
    assert not result(declared).get("isError")

    # Without the HTTP layer's word, the check inside says the same.
    async def nothing_needed(*_: object) -> tuple[str, ...]:
        return ()

    monkeypatch.setattr("authserver.middleware.step_up._scopes_needed", nothing_needed)
    for method, params in CALLS:
        assert "This needs the scope write" in call(server, reader, method, **params).text, params
        assert "This needs" not in call(server, writer, method, **params).text, params
    assert not result(call(server, reader, name="declared", arguments={})).get("isError")


@pytest.mark.anyio
async def test_a_default_that_is_no_scope_is_refused() -> None:
    with pytest.raises(ValueError, match="requires_by_default: no Scope defines 'wrte'"):
        AuthorizationServer(SCOPES, requires_by_default="wrte")


@pytest.mark.parametrize("default", [None, "write"])
def test_a_start_says_what_nobody_looked_at(start: Callable[..., Live], default: str | None) -> None:
    with structlog.testing.capture_logs() as logged:
        start(build=lambda settings: mixed(settings, default))
    warned = [entry["providers"] for entry in logged if "not looked at" in entry["event"]]
    assert warned == ([["Own"]] if default is None else [])


@pytest.mark.anyio
async def test_what_comes_of_a_description_is_listed_too(store: dict[str, str]) -> None:
    listed = dict(await components.list_needs(mixed(Settings.model_validate(store), None)))
    assert listed["tool erase_all"] == ()


@pytest.mark.anyio
async def test_doctor_names_what_needs_nothing_and_what_nobody_looked_at(store: dict[str, str]) -> None:
    async def told(default: str | None) -> list[str]:
        mcp = mixed(Settings.model_validate(store), default)
        assert isinstance(mcp.auth, AuthorizationServer)
        return [finding.what async for finding in examine_components(mcp, mcp.auth)]

    free, unseen = await told(None)
    assert "tool bare" in free
    assert "tool erase_all" in free
    assert "declared" not in free
    assert "what Own offers was not looked at" in unseen
    assert await told("write") == []


# ------------------------------------------------------------------------------------- unexpected errors

SECRET = "the database password is hunter2"


class Failing(Middleware):
    """Middleware of the user's own, with a mistake in it."""

    async def on_list_prompts(self, context: Any, call_next: Any) -> Any:
        raise RuntimeError(SECRET)


def failing(settings: Settings) -> FastMCP[Any]:
    """A server whose components fail, here and mounted: by mistake, and on purpose."""
    mcp: FastMCP[Any] = FastMCP("failing", auth=AuthorizationServer(SCOPES, settings), middleware=[Failing()])
    child: FastMCP[Any] = FastMCP("child", mask_error_details=False)

    def fails() -> str:
        raise ValueError(SECRET)

    async def fails_slowly() -> str:
        await anyio.lowlevel.checkpoint()
        try:
            fails()
        except ValueError as error:
            raise ExceptionGroup(SECRET, [error]) from error
        return ""

    def refuses() -> str:
        raise ToolError("There is no such note.") from ValueError(SECRET)

    for server in (mcp, child):
        server.tool(fails)
        server.tool(fails_slowly)
        server.tool(refuses)
        server.resource("data://broken")(fails)
        server.prompt(fails, name="broken")
    mcp.mount(child, namespace="child")
    return mcp


FAILURES: list[tuple[str, dict[str, Any]]] = [
    ("tools/call", {"name": "fails", "arguments": {}}),
    ("tools/call", {"name": "fails_slowly", "arguments": {}}),
    ("tools/call", {"name": "child_fails", "arguments": {}}),
    ("tools/call", {"name": "child_fails_slowly", "arguments": {}}),
    ("resources/read", {"uri": "data://broken"}),
    ("resources/read", {"uri": "data://child/broken"}),
    ("prompts/get", {"name": "broken", "arguments": {}}),
    ("prompts/get", {"name": "child_broken", "arguments": {}}),
    ("prompts/list", {}),
]


def test_the_text_of_an_unexpected_error_stays_here(start: Callable[..., Live]) -> None:
    """Attack 31: make a tool fail, and read what it knows. Source: OWASP ASVS 5.0 16.5.1, CWE-209."""
    server = start(build=failing)
    token = OAuthClient(server).tokens(new_person(server, "alice", ["*"]))["access_token"]
    for method, params in FAILURES:
        answer = call(server, token, method, **params)
        assert "hunter2" not in answer.text, params
        assert f"in the log as {answer.headers['x-request-id']}" in answer.text, (params, answer.text)
    for name in ("refuses", "child_refuses"):
        answer = call(server, token, name=name, arguments={})
        assert result(answer)["content"][0]["text"] == "There is no such note."
