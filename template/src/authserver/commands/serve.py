"""`serve`: start the server."""
# ruff: noqa: PLC0415

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from authserver import limits
from authserver.commands import opened, say
from authserver.commands.app import load_app
from authserver.commands.users import invitation

if TYPE_CHECKING:
    from authserver.all_settings import Settings


def serve(*, host: str = "127.0.0.1", port: int = 8000, workers: int = 1) -> None:
    """Start the server.

    Parameters
    ----------
    host
        The address to listen on.
    port
        The port to listen on.
    workers
        How many processes answer requests.
    """
    import uvicorn

    from authserver.all_settings import load_settings
    from authserver.upstream import use_patient_workers

    settings = load_settings()
    _check_port(settings, port)
    asyncio.run(_prepare())
    use_patient_workers()
    uvicorn.run(
        "authserver.asgi:create_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        # uvicorn believes a forged X-Forwarded-For of any local peer; `addresses.py` reads it instead.
        proxy_headers=False,
        # Our own request log names routes, and holds no query and no one-time link.
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_graceful_shutdown=limits.SHUTDOWN_SECONDS,
        timeout_worker_healthcheck=limits.SILENT_WORKER_SECONDS,
    )


def _check_port(settings: "Settings", port: int) -> None:
    """Warn of another port than that of a loopback public URL: something else must lead from there to here.

    A published port of a container does, an SSH tunnel, a proxy that logs.
    """
    import structlog

    url = urlsplit(settings.public_url)
    if url.scheme == "http" and (url.port or 80) != port:
        structlog.get_logger("authserver").warning(
            f"AUTH_PUBLIC_URL says {settings.public_url}, and the server listens on port {port}:"
            " it answers only what comes by the address in AUTH_PUBLIC_URL"
        )


async def _prepare() -> None:
    """Make schema and keys before any worker starts, and the link for the first account."""
    from authserver import components

    async with opened(needs_app=True) as server:
        mcp, _ = load_app()
        await components.check(mcp, server.scopes)
        say(f"Serving {server.resource}")
        if await server.storage.users.all():
            return
        if server.login.accounts_elsewhere:
            say(f"No account yet. {server.login.accounts_elsewhere}")
            return
        if not sys.stdout.isatty():
            # A log keeps what it is given: the link would lie there for whoever reads it.
            say(f"No account yet. Run: {Path(sys.argv[0]).name} users invite NAME")
            return
        link = await invitation(server, None)
        for line in ("No account yet. Create the first one here, within an hour:", "", f"  {link}", ""):
            say(line)
