"""What doctor says of the proxies that may name people."""

from collections.abc import Iterator

from authserver.findings import Finding, judged, note, unsafe
from authserver.login.proxy.settings import Settings

_MANY_ADDRESSES = 256


def checks(settings: Settings) -> Iterator[Finding]:
    """Judge how many can pass for the proxy."""
    return judged(RULES, settings)


def anybody_names_people(settings: Settings) -> Iterator[Finding]:
    """Find that programs beside the proxy can say who somebody is, since it shows no secret.

    Source: RFC 9700 section 4.13.
    """
    if settings.proxy_secret is not None or settings.proxy_secret_file is not None:
        return
    addresses = sum(network.num_addresses for network in settings.proxy_peers)
    if addresses > _MANY_ADDRESSES:
        yield unsafe(
            "AUTH_PROXY_PEERS",
            f"each of {addresses} addresses can say that it is anybody",
            "Name the proxies only, and set AUTH_PROXY_SECRET",
        )
    else:
        yield note(
            "AUTH_PROXY_SECRET",
            "any program at an address of AUTH_PROXY_PEERS can say that it is anybody",
            "Set it where others share such an address",
        )


RULES = (anybody_names_people,)
