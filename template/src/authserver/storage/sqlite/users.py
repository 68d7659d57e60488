"""Users and invitations, in SQLite."""

import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import asdict, replace

from authserver.model.records import Invitation, User
from authserver.storage.rows import folded, record, text
from authserver.storage.sqlite.file import Kept, written
from authserver.storage.sqlite.revoking import end_access, revoke, sweep_all
from authserver.storage.users import OPERATOR, Ending, NewCredential, Users


class SQLiteUsers(Kept, Users):
    """The tables `users`, whose rows take with them what hangs off them, and `invitations`."""

    async def get(self, name: str) -> User | None:
        return self._file.one(User, "SELECT * FROM users WHERE folded_name = :name", name=folded(name))

    async def get_by_subject(self, subject: str) -> User | None:
        return self._file.one(User, "SELECT * FROM users WHERE subject = :subject", subject=subject)

    async def all(self) -> list[User]:
        return self._file.all(User, "SELECT * FROM users ORDER BY created_at")

    @written
    def add(self, db: sqlite3.Connection, now: float, name: str, *, scopes: Sequence[str] | None) -> User:
        return _made(db, now, name, subject=str(uuid.uuid4()), scopes=text(scopes))

    @written
    def rename(self, db: sqlite3.Connection, now: float, name: str, new_name: str) -> bool:
        renamed = db.execute(
            "UPDATE OR IGNORE users SET name = ?, folded_name = ? WHERE folded_name = ?",
            (new_name, folded(new_name), folded(name)),
        )
        return renamed.rowcount > 0

    @written
    def set_scopes(self, db: sqlite3.Connection, now: float, name: str, scopes: Sequence[str] | None) -> bool:
        changed = db.execute(
            "UPDATE users SET scopes = ? WHERE folded_name = ?", (text(scopes), folded(name))
        )
        return changed.rowcount > 0

    @written
    def disable(self, db: sqlite3.Connection, now: float, name: str, *, by: str = OPERATOR) -> bool:
        row = db.execute(
            """
            UPDATE users SET
                disabled_at = coalesce(disabled_at, :now),
                disabled_by = CASE :by WHEN :operator THEN :by ELSE coalesce(disabled_by, :by) END
            WHERE folded_name = :name
            RETURNING subject
            """,
            {"now": now, "by": by, "operator": OPERATOR, "name": folded(name)},
        ).fetchone()
        if row is None:
            return False
        end_access(db, now, row["subject"], grants=True)
        return True

    @written
    def enable(self, db: sqlite3.Connection, now: float, name: str, *, by: str = OPERATOR) -> bool:
        enabled = db.execute(
            """
            UPDATE users SET disabled_at = NULL, disabled_by = NULL
            WHERE folded_name = :name AND (:by = :operator OR disabled_by IS :by)
            """,
            {"by": by, "operator": OPERATOR, "name": folded(name)},
        )
        return enabled.rowcount > 0

    async def delete(self, name: str) -> bool:
        if (user := await self.get(name)) and await self.disable(name):
            await sweep_all(self._file, subject=user.subject)
        return await self._delete(name)

    @written
    def _delete(self, db: sqlite3.Connection, now: float, name: str) -> bool:
        """Delete the user, and what they allowed in the meantime."""
        db.execute("DELETE FROM invitations WHERE folded_name = ?", (folded(name),))
        row = db.execute("SELECT subject FROM users WHERE folded_name = ?", (folded(name),)).fetchone()
        if row is None:
            return False
        revoke(db, now, subject=row["subject"])
        db.execute("DELETE FROM users WHERE subject = ?", (row["subject"],))
        return True

    @written
    def end_access(
        self,
        db: sqlite3.Connection,
        now: float,
        subject: str,
        ending: Ending,
    ) -> int | None:
        values = {"subject": subject, "epoch": ending.epoch, "session": ending.session, "now": now}
        may = db.execute(
            """
            SELECT 1 FROM users AS u
            WHERE u.subject = :subject AND (:epoch IS NULL OR u.epoch = :epoch)
            AND (:session IS NULL OR EXISTS (
                SELECT 1 FROM sessions AS s
                WHERE s.digest = :session AND s.subject = u.subject AND s.epoch = u.epoch
                AND s.expires_at > :now AND u.disabled_at IS NULL
            ))
            """,
            values,
        ).fetchone()
        if may is None or (ending.put is not None and not _put(db, subject, ending.put)):
            return None
        deleted = [_delete(db, subject, kind, ending.beside) for kind in ending.delete]
        if ending.beside is not None and not any(deleted):
            return None
        kept = ending.session if ending.keep else None
        return end_access(db, now, subject, keep=kept, grants=ending.grants)

    @written
    def add_invitation(
        self,
        db: sqlite3.Connection,
        now: float,
        digest: bytes,
        name: str | None,
        *,
        scopes: Sequence[str] | None,
        lifetime_seconds: float,
    ) -> bool:
        if name is None and _any_user(db):
            return False
        folded_name = None if name is None else folded(name)
        db.execute("DELETE FROM invitations WHERE folded_name IS ?", (folded_name,))
        db.execute(
            """
            INSERT INTO invitations (digest, subject, folded_name, name, scopes, expires_at)
            VALUES (?, ?, ?, ?, ?, ?)
            """,
            (digest, str(uuid.uuid4()), folded_name, name, text(scopes), now + lifetime_seconds),
        )
        return True

    async def get_invitation(self, digest: bytes) -> Invitation | None:
        return self._file.one(
            Invitation,
            """
            SELECT i.name, coalesce(u.subject, i.subject) AS subject
            FROM invitations AS i LEFT JOIN users AS u USING (folded_name)
            WHERE i.digest = :digest AND i.expires_at > :now
            AND (i.name IS NOT NULL OR NOT EXISTS (SELECT 1 FROM users))
            """,
            digest=digest,
        )

    @written
    def claim_invitation(
        self,
        db: sqlite3.Connection,
        now: float,
        digest: bytes,
        *,
        name: str,
        credential: tuple[str, bytes] | None,
        grants: bool = False,
    ) -> User | None:
        invitation = db.execute(
            "DELETE FROM invitations WHERE digest = ? AND expires_at > ? RETURNING *", (digest, now)
        ).fetchone()
        if invitation is None:
            return None
        first = not _any_user(db)
        if invitation["name"] is None and not first:
            return None
        user = _made(
            db,
            now,
            invitation["name"] or name,
            subject=invitation["subject"],
            scopes=invitation["scopes"] if first else None,
        )
        if user.disabled_at is not None:
            return None
        if credential is not None:
            db.execute(
                """
                INSERT INTO credentials (subject, kind, value, counter) VALUES (?, ?, ?, 1)
                ON CONFLICT DO UPDATE SET value = excluded.value, counter = counter + 1
                """,
                (user.subject, *credential),
            )
        if user.subject == invitation["subject"]:
            return user  # it is new: nothing was begun with it
        return replace(user, epoch=end_access(db, now, user.subject, grants=grants))


