"""Our cookies, and what seals their values to this server.

On https every cookie has the `__Host-` prefix, so that no other host can set it. Names carry a hash of the
public URL, since all ports of a loopback address share their cookies.
"""

import hashlib
import hmac

from starlette.requests import Request
from starlette.responses import Response

from authserver.crypto.secret_values import derive
from authserver.provider import Provider


def _name(server: Provider, name: str) -> str:
    settings = server.settings
    site = hashlib.sha256(settings.public_url.encode()).hexdigest()[:8]
    return f"{'__Host-' if settings.secure else ''}{name}-{site}"


def set_cookie(server: Provider, response: Response, name: str, value: str, seconds: int | None) -> None:
    """Set one of our cookies, out of reach of scripts and other sites."""
    response.set_cookie(
        _name(server, name),
        value,
        max_age=seconds,
        path="/",
        httponly=True,
        secure=server.settings.secure,
        samesite="lax",
    )


def get_cookie(server: Provider, request: Request, name: str) -> str:
    """Return the value of one of our cookies, '' where the browser has none."""
    return request.cookies.get(_name(server, name), "")


def delete_cookie(server: Provider, response: Response, name: str) -> None:
    """Let the browser forget one of our cookies."""
    set_cookie(server, response, name, "", 0)


def seal(server: Provider, *parts: str) -> str:
    """Return a MAC over `parts` that only this server can make."""
    return derive(server.keys.browser, *parts).hex()


def is_sealed(server: Provider, sealed: str, *parts: str) -> bool:
    """Say whether `sealed` is the MAC over `parts`; takes as long whatever is wrong with it."""
    return hmac.compare_digest(sealed.encode(), seal(server, *parts).encode())
