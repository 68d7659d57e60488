"""How URIs are compared, which schemes are never followed, and which hosts an operator can name."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult

UNSAFE_SCHEMES = (
    "javascript",
    "data",
    "file",
    "filesystem",
    "vbscript",
    "view-source",
    "blob",
    "about",
    "intent",
    "ftp",
    "ws",
    "wss",
)
# A scheme, or more: then a whole authority, and as much of the path as wanted.
BEGINNING = re.compile(r"[a-z][a-z0-9+.-]*(?::(?://[a-z0-9._~-]+)?/[A-Za-z0-9._~/-]*)?")
# A name by letters, digits and hyphens (RFC 1123 section 2.1), and what networks inside call theirs.
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST_NAME = 253  # RFC 1035 section 2.3.4, without the bytes of its form on the wire
_FRONT = re.compile(r"[^:/]*(?:://[^/?#]*)?")


def fold_front(uri: str) -> str:
    """Return a URI with scheme and authority in lower case: there, case does not count (RFC 3986 6.2.2.1)."""
    return _FRONT.sub(lambda front: front[0].lower(), uri, count=1)


def plain_origin(origin: str) -> str:
    """Return an origin as browsers write it: in lower case, without the default port (RFC 6454 6.2)."""
    lower = origin.lower()
    default = {"http": ":80", "https": ":443"}.get(lower.partition("://")[0])
    return lower.removesuffix(default) if default else lower


def check_authority(url: SplitResult) -> None:
    """Raise ValueError unless scheme, host and port of an address are such that clients can write them so."""
    port = url.port
    if port == 0 or url.netloc.endswith(":"):
        raise ValueError("a port is a number from 1 to 65535, or it is left out")
    if port and port == _DEFAULT_PORTS.get(url.scheme):
        raise ValueError("leave out the default port")
    check_host(url.netloc.rpartition("@")[2].removesuffix(f":{port}"))


def check_host(host: str) -> None:
    """Raise ValueError unless this is the name of a host or its address, an IPv6 one in brackets."""
    if not host.isascii():
        raise ValueError("a name that is not ASCII is written as clients send it, beginning with xn--")
    address = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if "%" in address:
        raise ValueError("an address with a zone is known to one machine only")
    try:
        if str(ip_address(address)) == address.lower() and (":" in address) == (address != host):
            return
    except ValueError:
        labels = host.split(".")
        if all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit() and len(host) <= _LONGEST_NAME:
            return
    raise ValueError("this is no host name, and no IP address as clients write it")


def check_one_machine(host: str) -> None:
    """Raise ValueError for an address that is none of one machine: 0.0.0.0, that of a group, of all."""
    try:
        address = ip_address(host)
    except ValueError:
        return
    if address.is_unspecified or address.is_multicast or host == "255.255.255.255":
        raise ValueError("this is no address of a machine: name the one that clients connect to")
