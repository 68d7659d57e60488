"""Where a request comes from.

The server's own socket tells, and, for requests that a trusted proxy hands on, the rightmost address in
`X-Forwarded-For` that is not a trusted proxy's. Where that is no address, the proxy that wrote it counts.
Nothing else is taken from forwarded headers.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.requests import HTTPConnection

from authserver.requests.reading import header
from authserver.settings import CoreSettings
from authserver.warned import warn_once

Address = IPv4Address | IPv6Address

# As Azure, IIS and others write a hop: quoted, in brackets, with a port, with the zone of a link.
_WRITTEN = re.compile(r'"?(?:\[([^\]%]+)(?:%[^\]]*)?\](?::\d+)?|([0-9.]+)(?::\d+)?|([^"%]+)(?:%[^"]*)?)"?')


def client_address(request: HTTPConnection, settings: CoreSettings) -> str:
    """Return the address to count attempts by: an IPv4 address, or the /64 network of an IPv6 one."""
    peer = request.client.host if request.client else "unknown"
    forwarded = header(request.scope, b"x-forwarded-for")
    if not forwarded:
        return _network(peer)
    if not is_among(peer, settings.trusted_proxies):
        warn_once("X-Forwarded-For is ignored: its sender is not in AUTH_TRUSTED_PROXIES", peer)
        return _network(peer)
    farthest = peer
    for hop in reversed([hop.strip() for hop in ",".join(forwarded).split(",") if hop.strip()]):
        if _parsed(hop) is None:
            warn_once("X-Forwarded-For is ignored from where it names no address on", peer)
            break
        farthest = hop
        if not is_among(hop, settings.trusted_proxies):
            break
    return _network(farthest)


def is_among(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Say whether an address is in one of the networks; an IPv4 one also as IPv6 writes it."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def same_address(one: str, other: str) -> bool:
    """Say whether two texts name one address, however they write it."""
    parsed = _parsed(one)
    return parsed is not None and parsed == _parsed(other)


def _parsed(text: str) -> Address | None:
    """Return the address that is written here, however proxies write it; None where it is none."""
    written = _WRITTEN.fullmatch(text)
    try:
        parsed = ip_address(next(filter(None, written.groups())) if written else text)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


@lru_cache(maxsize=1024)
def _network(address: str) -> str:
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return str(parsed or "unknown")
