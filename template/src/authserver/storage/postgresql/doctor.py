"""What doctor says of the way to the database."""

import os
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from authserver.findings import Finding, judged, unsafe
from authserver.settings import LOOPBACK_HOSTS
from authserver.storage.postgresql.settings import Settings

_VERIFIED = ("verify-ca", "verify-full")


def checks(settings: Settings) -> Iterator[Finding]:
    """Judge the way to the database."""
    return judged(RULES, settings)


def store_unencrypted(settings: Settings) -> Iterator[Finding]:
    """Find that the store is on another machine, and nobody proves that the answers are its own.

    Source: NIST SP 800-53, control SC-8.
    """
    url = urlsplit(settings.storage_url.get_secret_value())
    options = parse_qs(url.query)
    listed = url.netloc.rpartition("@")[2] or ",".join(options.get("host", [os.environ.get("PGHOST", "")]))
    hosts = [urlsplit(f"//{host}").hostname for host in listed.split(",") if not host.startswith("/")]
    elsewhere = [host for host in hosts if host and host not in LOOPBACK_HOSTS]
    mode = options.get("sslmode", [os.environ.get("PGSSLMODE", "prefer")])[-1]
    if elsewhere and mode not in _VERIFIED:
        yield unsafe(
            "AUTH_STORAGE_URL",
            f"with sslmode={mode}, whoever is on the way to {elsewhere[0]} can read and change all",
            "Add sslmode=verify-full and, for a CA of your own, sslrootcert",
        )


RULES = (store_unencrypted,)
