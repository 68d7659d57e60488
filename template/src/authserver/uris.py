"""How URIs are compared, and which schemes are never followed."""

import re

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
_FRONT = re.compile(r"[^:/]*(?:://[^/?#]*)?")


def fold_front(uri: str) -> str:
    """Return a URI with scheme and authority in lower case: there, case does not count (RFC 3986 6.2.2.1)."""
    return _FRONT.sub(lambda front: front[0].lower(), uri, count=1)


def plain_origin(origin: str) -> str:
    """Return an origin as browsers write it: in lower case, without the default port (RFC 6454 6.2)."""
    lower = origin.lower()
    default = {"http": ":80", "https": ":443"}.get(lower.partition("://")[0])
    return lower.removesuffix(default) if default else lower
