"""Scopes that a call lacked, kept for its user and client, so that the next consent page offers them.

Few clients come back by themselves to ask for more: many answer 403 `insufficient_scope` (RFC 6750 section
3.1) by a refresh, which widens nothing, and ask for the same scopes at each authorization.

Kept is a bucket of the limits on attempts, under a keyed digest: all processes share it, it is written in one
step, runs out and is purged. Only a call with a living access token writes, and only for the user and the
client of that token. Nobody is granted anything by it.
"""

from collections.abc import Iterable

from authserver import limits
from authserver.crypto.keys import Keys
from authserver.crypto.secret_values import derive
from authserver.storage import Storage
from authserver.storage.sign_ins import Bucket


async def remember(
    storage: Storage, keys: Keys, scopes: Iterable[str], *, subject: str, client_id: str
) -> None:
    """Keep the scopes; those are lost that go beyond what is kept of one user."""
    kept = limits.REFUSED_SCOPES
    of_user = Bucket(derive(keys.names, "refused", subject), kept, limits.REFUSED_SCOPE_SECONDS / kept)
    marks = {_mark(keys, subject, client_id, name) for name in scopes}
    for mark in marks - await storage.sign_ins.used_buckets(marks):
        await storage.sign_ins.take_attempt([Bucket(mark, 1, limits.REFUSED_SCOPE_SECONDS), of_user])


async def recall(
    storage: Storage, keys: Keys, scopes: Iterable[str], *, subject: str, client_id: str
) -> list[str]:
    """Return those of the scopes that are kept."""
    marks = {name: _mark(keys, subject, client_id, name) for name in scopes}
    used = await storage.sign_ins.used_buckets(marks.values())
    return [name for name, mark in marks.items() if mark in used]


def _mark(keys: Keys, subject: str, client_id: str, scope: str) -> bytes:
    return derive(keys.names, "refused", subject, client_id, scope)
