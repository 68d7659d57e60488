"""What doctor says of the way to the server, and of what it may lose."""

from collections.abc import Iterator

from redis.asyncio.connection import SSLConnection

from authserver.findings import Finding, note, unsafe
from authserver.settings import LOOPBACK_HOSTS
from authserver.storage.redis.address import parse_address
from authserver.storage.redis.settings import Settings


def checks(settings: Settings) -> Iterator[Finding]:
    """Judge encryption, password and durability."""
    address = parse_address(settings.storage_url.get_secret_value())
    host = address.options.get("host")  # none: a Unix socket
    elsewhere = host is not None and host not in LOOPBACK_HOSTS
    verified = issubclass(address.kind, SSLConnection) and address.options.get("ssl_cert_reqs") != "none"
    if elsewhere and not verified:
        yield unsafe(
            "AUTH_STORAGE_URL",
            f"whoever is on the way to {host} can read and change what is stored",
            "Use rediss:// and, for a CA of your own, ssl_ca_certs",
        )
    if not address.options.get("password"):
        judge = unsafe if elsewhere else note
        yield judge(
            "AUTH_STORAGE_URL",
            "it has no password: whoever reaches the server can read and change what is stored",
            "Set one there, and in the URL",
        )
    if settings.storage_durability == "accept-loss":
        yield note(
            "AUTH_STORAGE_DURABILITY",
            "after a crash of the server, what was revoked last may be valid again",
            "Set demand where that matters",
        )
