"""How grants, and all that was begun with an account, end before their time."""

import sqlite3


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
