"""Every workaround for a shortfall of FastMCP, the MCP SDK or uvicorn.

Each has a test in `tests/authserver/test_upstream.py` that fails when it is mended there. What is not here
but in `endpoints/` replaces a handler whole; the reasons are in the same tests.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from socket import socket
from typing import Any

import fastmcp
import uvicorn
from fastmcp import FastMCP
from fastmcp.exceptions import FastMCPError
from fastmcp.server.providers.addressing import parse_hashed_backend_name
from fastmcp.server.providers.aggregate import AggregateProvider
from fastmcp.server.providers.fastmcp_provider import FastMCPProvider
from fastmcp.server.providers.local_provider import LocalProvider
from fastmcp.server.providers.wrapped_provider import _WrappedProvider
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette._utils import get_route_path
from starlette.routing import Router
from starlette.types import Receive, Scope
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.supervisors import multiprocess

from authserver import limits
from authserver.model.scopes import scopes_required_by
from authserver.provider import Provider
from authserver.requests.reading import header
from authserver.settings import SettingsError

__all__ = [
    "RUNS_A_COMPONENT",
    "PatientWorker",
    "Punctual",
    "auth_context_var",
    "authenticated",
    "component_scopes",
    "first_route",
    "get_route_path",
    "is_tested",
    "local_components",
    "other_providers",
    "plain_headers",
    "refuse_settings",
    "run",
    "socket_peer",
    "without_cause",
]

TESTED = ((4, 2, 3), (5,))
"""The versions of FastMCP that all this was tested with: from the first, before the last."""


def is_tested(version: str) -> bool:
    """Say whether a version of FastMCP is in the range that is tested."""
    first, end = TESTED
    return first <= tuple(int(number) for number in re.findall(r"\d+", version)[:3]) < end


_DECIDED: dict[str, tuple[tuple[Any, ...], str]] = {
    "streamable_http_path": (("/mcp",), "the MCP endpoint of this server is /mcp"),
    "transport": (("http", "streamable-http"), "this server speaks Streamable HTTP"),
    "sse_path": ((), "this server speaks Streamable HTTP"),
    "message_path": ((), "this server speaks Streamable HTTP"),
    "stateless_http": (
        (True,),
        "there are no sessions: each call may reach another process",
    ),
    "http_session_idle_timeout": ((), "there are no sessions"),
    "http_host_origin_protection": ((True, "auto"), "AUTH_PUBLIC_URL and AUTH_ALLOWED_ORIGINS decide"),
    "http_allowed_hosts": ((), "AUTH_PUBLIC_URL decides"),
    "http_allowed_origins": ((), "AUTH_ALLOWED_ORIGINS decides"),
    "debug": ((False,), "what went wrong is in the log alone"),
}
"""Settings of FastMCP that our own server decides: values that say the same, and why there is no other."""


def refuse_settings(**listens: object) -> None:
    """Raise SettingsError for a setting of FastMCP that asks for what is not served; `listens` is host, port.

    FastMCP takes them from the environment and from `.env`; what is passed over would promise something.
    """
    settings = fastmcp.settings
    typed = {name: ((value,), f"type serve --{name}") for name, value in listens.items()}
    for name, (same, why) in (_DECIDED | typed).items():
        if name in settings.model_fields_set and getattr(settings, name) not in same:
            variable = f"FASTMCP_{name.upper()}"
            raise SettingsError(f"{variable}: it changes nothing here: {why}. Example: unset {variable}")


async def authenticated(server: Provider, scope: Scope) -> AuthenticatedUser | None:
    """Return whose bearer token a request has, None where it has none that lives (RFC 6750 section 2.1).

    The SDK's backend believes the first of several Authorization headers (RFC 9110 section 5.3); a proxy
    before it may have checked the last. Here such a request has no token.
    """
    headers = header(scope, b"authorization")
    scheme, space, token = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not space:
        return None
    # Several spaces are one (RFC 9110 section 11.4).
    found = await server.verify_token(token.lstrip(" "))
    return None if found is None else AuthenticatedUser(found)


def plain_headers(scope: Scope) -> None:
    """Write headers so that all who read them here understand the same.

    httptools leaves white space behind a value (RFC 9110 section 5.5). The SDK compares media types letter by
    letter (section 8.3.1), reads one `Accept` where a list may stand in several (section 5.3), and takes none
    for a refusal (section 12.5.1).
    """
    plain: list[tuple[bytes, bytes]] = []
    accepted: list[bytes] = []
    for name, written in scope["headers"]:
        value = written.strip(b" \t")
        if name == b"content-type":
            kind, semicolon, parameters = value.partition(b";")
            value = kind.lower() + semicolon + parameters
        if name == b"accept":
            accepted.append(value)
        else:
            plain.append((name, value))
    scope["headers"] = [*plain, (b"accept", b", ".join(filter(None, accepted)) or b"*/*")]


def first_route(router: Router, path: str) -> None:
    """Let the route of this path be looked at first: FastMCP puts it behind all of ours.

    It is the one that is asked for most, and no other has its path.
    """
    router.routes.sort(key=lambda route: getattr(route, "path", None) != path)


RUNS_A_COMPONENT = ("tools/call", "resources/read", "resources/subscribe", "prompts/get")
"""The methods that run a tool, resource or prompt, or follow one."""


async def component_scopes(server: "FastMCP[Any]", method: Any, params: dict[str, Any]) -> tuple[str, ...]:
    """Return the scopes that `requires` put on the tool, resource or prompt that a JSON-RPC request names.

    FastMCP's own `require_scopes` hides the component instead, and answers 200 "Unknown tool".
    """
    name = params.get("uri") if str(method).startswith("resources/") else params.get("name")
    if not isinstance(name, str):
        return ()
    try:
        match method:
            case "tools/call":
                component: Any = await server.get_tool(name)
                # Tools of an app answer to a hashed name, too; FastMCP's own lookup does not know it.
                if component is None and (hashed := parse_hashed_backend_name(name)):
                    component = await server.get_tool_by_hash(*hashed)
            case "resources/read" | "resources/subscribe":
                component = await server.get_resource(name) or await server.get_resource_template(name)
            case "prompts/get":
                component = await server.get_prompt(name)
            case _:
                return ()
    except FastMCPError:
        return ()  # the MCP endpoint says that there is none
    return await _declared(component)


async def local_components(server: "FastMCP[Any]") -> AsyncIterator[Any]:
    """Yield the tools, resources, templates and prompts that run here, those of mounted servers too.

    FastMCP's own lists ask proxied servers as well, which may be down when this one starts.
    """
    for provider in _providers(server):
        if isinstance(provider, _readable()):
            for found in (
                await provider.list_tools(),
                await provider.list_resources(),
                await provider.list_resource_templates(),
                await provider.list_prompts(),
            ):
                for component in found:
                    yield component


def other_providers(server: "FastMCP[Any]") -> list[str]:
    """Return the kinds of those providers whose components only they know: remote servers, the user's own."""
    return sorted({type(one).__name__ for one in _providers(server) if not isinstance(one, _readable())})


