"""Refresh tokens that say which grant they were issued for, so that spent ones need not be kept.

A token is a random seed, the id of its grant, and a mark over both (128 bits of HMAC-SHA-256). Whoever shows
one that is not stored has a token that this server issued for that grant: nobody else can make the mark. It
proves that, and opens nothing.
"""

import base64
import hmac
import uuid
from collections.abc import Iterable

from authserver.crypto.secret_values import Kind, derive, encode

_SEED = 32
_GRANT = 16
_MARK = 16


def marked(seed: bytes, grant_id: str, key: bytes) -> bytes:
    """Return the bytes of a refresh token of that grant (a UUID)."""
    return seed + uuid.UUID(grant_id).bytes + _mark(seed, grant_id, key)


def grant_of(token: str, keys: Iterable[bytes]) -> str | None:
    """Return the id of the grant that the token was issued for; None unless one of the keys marked it."""
    try:
        content = base64.urlsafe_b64decode(token.removeprefix(Kind.REFRESH_TOKEN.value) + "==")
    except ValueError:
        return None
    # Letter by letter: a token that was garbled on the way is not taken for a stolen one.
    if len(content) != _SEED + _GRANT + _MARK or encode(Kind.REFRESH_TOKEN, content) != token:
        return None
    seed, mark = content[:_SEED], content[-_MARK:]
    grant_id = str(uuid.UUID(bytes=content[_SEED:-_MARK]))
    return grant_id if any(hmac.compare_digest(mark, _mark(seed, grant_id, key)) for key in keys) else None


def _mark(seed: bytes, grant_id: str, key: bytes) -> bytes:
    return derive(key, seed, grant_id)[:_MARK]
