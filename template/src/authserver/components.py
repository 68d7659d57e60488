"""The tools, resources and prompts of `app`, and what they need: checked before anything is served."""

import difflib
from collections.abc import Iterator
from typing import Any

from fastmcp import FastMCP

from authserver.errors import OperatorError
from authserver.model.scopes import Scopes, is_bare, scopes_required_by
from authserver.upstream import RUNS_A_COMPONENT, component_scopes, local_components


class UnsafeComponent(OperatorError):
    """A component would let everybody through, or nobody. The text names it and says what to change."""


async def needed(
    mcp: "FastMCP[Any]", method: Any, params: dict[str, Any], otherwise: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the scopes that a request to the MCP endpoint needs."""
    declared = await component_scopes(mcp, method, params)
    return declared or (otherwise if method in RUNS_A_COMPONENT else ())


async def list_needs(mcp: "FastMCP[Any]") -> list[tuple[str, tuple[str, ...]]]:
    """Return each component, by kind and name, with the scopes that `@requires` says it needs."""
    return [(_name(component), _needed(component)) async for component in local_components(mcp)]


async def check(mcp: "FastMCP[Any]", scopes: Scopes) -> None:
    """Raise UnsafeComponent where `@requires` guards nothing, or names a scope that no `Scope` defines."""
    async for component in local_components(mcp):
        name = _name(component)
        if any(map(is_bare, _functions(component))):
            raise UnsafeComponent(
                f"{name}: it runs the function itself, and not what @requires made of it."
                " Write @mcp.tool first, and @requires in the line below it"
            )
        for scope in _needed(component):
            if scope not in scopes.names:
                alike = difflib.get_close_matches(scope, scopes.names, n=1)
                advice = f"Did you mean {alike[0]!r}?" if alike else f"There are: {', '.join(scopes.names)}"
                raise UnsafeComponent(f"{name}: no Scope defines {scope!r}, which it needs. {advice}")


def _name(component: Any) -> str:
    kind, _, name = component.key.partition(":")
    return f"{kind} {name.rpartition('@')[0] or name}"


def _needed(component: Any) -> tuple[str, ...]:
    return next(filter(None, map(scopes_required_by, _functions(component))), ())


def _functions(component: Any) -> Iterator[Any]:
    """Yield the function of a component, and those of the tools that it was made from."""
    while component is not None:
        if function := getattr(component, "fn", None):
            yield function
        component = getattr(component, "parent_tool", None)
