"""Accounts and invitations. What takes several steps is a function: see functions/users.sql."""

import uuid
from collections.abc import Sequence
from dataclasses import astuple

from authserver.model.records import Invitation, User
from authserver.storage.postgresql.connections import Subject
from authserver.storage.rows import folded, record, text
from authserver.storage.users import OPERATOR, Ending, Users


class PostgreSQLUsers(Subject, Users):
    """The users of a database."""

    async def get(self, name: str) -> User | None:
        return await self._record(
            User,
            """
            SELECT subject, name, scopes, created_at, disabled_at, disabled_by, epoch
            FROM authserver.users
            WHERE folded_name = $1
            """,
            folded(name),
            repeatable=True,
        )

    async def get_by_subject(self, subject: str) -> User | None:
        return await self._record(
            User,
            """
            SELECT subject, name, scopes, created_at, disabled_at, disabled_by, epoch
            FROM authserver.users
            WHERE subject = $1
            """,
            subject,
            repeatable=True,
        )

    async def all(self) -> list[User]:
        return await self._records(
            User,
            """
            SELECT subject, name, scopes, created_at, disabled_at, disabled_by, epoch
            FROM authserver.users
            ORDER BY created_at
            """,
        )

    async def add(self, name: str, *, scopes: Sequence[str] | None) -> User:
        [row] = await self._run(
            """
            INSERT INTO authserver.users AS stored (subject, folded_name, name, scopes, created_at)
            VALUES ($1, $2, $3, $4, authserver.now())
            ON CONFLICT (folded_name) DO UPDATE SET name = stored.name
            RETURNING subject, name, scopes, created_at, disabled_at, disabled_by, epoch
            """,
            str(uuid.uuid4()),
            folded(name),
            name,
            text(scopes),
            repeatable=True,
        )
        return record(User, row)

    async def rename(self, name: str, new_name: str) -> bool:
        return await self._said(
            "SELECT authserver.rename_user($1, $2, $3)", folded(name), new_name, folded(new_name)
        )

    async def set_scopes(self, name: str, scopes: Sequence[str] | None) -> bool:
        return await self._said(
            "UPDATE authserver.users SET scopes = $2 WHERE folded_name = $1 RETURNING true",
            folded(name),
            text(scopes),
            repeatable=True,
        )

    async def disable(self, name: str, *, by: str = OPERATOR) -> bool:
        return await self._said(
            "SELECT authserver.disable_user($1, $2, $3)",
            folded(name),
            by,
            by == OPERATOR,
            repeatable=True,
        )

    async def enable(self, name: str, *, by: str = OPERATOR) -> bool:
        return await self._said(
            """
            UPDATE authserver.users SET disabled_at = NULL, disabled_by = NULL
            WHERE folded_name = $1 AND ($3 OR disabled_by = $2)
            RETURNING true
            """,
            folded(name),
            by,
            by == OPERATOR,
            repeatable=by == OPERATOR,
        )

    async def delete(self, name: str) -> bool:
        """Delete the user, and what they allowed in the meantime."""
        if (user := await self.get(name)) and await self.disable(name):
            await self._sweep(subject=user.subject)
        return await self._said("SELECT authserver.delete_user($1)", folded(name))

    async def end_access(self, subject: str, ending: Ending) -> int | None:
        conditions = (ending.epoch, ending.session, ending.put, ending.beside)
        moved: int | None = await self._value(
            "SELECT authserver.end_access($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            subject,
            ending.epoch,
            ending.session,
            ending.keep,
            *(astuple(ending.put) if ending.put else (None, None, None)),
            ending.delete,
            ending.beside,
            ending.grants,
            repeatable=all(condition is None for condition in conditions),
        )
        return moved

    async def add_invitation(
        self,
        digest: bytes,
        name: str | None,
        *,
        scopes: Sequence[str] | None,
        lifetime_seconds: float,
    ) -> bool:
        return await self._said(
            "SELECT authserver.add_invitation($1, $2, $3, $4, $5, $6)",
            digest,
            str(uuid.uuid4()),
            None if name is None else folded(name),
            name,
            text(scopes),
            lifetime_seconds,
            repeatable=True,
        )

    async def get_invitation(self, digest: bytes) -> Invitation | None:
        return await self._record(
            Invitation,
            """
            SELECT i.name, coalesce(u.subject, i.subject) AS subject
            FROM authserver.invitations AS i
            LEFT JOIN authserver.users AS u USING (folded_name)
            WHERE i.digest = $1 AND i.expires_at > authserver.now()
            AND (i.name IS NOT NULL OR NOT EXISTS (SELECT FROM authserver.users))
            """,
            digest,
            repeatable=True,
        )

    async def claim_invitation(
        self, digest: bytes, *, name: str, credential: tuple[str, bytes] | None, grants: bool = False
    ) -> User | None:
        return await self._record(
            User,
            """
            SELECT subject, name, scopes, created_at, disabled_at, disabled_by, epoch
            FROM authserver.claim_link($1, $2, $3, $4, $5, $6)
            """,
            digest,
            folded(name),
            name,
            *(credential or (None, None)),
            grants,
        )
