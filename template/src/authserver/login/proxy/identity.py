"""The person whom the proxy names: read from a header, and believed only if nobody else can have set it."""

import hmac
from dataclasses import dataclass

from starlette.requests import Request

from authserver import limits
from authserver.browser.problems import Refusal
from authserver.login.proxy.settings import Settings
from authserver.requests.addresses import is_among
from authserver.warned import warn_once

SECRET_HEADER = "auth-proxy-secret"  # noqa: S105  # its name


@dataclass(frozen=True, slots=True)
class Identity:
    """The person whom the proxy names, and what their groups let them grant (None: groups decide nothing)."""

    name: str
    scopes: tuple[str, ...] | None


def identify(request: Request, settings: Settings, secret: bytes | None) -> Identity | None:
    """Return who the proxy names, None where it names nobody.

    Raises Refusal where the name comes from somebody else, or can be read in more than one way.
    """
    if not _headers(request, settings.proxy_user_header):
        return None
    _check_sender(request, settings, secret)
    name = _value(request, settings.proxy_user_header)
    if name is None or not is_name(name):
        raise Refusal("proxy_unclear", status=403)
    return Identity(name, _scopes(request, settings))


def is_name(name: str) -> bool:
    """Say whether a person may have this name: printable, and not too long."""
    return name.isprintable() and 0 < len(name.strip()) <= len(name) <= limits.MAXIMUM_NAME_CHARACTERS


def _check_sender(request: Request, settings: Settings, secret: bytes | None) -> None:
    # The socket's peer: X-Forwarded-For says where a request began, and anybody can begin with one.
    peer = request.client.host if request.client else "unknown"
    header = settings.proxy_user_header
    if not is_among(peer, settings.proxy_peers):
        warn_once(f"{header} is refused: its sender is not in AUTH_PROXY_PEERS", peer)
    elif secret is not None and not _shows(request, secret):
        warn_once(f"{header} is refused: its sender shows no AUTH_PROXY_SECRET", peer)
    else:
        return
    raise Refusal("proxy_untrusted", status=403)


def _shows(request: Request, secret: bytes) -> bool:
    shown = [value for _, value in _headers(request, SECRET_HEADER)]
    return len(shown) == 1 and hmac.compare_digest(shown[0], secret)


def _scopes(request: Request, settings: Settings) -> tuple[str, ...] | None:
    mapped = settings.proxy_group_scopes
    if not mapped:
        return None
    listed = _value(request, settings.proxy_groups_header) or ""
    groups = {group.strip() for group in listed.split(settings.proxy_groups_separator)}
    return tuple(sorted({scope for group in groups & mapped.keys() for scope in mapped[group].split()}))


def _headers(request: Request, name: str) -> list[tuple[bytes, bytes]]:
    """Return all that may be this header, as some software takes an underscore for a hyphen."""
    wanted = name.lower().encode()
    return [(found, value) for found, value in request.headers.raw if found.replace(b"_", b"-") == wanted]


def _value(request: Request, name: str) -> str | None:
    """Return the value of a header, None without it; raises Refusal where there is any doubt."""
    found = _headers(request, name)
    if not found:
        return None
    try:
        [(spelled, value)] = found
        text = value.decode()
    except ValueError:
        raise Refusal("proxy_unclear", status=403) from None
    if spelled != name.lower().encode():
        raise Refusal("proxy_unclear", status=403)
    return text
