"""Limits on guessing: what an attempt counts against."""

from starlette.requests import Request

from authserver import limits
from authserver.browser.sessions import known_device
from authserver.crypto.counters import network_buckets
from authserver.crypto.secret_values import derive
from authserver.provider import Provider
from authserver.requests.addresses import client_address
from authserver.storage.sign_ins import Bucket


def buckets(
    server: Provider, request: Request, what: str, *, account: str, subject: str | None
) -> list[Bucket]:
    """Return what an attempt counts against: the known browser, or the account and where it comes from.

    `what` is guessed, `account` is its name, whether it exists or not; `subject` is None where it does not.
    """
    names = server.keys.names
    device = subject and known_device(server, request, subject)
    key = derive(names, what, "device", device) if device else derive(names, what, "account", account)
    bucket = Bucket(key, limits.ATTEMPTS_AT_ONCE, limits.ATTEMPT_INTERVAL_SECONDS)
    # A browser that this user knows guesses at nobody else, and strangers nearby must not stop it.
    return [bucket] if device else [bucket, *address_buckets(server, request)]


def address_buckets(server: Provider, request: Request, *, factor: int = 1) -> list[Bucket]:
    """Return what attempts from one place count against: `factor` times the setting, none where it is 0."""
    limit = factor * server.settings.limit_sign_ins_per_minute
    address = client_address(request, server.settings)
    return network_buckets(server.keys.names, "sign-ins", address, per_minute=limit)
