"""Reading JSON Web Tokens, strictly (RFC 7515, RFC 7519, RFC 8725, RFC 9068)."""

import re
from dataclasses import dataclass
from typing import Any

from joserfc.util import urlsafe_b64decode

from authserver import clock, limits
from authserver.model.records import AccessToken
from authserver.requests import strict_json

TYPE = "at+jwt"

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


class NotAToken(ValueError):
    """The text is no access token of this server."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A token as it was sent, its header read; nothing of it is believed yet."""

    kid: str
    algorithm: str
    message: bytes
    signature: bytes
    payload: bytes


def split(token: str) -> Parts:
    """Return the parts of a compact token with a header of ours, and nothing else in it; raises NotAToken."""
    found = _COMPACT.fullmatch(token) if len(token) <= limits.MAXIMUM_SIGNED_TOKEN_CHARACTERS else None
    if found is None:
        raise NotAToken
    header = _object(_decoded(found[1]))
    # No jwk, jku, x5u, x5c, crit, b64: what is not expected is not looked at, but refused.
    if header.keys() != {"alg", "kid", "typ"} or header["typ"] != TYPE:
        raise NotAToken
    if not isinstance(header["alg"], str) or not isinstance(header["kid"], str):
        raise NotAToken
    return Parts(
        kid=header["kid"],
        algorithm=header["alg"],
        message=token.rpartition(".")[0].encode(),
        signature=_decoded(found[3]),
        payload=_decoded(found[2]),
    )


def access_token(payload: bytes, issuer: str) -> AccessToken:
    """Return what the claims of a verified token say, expired or not; raises NotAToken."""
    claims = _object(payload)
    latest = clock.now() + limits.CLOCK_SKEW_SECONDS
    if _text(claims, "iss") != issuer or _time(claims, "iat") > latest:
        raise NotAToken
    if "nbf" in claims and _time(claims, "nbf") > latest:
        raise NotAToken
    _text(claims, "jti")
    scopes = tuple(_text(claims, "scope").split(" "))
    return AccessToken(
        grant_id=_text(claims, "grant_id"),
        client_id=_text(claims, "client_id"),
        subject=_text(claims, "sub"),
        user_name=_text(claims, "preferred_username"),
        scopes=scopes,
        # What the user may grant was judged when it was issued, and is again at the next refresh.
        entitlement=scopes,
        resource=_text(claims, "aud"),
        expires_at=_time(claims, "exp"),
    )


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise NotAToken
    return value


def _time(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise NotAToken
    return value


def _decoded(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text.encode())
    except ValueError:
        raise NotAToken from None


def _object(data: bytes) -> dict[str, Any]:
    """Return a JSON object in which no name stands twice; raises NotAToken."""
    try:
        value = strict_json.loads(data.decode())
    except ValueError:
        raise NotAToken from None
    if not isinstance(value, dict):
        raise NotAToken
    return value
