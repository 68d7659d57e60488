"""What doctor says of the tools, resources and prompts of `app`."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastmcp import FastMCP

from authserver.components import UnsafeComponent, check, list_needs
from authserver.findings import Finding, judged_live, note, unsafe
from authserver.provider import Provider
from authserver.upstream import other_providers


def examine_components(mcp: "FastMCP[Any]", server: Provider) -> AsyncIterator[Finding]:
    """Judge what is guarded wrongly, and name what needs no scope."""
    return judged_live(RULES, mcp, server)


def broken_app(why: str) -> Iterator[Finding]:
    """Find that `app` cannot be imported, or makes no server.

    Source: this server.
    """
    yield unsafe("app", why, "Mend it: the server does not start")


async def wrong_guard(mcp: "FastMCP[Any]", server: Provider) -> AsyncIterator[Finding]:
    """Find that a tool, resource or prompt is guarded so that the guard does nothing.

    Source: RFC 9700 section 2.3.
    """
    try:
        await check(mcp, server.scopes)
    except UnsafeComponent as error:
        yield unsafe("components", str(error), "The server does not start with it")


async def no_scope_needed(mcp: "FastMCP[Any]", server: Provider) -> AsyncIterator[Finding]:
    """Find that whoever has a token may use a tool, resource or prompt.

    Source: RFC 9700 section 2.3.
    """
    free = [name for name, scopes in await list_needs(mcp) if not scopes]
    if free and not server.otherwise:
        yield note(
            "components",
            f"whoever has a token may use {', '.join(free)}",
            "Write @requires below @mcp.tool, or AuthorizationServer(..., requires_by_default=...)",
        )


async def components_elsewhere(mcp: "FastMCP[Any]", server: Provider) -> AsyncIterator[Finding]:
    """Find that what other servers offer through this one was not looked at.

    Source: RFC 9700 section 2.3.
    """
    providers = other_providers(mcp)
    if providers and not server.otherwise:
        yield note(
            "components",
            f"what {', '.join(providers)} offers was not looked at: whoever has a token may use it",
            "AuthorizationServer(..., requires_by_default=...) guards it",
        )


RULES = (wrong_guard, no_scope_needed, components_elsewhere)
