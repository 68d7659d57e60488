"""The one layer before the routes: lifespan, the questions that every request is asked, request log.

It turns storage failures into 503 and lets no traceback out.
"""

import asyncio
import re
import secrets
from contextlib import ExitStack
from typing import Any

import structlog
from fastmcp import FastMCP
from starlette.authentication import AuthCredentials, UnauthenticatedUser
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from authserver import background, clock, components, limits, logs, pages
from authserver.audit import coming_from
from authserver.browser import front
from authserver.browser.problems import problem
from authserver.errors import OperatorError
from authserver.middleware.both_spellings import BothSpellings
from authserver.middleware.calls import guard_calls
from authserver.middleware.cross_origin import CrossOrigin
from authserver.middleware.peer import with_real_peer
from authserver.middleware.step_up import StepUp
from authserver.provider import Provider
from authserver.requests.addresses import client_address
from authserver.requests.reading import BadRequest, header
from authserver.settings import forget_secrets
from authserver.storage.errors import StorageUnavailable
from authserver.upstream import (
    auth_context_var,
    authenticated,
    first_route,
    get_route_path,
    other_providers,
    plain_headers,
)
from authserver.warned import warn_once

_log = structlog.get_logger("authserver")

_UNAVAILABLE_SECONDS = 5
# RFC 9110 section 15.5.9: the rest of a body that came too late is not waited for.
_TIMEOUT = 408
_CLOSE = (b"connection", b"close")
# RFC 6797 section 6.1. This host only: whether others have TLS is not ours to say.
_HSTS = (b"strict-transport-security", f"max-age={limits.STRICT_TRANSPORT_SECONDS}".encode())
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HEALTH = ("/healthz", "/readyz")
_NOBODY = UnauthenticatedUser()


