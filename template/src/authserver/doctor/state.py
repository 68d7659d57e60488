"""What doctor says of a server that is open: its store, its accounts, its keys, what it runs on."""

from collections.abc import AsyncIterator
from importlib.metadata import version

from authserver import choices, clock
from authserver.doctor import containers, process, units
from authserver.doctor.settings import check_settings
from authserver.findings import Finding, judged, judged_live, note, unsafe
from authserver.server import AuthorizationServer
from authserver.upstream import is_tested

_SKEW_SECONDS = 5
_DAY_SECONDS = 86_400
_OLD_KEY_DAYS = 366


async def examine(server: AuthorizationServer) -> AsyncIterator[Finding]:
    """Judge the settings, those of the choices, what holds the server back, and its state. It is open."""
    settings = server.settings
    for finding in check_settings(settings):
        yield finding
    for module in (choices.storage, choices.login, choices.tokens):
        # Not every choice has something to say.
        if checks := getattr(module, "checks", None):
            for finding in checks(settings):
                yield finding
    for finding in judged((*units.RULES, *containers.RULES, *process.RULES), settings):
        yield finding
    async for finding in judged_live(RULES, server):
        yield finding


async def clock_differs(server: AuthorizationServer) -> AsyncIterator[Finding]:
    """Find that this machine and the store do not agree what time it is.

    Source: RFC 6749 section 5.1, RFC 7519 section 4.1.4.
    """
    before = clock.now()
    now = await server.storage.now()
    skew = max(before - now, now - clock.now())
    if skew > _SKEW_SECONDS:
        yield unsafe(
            "clock",
            f"it differs from that of the store by {skew:.0f} seconds, so that things end early or late",
            "Let both machines keep their time by NTP",
        )


async def old_signing_key(server: AuthorizationServer) -> AsyncIterator[Finding]:
    """Find that the key that signs access tokens was made a year ago or more.

    Source: NIST SP 800-57 part 1, section 5.3.6.
    """
    made = [key["made_at"] for key in await server.tokens.list_keys() if key.get("made_at")]
    if made and (days := (clock.now() - max(made)) / _DAY_SECONDS) > _OLD_KEY_DAYS:
        yield note("keys", f"the key that signs was made {days:.0f} days ago", "Run keys rotate")


async def no_accounts(server: AuthorizationServer) -> AsyncIterator[Finding]:
    """Find that nobody can sign in yet.

    Source: this server.
    """
    if not server.login.accounts_elsewhere and not await server.storage.users.all():
        yield note("accounts", "there is none yet", "Run users invite NAME")


async def clients_wait(server: AuthorizationServer) -> AsyncIterator[Finding]:
    """Find that apps wait for an operator's approval.

    Source: RFC 7591 section 5.
    """
    waiting = [client for client in await server.storage.clients.all() if client.approved_at is None]
    if waiting:
        yield note("clients", f"{len(waiting)} wait for approval", "Run clients list, then clients approve")


async def untested_fastmcp(server: AuthorizationServer) -> AsyncIterator[Finding]:
    """Find that the version of FastMCP is none that this release was tested with.

    Source: this server.
    """
    del server
    if not is_tested(version("fastmcp")):
        yield unsafe(
            "fastmcp",
            f"authserver was not tested with version {version('fastmcp')}",
            "Run copier update, and tests/authserver/test_upstream.py",
        )


RULES = (clock_differs, old_signing_key, no_accounts, clients_wait, untested_fastmcp)
