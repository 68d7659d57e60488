"""`serve`: start the server."""
# ruff: noqa: PLC0415

import asyncio
import os
import socket
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from authserver import limits
from authserver.commands import CommandError, opened, say, typed
from authserver.commands.app import load_app
from authserver.commands.users import invitation

if TYPE_CHECKING:
    from authserver.all_settings import Settings
    from authserver.server import AuthorizationServer


_LAST_PORT = 65_535
_FIRST_PASSED = 3


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

    from authserver import tls
    from authserver.upstream import Punctual, refuse_settings, run

    if workers < 1:
        raise CommandError("--workers: at least one process is needed. Example: --workers 4")
    if not 0 < port <= _LAST_PORT:
        raise CommandError(f"--port: a port is a number from 1 to {_LAST_PORT}. Example: --port 8000")
    refuse_settings(host=host, port=port)
    settings = _settings(host, port)
    _check_port(settings, port)
    pair = tls.Pair.of(settings)
    if pair is not None:
        pair.context()
    config = uvicorn.Config(
        "authserver.asgi:create_app",
        factory=True,
        http=Punctual,
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
        # In each process that answers, so that each takes a new certificate.
        ssl_context_factory=None if pair is None else partial(tls.watched, pair),
    )
    with ExitStack() as bound:
        # Before anything is made or told: a busy port must not hand out a link.
        sockets = [bound.enter_context(one) for one in _passed() or _bound(host, port)]
        lines = asyncio.run(_prepare())

        def tell() -> None:
            for line in lines:
                say(line)

        run(config, sockets, tell)


def _settings(host: str, port: int) -> "Settings":
    """Return the settings; the public URL, where none is set, is where the server listens on this machine."""
    from authserver.all_settings import load_settings

    settings = load_settings()
    default = urlsplit(settings.public_url)
    if "public_url" in settings.model_fields_set or (host != "::1" and default.port == port):
        return settings
    name = "[::1]" if host == "::1" else default.hostname
    # For the processes that answer, too.
    os.environ["AUTH_PUBLIC_URL"] = f"http://{name}:{port}"
    load_settings.cache_clear()
    return load_settings()


def _passed() -> list[socket.socket]:
    """Return the sockets on which systemd listens for this process; none where it does not.

    So a server has port 443 without any right of root (sd_listen_fds(3)).
    """
    pid, count, _ = (os.environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    return [socket.socket(fileno=_FIRST_PASSED + number) for number in range(int(count))]


def _bound(host: str, port: int) -> list[socket.socket]:
    """Return sockets that are bound to all addresses of a name and do not listen yet; raises CommandError."""
    bound: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            bound.append(one)
            if os.name == "posix":
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
    except (OSError, UnicodeError) as error:
        for one in bound:
            one.close()
        reason = getattr(error, "strerror", None) or "no such name"
        raise CommandError(
            f"--host {host} --port {port}: the server cannot listen there ({reason})."
            " Example: --host 127.0.0.1 --port 8001"
        ) from None
    return bound


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


async def _prepare() -> list[str]:
    """Make schema and keys before any worker starts; return what to say when they answer.

    That is where the server is, and the link for the first account. Raises OperatorError.
    """
    import structlog

    from authserver import choices, components
    from authserver.all_settings import empty_files, unknown_variables
    from authserver.pages.connecting import ways
    from authserver.private_files import open_to_all

    log = structlog.get_logger("authserver")
    async with opened(needs_app=True) as server:
        mcp, _ = load_app()
        for variable in empty_files():
            log.warning("a setting that should name a file is empty, as if it were not set", name=variable)
        for variable in unknown_variables():
            log.warning("there is no such setting: nothing reads it", name=variable)
        key = server.settings.tls_key_file
        if key is not None and open_to_all(key):
            log.warning("everybody on this machine can read the key of the certificate", file=str(key))
        await components.check(mcp, server.scopes)
        # What goes wrong outside of this server says nothing by itself: a directory that hides what it knows.
        for finding in getattr(choices.login, "checks", lambda _: ())(server.settings):
            if not finding.harmless:
                log.warning(str(finding))
        lines = [f"Serving {server.resource}", *await _first_account(server)]
        if sys.stdout.isatty():
            known = [f"  {way.text}" for way in ways(mcp.name, server.resource) if not way.file]
            lines += ["", "Connect an app, in another terminal:", "", *known]
            lines += ["", f"Before others use it: {typed()} doctor", ""]
        return lines


async def _first_account(server: "AuthorizationServer") -> list[str]:
    """Return how the first account is made; nothing where there is one."""
    # Also where there are accounts: the login reads its settings here.
    elsewhere = server.login.accounts_elsewhere
    if await server.storage.users.all():
        return []
    if elsewhere:
        return [f"No account yet. {elsewhere}"]
    if not sys.stdout.isatty():
        # A log keeps what it is given: the link would lie there for whoever reads it.
        return [f"No account yet. Run: {typed()} users invite NAME"]
    link = await invitation(server, None)
    return ["No account yet. Create the first one here, within an hour:", "", f"  {link}"]
