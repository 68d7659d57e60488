"""Scopes: what is asked for, what may be granted, what it includes."""

import pytest
from fastmcp import Client, FastMCP
from fastmcp.exceptions import ToolError

from authserver import Scope, requires
from authserver.model.scopes import ALL, Scopes

SCOPES = Scopes(
    [
        Scope("read", "Read.", default=True),
        Scope("write", "Write.", includes=("read",)),
        Scope("admin", "All.", includes=("write",)),
    ]
)


@pytest.mark.parametrize(
    ("asked", "means"),
    [
        (None, ["read"]),
        ([], ["read"]),
        ([""], ["read"]),
        (["openid", "profile", "email", "offline_access"], ["read"]),
        (["write", "offline_access"], ["write"]),
        (["write", "unknown", "read"], ["read", "write"]),
        (["unknown"], []),
        (["unknown", "offline_access"], []),
    ],
)
def test_what_a_request_asks_for(asked: list[str] | None, means: list[str]) -> None:
    assert SCOPES.asked(asked) == means


@pytest.mark.parametrize(
    ("asked", "entitlement", "granted"),
    [
        (["read"], None, ["read"]),
        (["write"], None, ["read"]),
        (["admin"], ("write",), ["read", "write"]),
        (["admin"], (ALL,), ["read", "write", "admin"]),
        (["read"], (ALL,), ["read"]),
        (["write"], (), []),
        (["write"], ("gone",), []),
    ],
)
def test_a_grant_is_narrowed_to_what_the_user_may(
    asked: list[str], entitlement: tuple[str, ...] | None, granted: list[str]
) -> None:
    assert SCOPES.allowed(asked, entitlement) == granted


@pytest.mark.parametrize(
    "scopes",
    [
        [],
        [Scope("read", "Read.")],
        [Scope("", "x", default=True)],
        [Scope("a b", "x", default=True)],
        [Scope('a"b', "x", default=True)],
        [Scope("ä", "x", default=True)],
        [Scope("offline_access", "x", default=True)],
        [Scope("*", "x", default=True)],
        [Scope("read", "x", default=True, includes=("unknown",))],
    ],
)
def test_unusable_scopes_are_refused(scopes: list[Scope]) -> None:
    with pytest.raises(ValueError, match="scope"):
        Scopes(scopes)


def test_scopes_may_include_each_other() -> None:
    scopes = Scopes([Scope("a", "x", default=True, includes=("b",)), Scope("b", "x", includes=("a",))])
    assert scopes.expand(["a"]) == {"a", "b"}


@pytest.mark.anyio
async def test_a_call_without_a_token_is_refused_inside_the_tool() -> None:
    mcp = FastMCP("no http")

    @mcp.tool
    @requires("read")
    def guarded(text: str) -> str:
        """Says it."""
        return text

    @mcp.tool
    @requires("read")
    async def guarded_async(text: str) -> str:
        return text

    async with Client(mcp) as client:
        [tool, _] = await client.list_tools()
        assert (tool.name, tool.description) == ("guarded", "Says it.")
        assert set(tool.input_schema["properties"]) == {"text"}
        for name in ("guarded", "guarded_async"):
            with pytest.raises(ToolError, match="needs the scope read"):
                await client.call_tool(name, {"text": "hello"})