def _any_user(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None


def _put(db: sqlite3.Connection, subject: str, credential: NewCredential) -> bool:
    """Store a credential if the one before it has the counter that it names."""
    put = db.execute(
        """
        INSERT INTO credentials (subject, kind, value, counter)
        SELECT :subject, :kind, :value, :counter + 1
        WHERE :counter = coalesce(
            (SELECT counter FROM credentials WHERE subject = :subject AND kind = :kind), 0)
        ON CONFLICT DO UPDATE SET value = excluded.value, counter = excluded.counter
        """,
        asdict(credential) | {"subject": subject},
    )
    return put.rowcount > 0


def _delete(db: sqlite3.Connection, subject: str, kind: str, beside: str | None) -> bool:
    """Delete the credential of a kind, or all whose kinds begin so, up to a colon."""
    deleted = db.execute(
        """
        DELETE FROM credentials
        WHERE subject = :subject
        AND (kind = :kind OR (:kind LIKE '%:' AND substr(kind, 1, length(:kind)) = :kind))
        AND (:beside IS NULL OR EXISTS (
            SELECT 1 FROM credentials AS other
            WHERE other.subject = :subject AND other.kind <> :kind
            AND substr(other.kind, 1, length(:beside)) = :beside
        ))
        """,
        {"subject": subject, "kind": kind, "beside": beside},
    )
    return deleted.rowcount > 0


def _made(db: sqlite3.Connection, now: float, name: str, *, subject: str, scopes: str | None) -> User:
    """Return the user of that name, making one where there is none."""
    db.execute(
        """
        INSERT INTO users (subject, folded_name, name, scopes, created_at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (folded_name) DO NOTHING
        """,
        (subject, folded(name), name, scopes, now),
    )
    return record(User, db.execute("SELECT * FROM users WHERE folded_name = ?", (folded(name),)).fetchone())
