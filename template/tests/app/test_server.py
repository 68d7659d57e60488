"""Your tools. This file is yours."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError
from fastmcp.server.auth.auth import AccessToken
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser

from app.server import mcp

pytestmark = pytest.mark.anyio


@contextmanager
def signed_in(name: str, *scopes: str) -> Iterator[None]:
    """Call tools as that user, with a token for these scopes."""
    claims = {"preferred_username": name}
    token = AccessToken(token="none", client_id="test", scopes=list(scopes), claims=claims)
    before = auth_context_var.set(AuthenticatedUser(token))
    try:
        yield
    finally:
        auth_context_var.reset(before)


async def test_a_note_says_who_wrote_it() -> None:
    with signed_in("alice", "notes:read", "notes:write"):
        async with Client(mcp) as client:
            answer = await client.call_tool("add_note", {"text": "Buy milk"})
            assert "alice" in answer.data
            notes = await client.call_tool("list_notes")
            assert "alice: Buy milk" in notes.data


async def test_adding_a_note_needs_the_wider_scope() -> None:
    with signed_in("bob", "notes:read"):
        async with Client(mcp) as client:
            with pytest.raises(ToolError, match="notes:write"):
                await client.call_tool("add_note", {"text": "Buy milk"})
