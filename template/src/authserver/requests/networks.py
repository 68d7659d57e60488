"""The networks that a request comes from, as limits count them.

Whoever rents one line gets a network, and chooses addresses in it: of IPv6 a /64, often a /56 or /48
(RFC 6177); of IPv4 an address, at times a /24. So each of these has its own limit, the wider the higher.
"""

from ipaddress import IPv4Network, ip_network

WIDTHS = (12, 14, 16)
"""So many digits of a place name a network: a /48 or IPv4 /24; a /56 or IPv4 address; a /64 or the same."""

UNKNOWN = "0" * WIDTHS[-1]
"""The place of what has no address, such as a socket file."""


def place(address: str) -> str:
    """Return 16 hexadecimal digits for what `client_address` returns: those of a /64, or of an IPv4 address.

    IPv4 begins with six zeros, as no IPv6 address does that packets come from.
    """
    try:
        network = ip_network(address)
    except ValueError:
        return UNKNOWN
    packed = network.network_address.packed
    return "000000" + packed.hex() + "00" if isinstance(network, IPv4Network) else packed[:8].hex()


def networks(address: str) -> tuple[str, ...]:
    """Return the digits of the networks that `client_address` is in, the narrowest first."""
    digits = place(address)
    return tuple(digits[:width] for width in reversed(WIDTHS))
