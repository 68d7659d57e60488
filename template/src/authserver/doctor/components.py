"""What doctor says of the tools, resources and prompts of `app`."""

from collections.abc import AsyncIterator
from typing import Any

from fastmcp import FastMCP

from authserver.components import UnsafeComponent, check, list_needs
from authserver.findings import Finding, note, unsafe
from authserver.provider import Provider
from authserver.upstream import other_providers


async def examine_components(mcp: "FastMCP[Any]", server: Provider) -> AsyncIterator[Finding]:
    """Judge what is guarded wrongly, and name what needs no scope."""
    try:
        await check(mcp, server.scopes)
    except UnsafeComponent as error:
        yield unsafe("components", str(error), "The server does not start with it")
    if server.otherwise:
        return
    if free := [name for name, scopes in await list_needs(mcp) if not scopes]:
        yield note(
            "components",
            f"whoever has a token may use {', '.join(free)}",
            "Write @requires below @mcp.tool, or AuthorizationServer(..., requires_by_default=...)",
        )
    if providers := other_providers(mcp):
        yield note(
            "components",
            f"what {', '.join(providers)} offers was not looked at: whoever has a token may use it",
            "AuthorizationServer(..., requires_by_default=...) guards it",
        )
