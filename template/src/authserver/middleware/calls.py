"""What every request to the MCP endpoint passes first, once FastMCP has read it, under whatever provider."""

from typing import Any

import structlog
from fastmcp import FastMCP
from fastmcp.exceptions import DisabledError, FastMCPError, NotFoundError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR
from structlog.contextvars import get_contextvars

from authserver.components import needed
from authserver.model.scopes import check_token
from authserver.upstream import without_cause

_log = structlog.get_logger("authserver")


class Calls(Middleware):
    """Asks for the scopes that are required by default, and keeps the texts of unexpected errors here.

    It asks the server that FastMCP asks, so it holds for every provider, and for names that nobody finds.
    """

    def __init__(self, mcp: "FastMCP[Any]", otherwise: tuple[str, ...]) -> None:
        self._mcp = mcp
        self._otherwise = otherwise

    async def __call__(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Pass a request on; raises AuthorizationError where its token lacks a scope.

        In place of FastMCP's `on_request`, which it reaches by five more calls.
        """
        if context.type != "request":
            return await call_next(context)
        if self._otherwise:
            named = {name: getattr(context.message, name, None) for name in ("name", "uri")}
            params = {name: str(value) for name, value in named.items() if value is not None}
            check_token(await needed(self._mcp, context.method, params, self._otherwise))
        try:
            return await call_next(context)
        except (DisabledError, NotFoundError, MCPError):
            raise
        except FastMCPError as error:
            told = without_cause(error)
            if told is None:
                raise
            raise type(error)(f"{told}. {_where()}") from error
        except Exception as error:
            _log.exception("unexpected error", exc_info=error)
            raise MCPError(INTERNAL_ERROR, f"An unexpected error happened. {_where()}") from error


def guard_calls(mcp: "FastMCP[Any]", otherwise: tuple[str, ...]) -> None:
    """Let every request to this server pass `Calls`, before middleware that may answer from a cache."""
    if not any(isinstance(one, Calls) for one in mcp.middleware):
        mcp.middleware.insert(0, Calls(mcp, otherwise))


def _where() -> str:
    return f"It is in the log as {get_contextvars().get('request_id', 'such')}."
