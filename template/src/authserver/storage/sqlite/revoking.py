"""How grants, and all that was begun with an account, end before their time; and what is left is deleted."""

import asyncio
import sqlite3
from functools import partial
from typing import Any

from authserver import limits
from authserver.storage.sqlite.file import File
from authserver.storage.tables import HANGING

_OVER = """
    SELECT grant_id FROM grants WHERE client_id = :client_id AND revoked_at IS NOT NULL
    UNION SELECT grant_id FROM grants WHERE subject = :subject AND revoked_at IS NOT NULL
    UNION SELECT grant_id FROM grants WHERE expires_at <= :now
"""
_HANGS = "SELECT 1 FROM {0} WHERE {0}.grant_id = over.grant_id"
# All names are ours.
_SWEEP = (
    *(
        f"""
        DELETE FROM {table} WHERE digest IN (
            SELECT digest FROM ({_OVER}) JOIN {table} USING (grant_id) LIMIT :limit
        )
        """  # noqa: S608
        for table in HANGING
    ),
    f"""
    DELETE FROM grants WHERE grant_id IN (
        SELECT grant_id FROM ({_OVER}) AS over
        WHERE NOT EXISTS ({" UNION ALL ".join(_HANGS.format(table) for table in HANGING)})
        LIMIT :limit
    )
    """,  # noqa: S608
)


def revoke(
    db: sqlite3.Connection,
    now: float,
    *,
    grant_id: str | None = None,
    subject: str | None = None,
    client_id: str | None = None,
) -> bool:
    """Revoke a grant, all of a user or all of a client; False if none of them was alive."""
    revoked = db.execute(
        """
        UPDATE grants SET revoked_at = :now
        WHERE (grant_id = :grant_id OR subject = :subject OR client_id = :client_id) AND revoked_at IS NULL
        RETURNING grant_id, revoked_at, access_until
        """,
        {"now": now, "grant_id": grant_id, "subject": subject, "client_id": client_id},
    ).fetchall()
    db.executemany(
        "INSERT OR IGNORE INTO revocations (grant_id, revoked_at, until) VALUES (?, ?, ?)",
        [row for row in revoked if row["access_until"] > now],
    )
    return bool(revoked)


def end_access(
    db: sqlite3.Connection, now: float, subject: str, *, keep: bytes | None = None, grants: bool = False
) -> int:
    """Move a user's epoch; end their links, their sessions but `keep`, and if wanted their grants.

    Returns the new epoch.
    """
    [epoch, folded_name] = db.execute(
        "UPDATE users SET epoch = epoch + 1 WHERE subject = ? RETURNING epoch, folded_name", (subject,)
    ).fetchone()
    db.execute("DELETE FROM invitations WHERE folded_name = ?", (folded_name,))
    db.execute("DELETE FROM sessions WHERE subject = ? AND digest IS NOT ?", (subject, keep))
    db.execute("UPDATE sessions SET epoch = ? WHERE digest = ?", (epoch, keep))
    if grants:
        revoke(db, now, subject=subject)
    return int(epoch)


async def sweep(file: File, limit: int, *, client_id: str | None = None, subject: str | None = None) -> int:
    """Delete up to `limit` records of each sort that hang off grants that are over, then those grants.

    Those are the expired ones, and of that client or user the revoked ones. Return how many records went.
    """
    values = {"limit": limit, "client_id": client_id, "subject": subject}
    return await file.write(partial(_swept, values))


async def sweep_all(file: File, **whose: str) -> None:
    """Delete all that is left of the grants of a client or user, so that others come in between."""
    while await sweep(file, limits.PURGE_RECORDS, **whose):  # noqa: ASYNC110
        await asyncio.sleep(limits.SWEEP_PAUSE_SECONDS)


def _swept(values: dict[str, Any], db: sqlite3.Connection, now: float) -> int:
    return sum(db.execute(statement, values | {"now": now}).rowcount for statement in _SWEEP)
