"""What doctor says of a server that is open: its store, its accounts, what it runs on."""

from collections.abc import AsyncIterator
from importlib.metadata import version

from authserver import choices, clock
from authserver.doctor.settings import check_settings
from authserver.findings import Finding, note, unsafe
from authserver.server import AuthorizationServer
from authserver.upstream import is_tested

_SKEW_SECONDS = 5


async def examine(server: AuthorizationServer) -> AsyncIterator[Finding]:
    """Judge the settings, those of the choices, and the state of an open server."""
    settings, storage = server.settings, server.storage
    for finding in check_settings(settings):
        yield finding
    for module in (choices.storage, choices.login, choices.tokens):
        # Not every choice has something to say.
        if checks := getattr(module, "checks", None):
            for finding in checks(settings):
                yield finding
    before = clock.now()
    now = await storage.now()
    skew = max(before - now, now - clock.now())
    if skew > _SKEW_SECONDS:
        yield unsafe(
            "clock",
            f"it differs from that of the store by {skew:.0f} seconds, so that things end early or late",
            "Let both machines keep their time by NTP",
        )
    if not server.login.accounts_elsewhere and not await storage.users.all():
        yield note("accounts", "there is none yet", "Run users invite NAME")
    waiting = [client for client in await storage.clients.all() if client.approved_at is None]
    if waiting:
        yield note("clients", f"{len(waiting)} wait for approval", "Run clients list, then clients approve")
    if not is_tested(version("fastmcp")):
        yield unsafe(
            "fastmcp",
            f"authserver was not tested with version {version('fastmcp')}",
            "Run copier update, and tests/authserver/test_upstream.py",
        )