def without_cause(error: FastMCPError) -> str | None:
    """Return what FastMCP says of an exception that nobody expected, without its text; None for other errors.

    FastMCP hands the text on, which may hold anything; to mask it, each mounted server would have to be told.
    What a tool says by `ToolError` is meant for callers.
    """
    text, cause = str(error), error.__cause__
    return text.removesuffix(f": {cause}") if cause is not None and _UNEXPECTED.match(text) else None


_UNEXPECTED = re.compile(r"Error (calling tool|reading resource|rendering prompt) ['\"]")


def _readable() -> Any:
    """Return the providers that know their components without asking anybody: also of an OpenAPI description.

    That one takes half a second to import; whoever has one has imported it.
    """
    openapi: Any = sys.modules.get("fastmcp.server.providers.openapi")
    return (LocalProvider, openapi.OpenAPIProvider) if openapi else (LocalProvider,)


def _providers(server: "FastMCP[Any]") -> Iterator[Any]:
    for provider in server.providers:
        yield from _inner(provider)


def _inner(provider: Any) -> Iterator[Any]:
    match provider:
        case _WrappedProvider():
            yield from _inner(provider._inner)  # noqa: SLF001
        case AggregateProvider():
            for one in provider.providers:
                yield from _inner(one)
        case FastMCPProvider():
            yield from _providers(provider.server)
        case _:
            yield provider


