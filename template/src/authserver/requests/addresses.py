"""Where a request comes from.

The server's own socket tells, and, for requests that a trusted proxy hands on, the rightmost address in
`X-Forwarded-For` that is not a trusted proxy's. Nothing else is taken from forwarded headers.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import structlog
from starlette.requests import HTTPConnection

from authserver import limits
from authserver.settings import CoreSettings

_log = structlog.get_logger("authserver")
_warned: set[str] = set()


def client_address(request: HTTPConnection, settings: CoreSettings) -> str:
    """Return the address to count attempts by: an IPv4 address, or the /64 network of an IPv6 one."""
    peer = request.client.host if request.client else "unknown"
    forwarded = request.headers.getlist("x-forwarded-for")
    if forwarded and not is_among(peer, settings.trusted_proxies):
        if peer not in _warned and len(_warned) < limits.WARNED_SENDERS:
            _warned.add(peer)
            _log.warning("X-Forwarded-For is ignored: its sender is not in AUTH_TRUSTED_PROXIES", sender=peer)
        return _network(peer)
    hops = [peer, *reversed([hop.strip() for hop in ",".join(forwarded).split(",") if hop.strip()])]
    return _network(next((hop for hop in hops if not is_among(hop, settings.trusted_proxies)), hops[-1]))


def is_among(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Say whether an address is in one of the networks; an IPv4 one also as IPv6 writes it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in networks)


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, 64), strict=False))
    return str(parsed)
