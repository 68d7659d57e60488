"""What doctor says of the way to the server, and of what it may lose."""

from collections.abc import Iterator

from redis.asyncio.connection import SSLConnection

from authserver.findings import Finding, judged, note, unsafe
from authserver.settings import LOOPBACK_HOSTS
from authserver.storage.redis.address import Address, parse_address
from authserver.storage.redis.settings import Settings


def checks(settings: Settings) -> Iterator[Finding]:
    """Judge encryption, password and durability."""
    return judged(RULES, settings)


def store_unencrypted(settings: Settings) -> Iterator[Finding]:
    """Find that the store is on another machine, and nobody proves that the answers are its own.

    Source: NIST SP 800-53, control SC-8.
    """
    address = parse_address(settings.storage_url.get_secret_value())
    verified = issubclass(address.kind, SSLConnection) and address.options.get("ssl_cert_reqs") != "none"
    if (host := _elsewhere(address)) and not verified:
        yield unsafe(
            "AUTH_STORAGE_URL",
            f"whoever is on the way to {host} can read and change what is stored",
            "Use rediss:// and, for a CA of your own, ssl_ca_certs",
        )


def store_without_password(settings: Settings) -> Iterator[Finding]:
    """Find that whoever reaches the store can read and change all that is in it.

    Source: CWE-306.
    """
    address = parse_address(settings.storage_url.get_secret_value())
    if not address.options.get("password"):
        judge = unsafe if _elsewhere(address) else note
        yield judge(
            "AUTH_STORAGE_URL",
            "it has no password: whoever reaches the server can read and change what is stored",
            "Set one there, and in the URL",
        )


def store_may_lose(settings: Settings) -> Iterator[Finding]:
    """Find that what was revoked last may be valid again after a crash of the store.

    Source: RFC 7009 section 2.
    """
    if settings.storage_durability == "accept-loss":
        yield note(
            "AUTH_STORAGE_DURABILITY",
            "after a crash of the server, what was revoked last may be valid again",
            "Set demand where that matters",
        )


def _elsewhere(address: Address) -> str | None:
    """Return the host where that is not this machine; None also for a Unix socket."""
    host = address.options.get("host")
    return None if host in (None, *LOOPBACK_HOSTS) else str(host)


RULES = (store_unencrypted, store_without_password, store_may_lose)
