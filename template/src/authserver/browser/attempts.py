"""Limits on guessing: what an attempt counts against."""

from starlette.requests import Request

from authserver import limits
from authserver.browser.sessions import Begun, is_known_device
from authserver.crypto.counters import network_buckets
from authserver.crypto.secret_values import derive
from authserver.provider import Provider
from authserver.requests.addresses import client_address
from authserver.storage.sign_ins import Bucket


def buckets(
    server: Provider, request: Request, what: str, *, account: str, user: Begun | None
) -> list[Bucket]:
    """Return what an attempt counts against: all browsers that know the user; or all others, and the address.

    `what` is guessed, `account` is its name, whether it exists or not; `user` is None where it does not.
    """
    names = server.keys.names
    rate = limits.ATTEMPTS_AT_ONCE, limits.ATTEMPT_INTERVAL_SECONDS
    if user and is_known_device(server, request, user):
        # One for all of them: whoever stole some cookies guesses no faster than with one. They guess at
        # nobody else, and strangers nearby must not stop the owner.
        return [Bucket(derive(names, what, "devices", user.subject, str(user.epoch)), *rate)]
    return [Bucket(derive(names, what, "account", account), *rate), *address_buckets(server, request)]


def address_buckets(
    server: Provider, request: Request, what: str = "sign-ins", *, factor: int = 1
) -> list[Bucket]:
    """Return what attempts from one place count against: `factor` times the setting, none where it is 0."""
    limit = factor * server.settings.limit_sign_ins_per_minute
    address = client_address(request, server.settings)
    return network_buckets(server.keys.names, what, address, per_minute=limit)
