"""Health for supervisors and load balancers. Both answer whatever Host they are asked by."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authserver.endpoints.errors import NO_STORE
from authserver.provider import Provider


async def healthz(server: Provider, request: Request) -> Response:
    """Return 200 while the process lives."""
    return JSONResponse({"status": "ok"}, headers=NO_STORE)


async def readyz(server: Provider, request: Request) -> Response:
    """Return 200 while the storage answers; else StorageUnavailable becomes a 503."""
    await server.storage.ping()
    return JSONResponse({"status": "ok"}, headers=NO_STORE)
