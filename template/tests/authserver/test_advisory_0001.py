"""Advisory 0001: `@requires` above the registration of a tool guarded nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from conftest import SCOPES, Live, new_person
from fastmcp import FastMCP
from oauth_client import OAuthClient, call

from authserver import AuthorizationServer, requires


@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_a_tool_that_looks_guarded_is_not_run_without_its_scope(
    start: Callable[..., Live], kind: str
) -> None:
    """Or else the order is refused: when it is imported, or when the server starts."""
    ran: list[str] = []
    refused: list[Exception] = []

    def build(settings: Any) -> FastMCP[Any]:
        mcp: FastMCP[Any] = FastMCP("Sample", auth=AuthorizationServer(SCOPES, settings))

        def erase() -> str:
            ran.append(kind)
            return "erased"

        async def erase_later() -> str:
            return erase()

        try:
            requires("write")(mcp.tool(name="erase")(erase if kind == "function" else erase_later))
        except TypeError as error:
            refused.append(error)
        return mcp

    server = start(build=build)
    if refused:
        return
    tokens = OAuthClient(server).tokens(new_person(server, "alice", ["*"]), scope="read")
    call(server, tokens["access_token"], name="erase", arguments={})
    assert not ran, "it ran for a token without the scope"
