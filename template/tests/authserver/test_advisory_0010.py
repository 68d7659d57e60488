"""Advisory 0010: the texts of unexpected errors of tools, resources and prompts reached clients."""

from collections.abc import Callable
from typing import Any

import pytest
from conftest import SCOPES, Live, new_person
from fastmcp import FastMCP
from oauth_client import OAuthClient, call

from authserver import AuthorizationServer

SECRET = "postgresql://app:hunter2@db.example.com/notes"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "broken", "arguments": {}}),
        ("resources/read", {"uri": "data://broken"}),
        ("prompts/get", {"name": "broken"}),
    ],
)
def test_the_text_of_an_unexpected_error_stays_here(
    start: Callable[..., Live], method: str, params: dict[str, Any]
) -> None:
    def build(settings: Any) -> FastMCP[Any]:
        mcp: FastMCP[Any] = FastMCP("Sample", auth=AuthorizationServer(SCOPES, settings))

        def broken() -> str:
            raise ConnectionError(f"no answer from {SECRET}")

        mcp.tool(broken)
        mcp.resource("data://broken")(broken)
        mcp.prompt(broken)
        return mcp

    server = start(build=build)
    token = OAuthClient(server).tokens(new_person(server, "alice", ["*"]))["access_token"]
    answer = call(server, token, method, **params)
    assert "error" in answer.text.lower(), answer.text
    assert "hunter2" not in answer.text, "whoever calls it reads what it knows"
