"""Health for supervisors and load balancers. Both answer whatever Host they are asked by."""

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authserver import clock, limits
from authserver.endpoints.errors import NO_STORE
from authserver.provider import Provider


async def healthz(server: Provider, request: Request) -> Response:
    """Return 200 while the process lives."""
    return JSONResponse({"status": "ok"}, headers=NO_STORE)


class Readiness:
    """Whether the storage answers. It is asked once a second at most: each probe is a durable write."""

    def __init__(self) -> None:
        self._asked = clock.moment()
        self._asking: asyncio.Task[None] | None = None

    async def readyz(self, server: Provider, request: Request) -> Response:
        """Return 200 while the storage can write; StorageUnavailable otherwise, which becomes a 503."""
        if self._asking is None or (self._asking.done() and self._asked.age() >= limits.PROBE_SECONDS):
            self._asked = clock.moment()
            self._asking = asyncio.create_task(server.storage.ping())
        asking = self._asking
        await asyncio.wait([asking])
        asking.result()
        return JSONResponse({"status": "ok"}, headers=NO_STORE)
