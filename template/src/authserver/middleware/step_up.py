"""Step-up: a call that needs a wider scope is refused with HTTP 403, from which clients know to ask for it.

MCP authorization, "Scope challenge handling" (RFC 6750 section 3.1). The name is taken from the body, which
is what the server will act on, and looked up in the server, so that mounts and renames hold. This is for the
client's sake; what protects the call is the check inside it (`scopes.requires`).
"""

import json
from typing import Any

from fastmcp import FastMCP
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authserver import components, limits, refused_scopes
from authserver.endpoints.errors import NO_STORE, unreadable
from authserver.logs import refused
from authserver.provider import Provider
from authserver.requests.arrival import in_time
from authserver.requests.reading import BadRequest, read_body
from authserver.upstream import get_route_path


class StepUp:
    """Answers calls whose token lacks a scope."""

    def __init__(self, app: ASGIApp, server: Provider) -> None:
        self._app = app
        self._server = server
        self._every = frozenset(server.scopes.names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on whatever is not such a call; the caller is known."""
        if scope["method"] != "POST" or get_route_path(scope) != self._server.resource_path:
            await self._app(scope, receive, send)
            return
        receive = in_time(receive)
        # Whatever it names, and however tools come and go: it needs nothing that such a token lacks.
        if self._every <= set(scope["auth"].scopes):
            await self._app(scope, receive, send)
            return
        try:
            body = await read_body(Request(scope, receive), maximum=limits.MAXIMUM_MCP_BODY_BYTES)
        except BadRequest as error:
            await unreadable(error)(scope, receive, send)
            return
        mcp = scope["app"].state.fastmcp_server
        needed = await _scopes_needed(mcp, body, self._server.otherwise)
        held = scope["auth"].scopes
        if set(needed) <= set(held):
            await self._app(scope, _replay(body, receive), send)
            return
        token = scope["user"].access_token
        await refused_scopes.remember(
            self._server.storage,
            self._server.keys,
            self._server.scopes.known(set(needed) - set(held)),
            subject=token.subject,
            client_id=token.client_id,
        )
        await self._refusal(held, needed)(scope, receive, send)

    def _refusal(self, held: list[str], needed: tuple[str, ...]) -> JSONResponse:
        # What is held is named too: clients ask for exactly what the challenge says.
        scope = " ".join(self._server.scopes.known([*held, *needed]))
        description = f"this needs the scope {' '.join(needed)}"
        refused(f"insufficient_scope: {description}")
        return JSONResponse(
            {"error": "insufficient_scope", "error_description": description, "scope": scope},
            status_code=403,
            headers=NO_STORE
            | {
                "WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}",'
                f' resource_metadata="{self._server.resource_metadata}", error_description="{description}"'
            },
        )


async def _scopes_needed(mcp: "FastMCP[Any]", body: bytes, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a message needs; nothing where it is none, of which the MCP endpoint says what is wrong.

    An array is none either (MCP 2025-06-18 took batches out): what is in it is not looked up, as it may be
    very many calls.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(message, dict) or not isinstance(message.get("params"), dict):
        return ()
    return await components.needed(mcp, message.get("method"), message["params"], otherwise)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once more, then whatever comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
