"""The MCP endpoint answers with and without a slash at its end, as people type it either way.

A redirect would lose the token. Clients compare the resource that metadata names with the address that was
typed (RFC 9728 section 3.3), so a challenge of `/mcp/` leads to metadata that says `/mcp/`. It is one
resource all the same: tokens are for `/mcp`, and the clients' `resource` may have the slash.
"""

from starlette.types import Message, Scope, Send

from authserver.provider import Provider
from authserver.upstream import get_route_path


class BothSpellings:
    """Makes `/mcp/` what `/mcp` is."""

    def __init__(self, server: Provider) -> None:
        self._path = server.resource_path
        self._metadata = server.resource_metadata.encode() + b'"'

    def __call__(self, scope: Scope, send: Send) -> Send:
        """Return what sends the answer to a request; where it asks for `/mcp/`, it asks for `/mcp` now."""
        if get_route_path(scope) != self._path + "/":
            return send

        async def spelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, value.replace(self._metadata, self._metadata[:-1] + b'/"'))
                    if name.lower() == b"www-authenticate"
                    else (name, value)
                    for name, value in message["headers"]
                ]
            await send(message)

        # In place: the request log of the guard reads the route from it.
        scope["path"] = scope["path"][:-1]
        scope["raw_path"] = scope["path"].encode()
        return spelled
