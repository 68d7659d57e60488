"""The outermost layer: lifespan, Host check, storage trouble as 503, no traceback to anybody, request log."""

import asyncio
import contextlib
import time
import traceback
from typing import TYPE_CHECKING, Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authserver.addresses import client_address
from authserver.browser.problems import problem
from authserver.storage.errors import StorageUnavailable

if TYPE_CHECKING:
    from authserver.provider import AuthorizationServer

_log = structlog.get_logger("authserver")

_HEALTH = ("/healthz", "/readyz")
_FOLLOW_SECONDS = 1
_PURGE_SECONDS = 300
_PURGE_LIMIT = 1000
_UNUSED_CLIENT_SECONDS = 30 * 86_400


class Guard:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, server: "AuthorizationServer") -> None:
        self._app = app
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    # ------------------------------------------------------------------------------------ lifespan

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._server.open()
        background: list[asyncio.Task[None]] = []

        async def close() -> None:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._server.close()

        async def close_first(message: Message) -> None:
            # Whoever runs us ends the event loop once it hears this.
            if message["type"].startswith("lifespan.shutdown"):
                await close()
            await send(message)

        try:
            await self._server.tokens.catch_up()
            background += [
                asyncio.create_task(follow_forever(self._server)),
                asyncio.create_task(purge_forever(self._server)),
                asyncio.create_task(self._server.login.watch()),
            ]
            await self._app(scope, receive, close_first)
        finally:
            await close()

    # ------------------------------------------------------------------------------------- request

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        started = time.perf_counter()
        status = 500
        answered = False

        async def observe(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
                message["headers"] = [
                    *message["headers"],
                    *_missing(message["headers"], b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            refusal = self._wrong_host(request)
            if refusal is not None:
                await refusal(scope, receive, observe)
                return
            resource_path = self._server.resource.removeprefix(self._server.issuer)
            if scope["path"] == resource_path + "/":
                # Clients write the address either way; a redirect would lose their token.
                scope = {**scope, "path": resource_path, "raw_path": resource_path.encode()}
            await self._app(scope, receive, observe)
        except Exception as error:
            if answered:
                raise
            await _trouble(request, error)(scope, receive, observe)
        finally:
            self._note(request, scope, status, time.perf_counter() - started)

    def _wrong_host(self, request: Request) -> Response | None:
        """Refuse a Host that is not the public one: DNS rebinding, or a proxy that rewrites it."""
        hosts = request.headers.getlist("host")
        expected = self._server.settings.host
        if request.url.path in _HEALTH or [host.lower() for host in hosts] == [expected]:
            return None
        return problem(request, "wrong_host", status=421, expected=self._server.issuer)

    def _note(self, request: Request, scope: Scope, status: int, seconds: float) -> None:
        if scope["path"] in _HEALTH:
            return
        _log.info(
            "request",
            method=request.method,
            route=_route(scope),
            status=status,
            milliseconds=round(seconds * 1000, 1),
            address=client_address(request, self._server.settings),
        )


def _missing(headers: Any, name: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    return [] if any(key.lower() == name for key, _ in headers) else [(name, value)]


def _route(scope: Scope) -> str:
    """Return the path without what it carries: one-time links and queries are secrets."""
    if "endpoint" not in scope:
        return "-"
    path: str = scope["path"]
    for name, value in scope.get("path_params", {}).items():
        path = path.replace(str(value), f"{{{name}}}") if value else path
    return path


def _trouble(request: Request, error: Exception) -> Response:
    if isinstance(error, StorageUnavailable):
        _log.error("storage unavailable", reason=str(error))
        return problem(request, "unavailable", status=503, headers={"Retry-After": "5"})
    # The message of an unexpected error may hold anything, so only its kind and place are logged.
    _log.error(
        "unexpected error",
        kind=type(error).__qualname__,
        place="".join(traceback.format_tb(error.__traceback__)),
    )
    return problem(request, "error", status=500)


async def follow_forever(server: "AuthorizationServer") -> None:
    """Learn each second what other processes did."""
    while True:
        await asyncio.sleep(_FOLLOW_SECONDS)
        with contextlib.suppress(StorageUnavailable):
            await server.tokens.catch_up()


async def purge_forever(server: "AuthorizationServer") -> None:
    """Delete what has expired, now and then, in bounded batches."""
    while True:
        await asyncio.sleep(_PURGE_SECONDS)
        with contextlib.suppress(StorageUnavailable):
            await purge(server)


async def purge(server: "AuthorizationServer") -> int:
    """Delete what has expired; return how many records went. Raises StorageUnavailable."""
    settings = server.settings
    days = settings.idle_client_days
    total = 0
    while True:
        deleted = await server.storage.purge(
            limit=_PURGE_LIMIT,
            replay_seconds=settings.refresh_replay_seconds,
            unused_seconds=_UNUSED_CLIENT_SECONDS,
            idle_seconds=None if days is None else days * 86_400,
        )
        total += deleted
        if deleted < _PURGE_LIMIT:
            return total