async def _declared(component: Any) -> tuple[str, ...]:  # noqa: PLR0911  # one for each kind
    """Follow renames (`parent_tool`) and mounts (`_server` and the name there) to the function."""
    if component is None:
        return ()
    if (function := getattr(component, "fn", None)) and (declared := scopes_required_by(function)):
        return declared
    if parent := getattr(component, "parent_tool", None):
        return await _declared(parent)
    if (child := getattr(component, "_server", None)) is None:
        return ()
    if original := getattr(component, "_original_uri", None):
        return await component_scopes(child, "resources/read", {"uri": original})
    if original := getattr(component, "_original_uri_template", None):
        templates = await child.list_resource_templates(run_middleware=False)
        found = [template for template in templates if template.uri_template == original]
        return await _declared(found[0]) if found else ()
    original = getattr(component, "_original_name", None)
    method = "tools/call" if "Tool" in type(component).__name__ else "prompts/get"
    return await component_scopes(child, method, {"name": original})


def socket_peer(receive: Receive) -> tuple[bool, tuple[str, int] | None]:
    """Return whether the server tells who is at the other end of the socket, and who that is.

    `scope["client"]` says so until uvicorn's proxy headers, which are on in its own command, overwrite it.
    Only uvicorn's `receive` leads to the socket; None is a socket without addresses.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    return (True, get_remote_addr(transport)) if transport is not None else (False, None)


class PatientWorker(multiprocess.Process):
    """A process of `serve --workers` that is not judged before it has started.

    uvicorn kills what does not answer in time, also what has not started yet. Where many workers import
    everything at once on a busy machine, none is ever in time, and it goes on so for ever.
    """

    _asked = False
    _started = False

    def is_alive(self, timeout: float = 5) -> bool:
        """Say whether the process runs and, once it has started, answers within `timeout` seconds."""
        if self._started or not self.process.is_alive():
            return super().is_alive(timeout)
        # One question at a time: many that nobody answers would fill the pipe.
        if not self._asked:
            self.parent_conn.send(b"ping")
        self._asked = not self.parent_conn.poll()
        if not self._asked:
            self._started = self.parent_conn.recv()
        return True


class Punctual(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # h11 or httptools, as uvicorn chooses
    """A connection on which the head of the next request arrives in time, else it is closed.

    uvicorn waits for ever for the first request, for the rest of a head, and for a body that was answered
    before it came.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._judge()

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        super().data_received(data)
        self._judge()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up."""
        super().connection_lost(exc)
        self._wait_no_more()

    def _judge(self) -> None:
        """Wait from now on for a request, or no more; once begun, waiting goes on whatever trickles in."""
        answering = self.cycle is not None and not self.cycle.response_complete
        # Another protocol has the connection once it is upgraded.
        if answering or self.transport.get_protocol() is not self:
            self._wait_no_more()
        elif self._late is None:
            self._late = self.loop.call_later(limits.HEAD_SECONDS, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _Workers(multiprocess.Multiprocess):
    """Processes that answer requests; `say` is called once, when all of them do."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket], say: Callable[[], None]) -> None:
        super().__init__(config, sockets=sockets)
        self._say: Callable[[], None] | None = say

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        if self._say and all(getattr(process, "_started", False) for process in self.processes):
            self._say()
            self._say = None


class _Server(uvicorn.Server):
    """A server of one process; `say` is called when it listens."""

    def __init__(self, config: uvicorn.Config, say: Callable[[], None]) -> None:
        super().__init__(config)
        self._say = say

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._say()


def run(config: uvicorn.Config, sockets: list[socket], say: Callable[[], None]) -> None:
    """Serve on these sockets until a signal comes; call `say` when requests are answered.

    `uvicorn.run` binds late and tells nobody but its log. Ends the process with uvicorn's code 3 where one
    process did not start.
    """
    if config.workers > 1:
        multiprocess.Process = PatientWorker  # type: ignore[misc]  # a class in place of its parent
        _Workers(config, sockets, say).run()
        return
    server = _Server(config, say)
    with suppress(KeyboardInterrupt):
        server.run(sockets=sockets)
    if not server.started:
        sys.exit(STARTUP_FAILURE)
