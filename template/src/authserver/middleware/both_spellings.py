"""The MCP endpoint answers with and without a slash at its end, as people type it either way.

A redirect would lose the token. Clients compare the resource that metadata names with the address that was
typed (RFC 9728 section 3.3), so a challenge of `/mcp/` leads to metadata that says `/mcp/`. It is one
resource all the same: tokens are for `/mcp`, and the clients' `resource` may have the slash.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authserver.provider import Provider
from authserver.upstream import get_route_path


class BothSpellings:
    """ASGI middleware that makes `/mcp/` what `/mcp` is."""

    def __init__(self, app: ASGIApp, server: Provider) -> None:
        self._app = app
        self._path = server.resource_path
        self._metadata = server.resource_metadata.encode() + b'"'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass every request on."""

        async def spelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, value.replace(self._metadata, self._metadata[:-1] + b'/"'))
                    if name.lower() == b"www-authenticate"
                    else (name, value)
                    for name, value in message["headers"]
                ]
            await send(message)

        if scope["type"] != "http" or get_route_path(scope) != self._path + "/":
            await self._app(scope, receive, send)
            return
        # In place: the request log of the guard reads the route from it.
        scope["path"] = scope["path"][:-1]
        scope["raw_path"] = scope["path"].encode()
        await self._app(scope, receive, spelled)
