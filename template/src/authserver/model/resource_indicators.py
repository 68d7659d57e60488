"""Resource indicators (RFC 8707): which of them mean this server."""

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def same_resource(one: str, other: str) -> bool:
    """Say whether two resource identifiers are the same.

    Scheme and host are compared without case; the scheme's own port and one slash at the end do not count
    (RFC 3986 section 6.2.3). All else is compared letter by letter, so `/mcp-other` is not `/mcp`.
    """
    return one == other or _normal(one) == _normal(other)


def names_resource(asked: str, resource: str) -> bool:
    """Say whether a client that asks for `asked` means `resource`, the only one of its origin.

    Its bare origin does, too: ChatGPT sends that. What tokens are bound to is always the resource itself.
    """
    url = urlsplit(resource)
    return same_resource(asked, resource) or same_resource(asked, f"{url.scheme}://{url.netloc}")


def _normal(resource: str) -> str:
    try:
        url = urlsplit(resource)
    except ValueError:
        return resource
    scheme = url.scheme.lower()
    return url._replace(
        scheme=scheme,
        netloc=url.netloc.lower().removesuffix(_DEFAULT_PORTS.get(scheme, "")),
        path=url.path.removesuffix("/"),
    ).geturl()
