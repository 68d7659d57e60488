"""Credentials, tickets, limits on attempts, sessions. For the functions see functions/sign_ins.sql."""

from collections.abc import Collection, Sequence

from authserver.model.records import Credential, Session
from authserver.storage.postgresql.connections import Subject
from authserver.storage.rows import record
from authserver.storage.sign_ins import Bucket, SignIns


class PostgreSQLSignIns(Subject, SignIns):
    """What logins keep in a database."""

    async def get_credential(self, subject: str, kind: str) -> Credential | None:
        return await self._record(
            Credential,
            "SELECT value, counter FROM authserver.credentials WHERE subject = $1 AND kind = $2",
            subject,
            kind,
            repeatable=True,
        )

    async def put_credential(self, subject: str, kind: str, value: bytes, *, counter: int) -> bool:
        first = """
            INSERT INTO authserver.credentials (subject, kind, value, counter)
            SELECT subject, $2, $3, $4 + 1 FROM authserver.users WHERE subject = $1 FOR KEY SHARE
            ON CONFLICT DO NOTHING
            RETURNING true
            """
        later = """
            UPDATE authserver.credentials SET value = $3, counter = counter + 1
            WHERE subject = $1 AND kind = $2 AND counter = $4
            RETURNING true
            """
        return await self._said(first if counter == 0 else later, subject, kind, value, counter)

    async def list_credentials(self, subject: str) -> dict[str, Credential]:
        rows = await self._run(
            "SELECT kind, value, counter FROM authserver.credentials WHERE subject = $1 ORDER BY kind",
            subject,
            repeatable=True,
        )
        return {row["kind"]: record(Credential, row) for row in rows}

    async def add_ticket(self, digest: bytes, value: bytes, *, lifetime_seconds: float) -> None:
        await self._run(
            """
            INSERT INTO authserver.tickets (digest, value, expires_at)
            VALUES ($1, $2, authserver.now() + $3)
            """,
            digest,
            value,
            lifetime_seconds,
        )

    async def take_ticket(self, digest: bytes) -> bytes | None:
        value: bytes | None = await self._value(
            """
            DELETE FROM authserver.tickets
            WHERE digest = $1 AND expires_at > authserver.now()
            RETURNING value
            """,
            digest,
        )
        return value

    async def take_attempt(self, buckets: Sequence[Bucket]) -> float:
        return float(
            await self._value(
                "SELECT authserver.take_attempt($1, $2, $3)",
                [bucket.key for bucket in buckets],
                [bucket.burst for bucket in buckets],
                [bucket.interval_seconds for bucket in buckets],
            )
        )

    async def used_buckets(self, keys: Collection[bytes]) -> set[bytes]:
        rows = await self._run(
            """
            SELECT key FROM authserver.buckets
            WHERE key = ANY ($1::bytea[]) AND full_at > authserver.now()
            """,
            list(keys),
            repeatable=True,
        )
        return {key for [key] in rows}

    async def return_attempt(self, buckets: Sequence[Bucket]) -> None:
        await self._run(
            "SELECT authserver.return_attempt($1, $2)",
            [bucket.key for bucket in buckets],
            [bucket.interval_seconds for bucket in buckets],
        )

    async def add_session(
        self, digest: bytes, subject: str, *, epoch: int, device: str, lifetime_seconds: float, limit: int
    ) -> bool:
        return await self._said(
            "SELECT authserver.add_session($1, $2, $3, $4, $5, $6)",
            digest,
            subject,
            epoch,
            device,
            lifetime_seconds,
            limit,
            repeatable=True,
        )

    async def get_session(self, digest: bytes) -> Session | None:
        return await self._record(
            Session,
            """
            SELECT
                s.digest, s.device, s.subject, u.name AS user_name, u.scopes AS entitlement, s.epoch,
                s.created_at, s.expires_at
            FROM authserver.sessions AS s
            JOIN authserver.users AS u USING (subject)
            WHERE s.digest = $1 AND s.expires_at > authserver.now() AND u.disabled_at IS NULL
            AND s.epoch = u.epoch
            """,
            digest,
            repeatable=True,
        )

    async def end_session(self, digest: bytes) -> None:
        await self._run("DELETE FROM authserver.sessions WHERE digest = $1", digest, repeatable=True)

    async def list_sessions(self, subject: str) -> list[Session]:
        return await self._records(
            Session,
            """
            SELECT
                s.digest, s.device, s.subject, u.name AS user_name, u.scopes AS entitlement, s.epoch,
                s.created_at, s.expires_at
            FROM authserver.sessions AS s
            JOIN authserver.users AS u USING (subject)
            WHERE s.subject = $1 AND s.expires_at > authserver.now() AND u.disabled_at IS NULL
            AND s.epoch = u.epoch
            ORDER BY s.created_at
            """,
            subject,
        )
