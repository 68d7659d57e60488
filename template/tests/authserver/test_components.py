"""Tools, resources and prompts whose guard would guard nothing: refused before anything is served."""

from collections.abc import Callable
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.server import create_proxy
from fastmcp.server.transforms import Namespace
from fastmcp.tools import Tool, tool
from operators import Operator

from authserver import AuthorizationServer, Scope, components, requires
from authserver.all_settings import Settings
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
    assert operator.fails("serve") == "my-server: tool erase: it runs the function itself"


def test_components_are_listed(operator: Operator) -> None:
    rows = {row["component"]: row["scopes"] for row in operator.rows("components")}
    assert rows
    assert all(name.startswith(("tool ", "resource ", "template ", "prompt ")) for name in rows)
