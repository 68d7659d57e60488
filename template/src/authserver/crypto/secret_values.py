"""Codes, tokens, client secrets, session ids and links: how they look, and what is kept of them."""

import base64
import hashlib
import hmac
import secrets
from enum import Enum


class Kind(Enum):
    """The kinds of secret value, each with the prefix by which leak scanners find it.

    The digest of one kind is never that of another, so a code is no token and a token is no session.
    """

    ACCESS_TOKEN = "mcpat_"  # noqa: S105
    REFRESH_TOKEN = "mcprt_"  # noqa: S105
    AUTHORIZATION_CODE = "mcpac_"
    CLIENT_SECRET = "mcpcs_"  # noqa: S105
    AUTHORIZATION_REQUEST = "mcprq_"
    SESSION = "mcpss_"
    INVITATION = "mcpiv_"
    CHALLENGE = "mcpch_"
    SECOND_FACTOR = "mcpsf_"
    """A sign-in that waits for its second factor."""
    RECOVERY_CODE = ""
    """Typed by hand: it has no prefix."""


def new_seed() -> bytes:
    """Return 256 random bits."""
    return secrets.token_bytes(32)


def encode(kind: Kind, seed: bytes) -> str:
    """Return the secret value of `kind` made from `seed`: its prefix and 43 characters base64url."""
    return kind.value + base64.urlsafe_b64encode(seed).rstrip(b"=").decode()


def new(kind: Kind) -> str:
    """Return a fresh secret value of `kind` with 256 random bits."""
    return encode(kind, new_seed())


def digest(kind: Kind, value: str) -> bytes:
    """Return the 32 bytes that are stored in place of `value`."""
    return hashlib.sha256(kind.name.encode() + b"\0" + value.encode(errors="surrogatepass")).digest()


def short(digest: bytes) -> str:
    """Return the 16 digits by which the audit names a secret value of which this is the digest."""
    return digest.hex()[:16]


def derive(key: bytes, *parts: str | bytes) -> bytes:
    """Return HMAC-SHA-256 of `parts`, each with its length, so that no two lists of parts read alike."""
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        data = part.encode(errors="surrogatepass") if isinstance(part, str) else part
        mac.update(len(data).to_bytes(8, "big") + data)
    return mac.digest()
