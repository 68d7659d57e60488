"""Resource indicators (RFC 8707): which of them mean this server."""

from urllib.parse import urlsplit


def same_resource(one: str, other: str) -> bool:
    """Say whether two resource identifiers are the same.

    Scheme and host are compared without case, one slash at the end does not count; all else is compared
    letter by letter, so `/mcp-other` is not `/mcp`.
    """
    return _normal(one) == _normal(other)


def _normal(resource: str) -> str:
    try:
        url = urlsplit(resource)
    except ValueError:
        return resource
    return url._replace(
        scheme=url.scheme.lower(), netloc=url.netloc.lower(), path=url.path.removesuffix("/")
    ).geturl()
