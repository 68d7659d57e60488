"""What signing in needs, in SQLite."""

import sqlite3
from collections.abc import Collection, Sequence

from authserver.model.records import Credential, Session
from authserver.storage.rows import record
from authserver.storage.sign_ins import Bucket, SignIns
from authserver.storage.sqlite.buckets import take
from authserver.storage.sqlite.file import Kept, written

# One session, or all of a user: the other one is NULL, and finds nothing.
_SESSIONS = """
    SELECT s.*, u.name AS user_name, u.scopes AS entitlement
    FROM sessions AS s JOIN users AS u USING (subject)
    WHERE (s.digest = :digest OR s.subject = :subject)
    AND s.expires_at > :now AND u.disabled_at IS NULL AND s.epoch = u.epoch
    ORDER BY s.created_at
"""


class SQLiteSignIns(Kept, SignIns):
    """The tables `credentials`, `tickets`, `buckets` and `sessions`."""

    async def get_credential(self, subject: str, kind: str) -> Credential | None:
        return self._file.one(
            Credential,
            "SELECT * FROM credentials WHERE subject = :subject AND kind = :kind",
            subject=subject,
            kind=kind,
        )

    @written
    def put_credential(
        self, db: sqlite3.Connection, now: float, subject: str, kind: str, value: bytes, *, counter: int
    ) -> bool:
        if counter == 0:
            put = db.execute(
                """
                INSERT OR IGNORE INTO credentials (subject, kind, value, counter)
                SELECT subject, ?, ?, 1 FROM users WHERE subject = ?
                """,
                (kind, value, subject),
            )
        else:
            put = db.execute(
                """
                UPDATE credentials SET value = :value, counter = counter + 1
                WHERE subject = :subject AND kind = :kind AND counter = :counter
                """,
                {"subject": subject, "kind": kind, "value": value, "counter": counter},
            )
        return put.rowcount > 0

    async def list_credentials(self, subject: str) -> dict[str, Credential]:
        found = self._file.read(
            "SELECT * FROM credentials WHERE subject = :subject ORDER BY kind", subject=subject
        )
        return {row["kind"]: record(Credential, row) for row in found}

    @written
    def add_ticket(
        self, db: sqlite3.Connection, now: float, digest: bytes, value: bytes, *, lifetime_seconds: float
    ) -> None:
        db.execute("INSERT INTO tickets VALUES (?, ?, ?)", (digest, value, now + lifetime_seconds))

    @written
    def take_ticket(self, db: sqlite3.Connection, now: float, digest: bytes) -> bytes | None:
        row = db.execute(
            "DELETE FROM tickets WHERE digest = ? AND expires_at > ? RETURNING value", (digest, now)
        ).fetchone()
        return None if row is None else bytes(row["value"])

    @written
    def take_attempt(self, db: sqlite3.Connection, now: float, buckets: Sequence[Bucket]) -> float:
        return take(db, now, buckets)

    async def used_buckets(self, keys: Collection[bytes]) -> set[bytes]:
        used = "SELECT 1 FROM buckets WHERE key = :key AND full_at > :now"
        return {key for key in keys if self._file.read(used, key=key)}

    @written
    def return_attempt(self, db: sqlite3.Connection, now: float, buckets: Sequence[Bucket]) -> None:
        db.executemany(
            "UPDATE buckets SET full_at = full_at - ? WHERE key = ?",
            [(bucket.interval_seconds, bucket.key) for bucket in buckets],
        )

    @written
    def add_session(
        self,
        db: sqlite3.Connection,
        now: float,
        digest: bytes,
        subject: str,
        *,
        epoch: int,
        device: str,
        lifetime_seconds: float,
        limit: int,
    ) -> bool:
        added = db.execute(
            """
            INSERT INTO sessions (digest, subject, device, created_at, expires_at, epoch)
            SELECT ?, subject, ?, ?, ?, epoch FROM users
            WHERE subject = ? AND disabled_at IS NULL AND epoch = ?
            """,
            (digest, device, now, now + lifetime_seconds, subject, epoch),
        )
        db.execute(
            """
            DELETE FROM sessions WHERE digest IN (
                SELECT digest FROM sessions WHERE subject = :subject
                ORDER BY digest = :digest DESC, created_at DESC LIMIT -1 OFFSET :limit
            )
            """,
            {"subject": subject, "digest": digest, "limit": limit},
        )
        return added.rowcount > 0

    async def get_session(self, digest: bytes) -> Session | None:
        return self._file.one(Session, _SESSIONS, digest=digest, subject=None)

    @written
    def end_session(self, db: sqlite3.Connection, now: float, digest: bytes) -> None:
        db.execute("DELETE FROM sessions WHERE digest = ?", (digest,))

    async def list_sessions(self, subject: str) -> list[Session]:
        return self._file.all(Session, _SESSIONS, digest=None, subject=subject)