class Guard:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, server: Provider) -> None:
        self._app = app
        self._server = server
        settings = server.settings
        self._secure = settings.secure
        # The default port may be written, as nginx does with $host:$server_port (RFC 9110 section 4.2.3).
        self._hosts = ([settings.host], [f"{settings.host}:{443 if settings.secure else 80}"])
        self._spellings = BothSpellings(server)
        self._origins = CrossOrigin(self._known, server)
        self._step_up = StepUp(app, server)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http":
            plain_headers(scope)
            await self._request(with_real_peer(scope, receive), receive, send)
        else:
            await self._app(scope, receive, send)

    # ------------------------------------------------------------------------------------ lifespan

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        logs.configure_under_another_command()
        logs.silence_access_logs()
        # A redirect that adds or takes a slash is made from what the request says of scheme and host.
        scope["app"].router.redirect_slashes = False
        scope["app"].router.default = self._no_route
        first_route(scope["app"].router, self._server.resource_path)
        try:
            mcp = scope["app"].state.fastmcp_server
            await components.check(mcp, self._server.scopes)
            guard_calls(mcp, self._server.otherwise)
            self._tell_what_nobody_looked_at(mcp)
            await self._server.open()
            await self._server.tokens.catch_up()
        except OperatorError as error:
            await self._server.close()
            # Servers that are not told take an application for one without a lifespan, and serve it.
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        # Here, and in no process that only starts others: those read for themselves.
        forget_secrets(self._server.settings)
        tasks: list[asyncio.Task[None]] = []
        written = ExitStack()

        async def close() -> None:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._server.close()
            written.close()

        async def close_first(message: Message) -> None:
            # Whoever runs us ends the event loop once it hears this.
            if message["type"].startswith("lifespan.shutdown"):
                await close()
            await send(message)

        try:
            written.enter_context(logs.behind())
            tasks += background.start(self._server)
            await self._app(scope, receive, close_first)
        finally:
            await close()

    def _tell_what_nobody_looked_at(self, mcp: "FastMCP[Any]") -> None:
        providers = other_providers(mcp)
        if providers and not self._server.otherwise:
            _log.warning(
                "what these providers offer was not looked at, and nothing is required by default:"
                " whoever has a token may use it, unless it checks by itself",
                providers=providers,
            )

    # ------------------------------------------------------------------------------------- request

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        started = clock.elapsed()
        address = client_address(request, self._server.settings)
        request_id = secrets.token_hex(8)
        status = 500
        answered = False
        named = self._names_us(request)

        async def observe(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
                headers = message["headers"] = list(message["headers"])
                _add_missing(headers, b"x-content-type-options", b"nosniff")
                headers.append((b"x-request-id", request_id.encode()))
                if named and self._secure:
                    _add_missing(headers, *_HSTS)
                if status == _TIMEOUT and scope["http_version"] < "2":
                    headers.append(_CLOSE)
            await send(message)

        bound = bind_contextvars(request_id=request_id)
        with coming_from(address=address), logs.gathering_refusals() as refusals:
            try:
                refusal = self._wrong_host(request, named=named) or _unusable_path(request)
                if refusal is not None:
                    await refusal(scope, receive, observe)
                    return
                await self._origins(scope, receive, self._spellings(scope, observe))
            except asyncio.CancelledError:
                # A stop that waited long enough. Nobody is above us but the server, which would log a fault.
                if not answered:
                    stopping = problem(request, "unavailable", status=503, wait=_UNAVAILABLE_SECONDS)
                    await stopping(scope, receive, observe)
            except Exception as error:
                if answered:
                    raise
                await _trouble(request, error, request_id)(scope, receive, observe)
            finally:
                why = {"refused": refusals[-1]} if refusals else {}
                self._note(request, scope, status, clock.elapsed() - started, address=address, **why)
                reset_contextvars(**bound)

    async def _known(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Learn who calls (RFC 6750 section 2.1), whatever is asked for, then ask what a call needs."""
        user = await authenticated(self._server, scope)
        scope["user"], scope["auth"] = user or _NOBODY, AuthCredentials(user.scopes if user else None)
        if user is None:
            await self._app(scope, receive, send)
            return
        token = auth_context_var.set(user)
        try:
            await self._step_up(scope, receive, send)
        finally:
            auth_context_var.reset(token)

    def _names_us(self, request: Request) -> bool:
        """Say whether the Host is the public one; no other host is ours to bind to TLS, either."""
        return [host.lower() for host in header(request.scope, b"host")] in self._hosts

    def _wrong_host(self, request: Request, *, named: bool) -> Response | None:
        """Refuse a Host that is not the public one: DNS rebinding, or a proxy that rewrites it."""
        path = get_route_path(request.scope)
        # The page that says so looks like the others.
        if named or path in _HEALTH or path in pages.ASSETS:
            return None
        hosts = ", ".join(request.headers.getlist("host"))[: limits.MAXIMUM_URI_CHARACTERS]
        warn_once("a request was refused: its Host is not that of AUTH_PUBLIC_URL", hosts)
        return problem(request, "wrong_host", status=421, expected=self._server.issuer)

    async def _no_route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what nobody has a route for."""
        if scope["type"] == "http":
            response = front.no_route(self._server, Request(scope), get_route_path(scope))
            await response(scope, receive, send)
        else:
            await scope["app"].router.not_found(scope, receive, send)

    def _note(self, request: Request, scope: Scope, status: int, seconds: float, **facts: str) -> None:
        if get_route_path(scope) in _HEALTH:
            return
        _log.info(
            "request",
            method=request.method,
            route=_route(scope),
            status=status,
            milliseconds=round(seconds * 1000, 1),
            **facts,
        )


def _unusable_path(request: Request) -> Response | None:
    """Refuse control characters: routers, proxies and logs differ in what they take them for."""
    if not _CONTROL.search(request.scope["path"]):
        return None
    return problem(request, "bad_request", status=400, detail="the path holds characters that no path has")


def _add_missing(headers: list[tuple[bytes, bytes]], name: bytes, value: bytes) -> None:
    if name not in [key.lower() for key, _ in headers]:
        headers.append((name, value))


def _route(scope: Scope) -> str:
    """Return the path without what it carries: one-time links and queries are secrets."""
    if "endpoint" not in scope:
        return "-"
    path: str = scope["path"]
    for name, value in scope.get("path_params", {}).items():
        path = path.replace(str(value), f"{{{name}}}") if value else path
    return path


def _trouble(request: Request, error: Exception, request_id: str) -> Response:
    if isinstance(error, BadRequest):
        return problem(request, "bad_request", status=error.status, detail=error.description)
    if isinstance(error, StorageUnavailable):
        _log.error("storage unavailable", reason=str(error))
        return problem(request, "unavailable", status=503, wait=_UNAVAILABLE_SECONDS)
    # The message of an unexpected error may hold anything, so only its kind and place are logged.
    _log.error("unexpected error", kind=type(error).__qualname__, place=logs.place(error))
    return problem(request, "error", status=500, request_id=request_id)
