"""Requests, grants, codes and tokens, in SQLite."""

import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import asdict

from authserver import clock
from authserver.model.records import (
    AccessToken,
    AuthorizationCode,
    AuthorizationRequest,
    Grant,
    RefreshToken,
    Revocation,
)
from authserver.storage.grants import Grants, Rotation
from authserver.storage.rows import record, redemption, rotated, text
from authserver.storage.sqlite.buckets import take
from authserver.storage.sqlite.file import File, Kept, written
from authserver.storage.sqlite.revoking import revoke
from authserver.storage.sqlite.tokens import GOES_ON, forget_spent, living_tokens, store_tokens
from authserver.storage.verdicts import (
    Gone,
    Lifetimes,
    Limited,
    NewTokens,
    Redeemed,
    Replayed,
    Reused,
    Rotated,
)

_HEAVIEST_CLIENTS_YOUNGEST = """
    DELETE FROM authorization_requests WHERE digest = (
        SELECT digest FROM (
            SELECT digest, expires_at,
                count(*) OVER (PARTITION BY client_id) + (client_id = :client_id) AS weight
            FROM authorization_requests WHERE address = :address AND expires_at > :now
        )
        ORDER BY weight DESC, expires_at DESC LIMIT 1
    )
"""


class SQLiteGrants(Kept, Grants):
    """The view `living_grants` joins grant, user and client: what it does not show is not alive."""

    def __init__(self, file: File) -> None:
        super().__init__(file)
        self._living = living_tokens(file)

    @written
    def add_request(
        self,
        db: sqlite3.Connection,
        now: float,
        digest: bytes,
        request: AuthorizationRequest,
        *,
        lifetime_seconds: float,
        limit: int,
    ) -> bool:
        waiting = db.execute(
            "SELECT count(*) FROM authorization_requests WHERE address = ? AND expires_at > ?",
            (request.address, now),
        ).fetchone()[0]
        if waiting >= limit:
            db.execute(_HEAVIEST_CLIENTS_YOUNGEST, asdict(request) | {"now": now})
        added = db.execute(
            """
            INSERT INTO authorization_requests (
                digest, client_id, redirect_uri, redirect_uri_explicit, state, scopes, code_challenge,
                resource, address, expires_at
            )
            SELECT
                :digest, client_id, :redirect_uri, :redirect_uri_explicit, :state, :scopes, :code_challenge,
                :resource, :address, :expires_at
            FROM clients WHERE client_id = :client_id
            """,
            asdict(request)
            | {"digest": digest, "scopes": text(request.scopes), "expires_at": now + lifetime_seconds},
        )
        return added.rowcount > 0

    async def get_request(self, digest: bytes) -> AuthorizationRequest | None:
        return self._file.one(
            AuthorizationRequest,
            "SELECT * FROM authorization_requests WHERE digest = :digest AND expires_at > :now",
            digest=digest,
        )

    @written
    def take_request(self, db: sqlite3.Connection, now: float, digest: bytes) -> AuthorizationRequest | None:
        return _taken(db, now, digest)

    @written
    def create(
        self,
        db: sqlite3.Connection,
        now: float,
        request: bytes,
        *,
        session: bytes,
        scopes: Sequence[str],
        grant_seconds: float,
        code: bytes,
        code_seconds: float,
        remember_seconds: float = 0,
    ) -> AuthorizationRequest | None:
        alive = db.execute(
            """
            SELECT subject FROM sessions JOIN users USING (subject, epoch)
            WHERE digest = ? AND expires_at > ? AND disabled_at IS NULL
            """,
            (session, now),
        ).fetchone()
        taken = _taken(db, now, request) if alive else None
        if taken is None:
            return None
        values = asdict(taken) | {
            "grant_id": str(uuid.uuid4()),
            "subject": alive["subject"],
            "scopes": text(scopes),
            "now": now,
            "expires_at": now + grant_seconds,
            "remembered_until": now + remember_seconds,
            "code": code,
            "code_expires_at": now + code_seconds,
        }
        db.execute(
            """
            INSERT INTO grants (
                grant_id, client_id, subject, scopes, resource, redirect_uri, created_at, used_at, expires_at,
                access_until, remembered_until
            ) VALUES (
                :grant_id, :client_id, :subject, :scopes, :resource, :redirect_uri, :now, :now, :expires_at,
                :now, :remembered_until
            )
            """,
            values,
        )
        db.execute(
            """
            INSERT INTO codes (digest, grant_id, redirect_uri_explicit, code_challenge, expires_at)
            VALUES (:code, :grant_id, :redirect_uri_explicit, :code_challenge, :code_expires_at)
            """,
            values,
        )
        return taken

    async def recall_consent(self, request: AuthorizationRequest, *, subject: str) -> bool:
        found = self._file.read(
            """
            SELECT scopes FROM living_grants
            WHERE subject = :subject AND client_id = :client_id
            AND redirect_uri = :redirect_uri AND resource = :resource
            AND expires_at > :now AND remembered_until > :now
            """,
            subject=subject,
            client_id=request.client_id,
            redirect_uri=request.redirect_uri,
            resource=request.resource,
        )
        return any(set(request.scopes) <= set(row["scopes"].split()) for row in found)

    async def get_code(self, digest: bytes) -> AuthorizationCode | None:
        return self._file.one(
            AuthorizationCode,
            """
            SELECT c.*, g.client_id, g.subject, g.scopes, g.resource, g.redirect_uri
            FROM codes AS c JOIN grants AS g USING (grant_id)
            WHERE c.digest = :digest AND c.expires_at > :now
            """,
            digest=digest,
        )

    @written
    def redeem_code(
        self,
        db: sqlite3.Connection,
        now: float,
        digest: bytes,
        *,
        attempt: bytes,
        tokens: NewTokens,
        lifetimes: Lifetimes,
    ) -> Redeemed | Replayed | Gone:
        values = asdict(tokens) | asdict(lifetimes) | {"now": now, "digest": digest, "attempt": attempt}
        row = db.execute(
            """
            SELECT
                g.grant_id, g.client_id, g.subject, g.user_name, g.scopes, g.resource,
                coalesce(c.spent_at, :now) AS issued_at,
                coalesce(c.access_expires_at, min(:now + :access_token_seconds, g.expires_at)) AS expires_at,
                CASE
                    WHEN c.attempt IS NULL THEN 'first'
                    WHEN c.attempt = :attempt THEN 'repeated'
                    ELSE 'replayed'
                END AS verdict
            FROM codes AS c JOIN living_grants AS g USING (grant_id)
            WHERE c.digest = :digest AND c.expires_at > :now AND g.expires_at > :now
            """,
            values,
        ).fetchone()
        match row and row["verdict"]:
            case "first":
                values |= dict(row)
                db.execute(
                    """
                    UPDATE codes SET attempt = :attempt, spent_at = :now, access_expires_at = :expires_at
                    WHERE digest = :digest
                    """,
                    values,
                )
                store_tokens(db, tokens, values)
                db.execute(
                    """
                    UPDATE clients SET completed_at = coalesce(completed_at, :now)
                    WHERE client_id = :client_id
                    """,
                    values,
                )
            case "replayed":
                revoke(db, now, grant_id=row["grant_id"])
        return redemption(row)

    async def get_refresh_token(self, digest: bytes) -> RefreshToken | None:
        return self._file.one(
            RefreshToken,
            """
            SELECT r.*, g.client_id, g.subject, g.scopes, g.resource, u.scopes AS entitlement
            FROM refresh_tokens AS r JOIN grants AS g USING (grant_id) JOIN users AS u USING (subject)
            WHERE r.digest = :digest AND r.expires_at > :now
            """,
            digest=digest,
        )

    async def get_forgotten(self, grant_id: str) -> RefreshToken | None:
        return self._file.one(RefreshToken, GOES_ON, grant_id=grant_id)

    @written
    def revoke_forgotten(self, db: sqlite3.Connection, now: float, digest: bytes, grant_id: str) -> bool:
        stored = db.execute("SELECT 1 FROM refresh_tokens WHERE digest = ?", (digest,)).fetchone()
        goes_on = db.execute(GOES_ON, {"grant_id": grant_id, "now": now}).fetchone()
        return stored is None and goes_on is not None and revoke(db, now, grant_id=grant_id)

    @written
    def rotate_refresh_token(
        self,
        db: sqlite3.Connection,
        now: float,
        digest: bytes,
        rotation: Rotation,
    ) -> Rotated | Reused | Limited | Gone:
        values = asdict(rotation.tokens) | asdict(rotation.lifetimes)
        values |= {
            "now": now,
            "digest": digest,
            "scopes": text(rotation.scopes),
            "salt": rotation.salt,
            "replay_seconds": rotation.replay_seconds,
            "kept": rotation.kept,
        }
        row = db.execute(
            """
            SELECT
                g.grant_id, g.client_id, g.subject, g.user_name, g.resource,
                coalesce(r.access_scopes, :scopes) AS scopes,
                coalesce(r.spent_at, :now) AS issued_at,
                coalesce(r.access_expires_at, min(:now + :access_token_seconds, g.expires_at)) AS expires_at,
                coalesce(r.salt, :salt) AS salt,
                CASE
                    WHEN r.spent_at IS NULL THEN 'first'
                    WHEN r.salt = :salt THEN 'repeated'
                    WHEN r.salt IS NOT NULL AND :now - r.spent_at <= :replay_seconds THEN 'repeated'
                    ELSE 'reused'
                END AS verdict
            FROM refresh_tokens AS r JOIN living_grants AS g USING (grant_id)
            WHERE r.digest = :digest AND r.expires_at > :now AND g.expires_at > :now
            """,
            values,
        ).fetchone()
        match row and row["verdict"]:
            case "first":
                if rotation.bucket and (wait := take(db, now, [rotation.bucket])):
                    return Limited(wait_seconds=wait)
                values |= dict(row)
                db.execute(
                    """
                    UPDATE refresh_tokens
                    SET salt = :salt, spent_at = :now,
                        access_scopes = :scopes, access_expires_at = :expires_at
                    WHERE digest = :digest
                    """,
                    values,
                )
                store_tokens(db, rotation.tokens, values)
                forget_spent(db, values)
            case "reused":
                revoke(db, now, grant_id=row["grant_id"])
        return rotated(row, rotation.salt)

    @written
    def add_access_token(
        self,
        db: sqlite3.Connection,
        now: float,
        digest: bytes,
        *,
        grant_id: str,
        scopes: Sequence[str],
        expires_at: float,
    ) -> None:
        db.execute(
            """
            INSERT OR IGNORE INTO access_tokens (digest, grant_id, scopes, expires_at)
            SELECT ?, grant_id, ?, ? FROM grants WHERE grant_id = ?
            """,
            (digest, text(scopes), expires_at, grant_id),
        )

    async def get_access_token(self, digest: bytes) -> AccessToken | None:
        found = self._living.get(digest)
        return found if found is not None and found.expires_at > clock.now() else None

    async def all(self, subject: str | None = None) -> list[Grant]:
        return self._file.all(
            Grant,
            """
            SELECT * FROM living_grants
            WHERE expires_at > :now AND (:subject IS NULL OR subject = :subject)
            ORDER BY created_at
            """,
            subject=subject,
        )

    @written
    def revoke(self, db: sqlite3.Connection, now: float, grant_id: str) -> bool:
        return revoke(db, now, grant_id=grant_id)

    async def list_revocations(self, since: float | None) -> tuple[float, list[Revocation]]:
        at = clock.now()
        return at, self._file.all(
            Revocation,
            """
            SELECT grant_id, until FROM revocations
            WHERE until > :now AND (:since IS NULL OR revoked_at >= :since)
            """,
            since=since,
        )


def _taken(db: sqlite3.Connection, now: float, digest: bytes) -> AuthorizationRequest | None:
    row = db.execute(
        "DELETE FROM authorization_requests WHERE digest = ? AND expires_at > ? RETURNING *", (digest, now)
    ).fetchone()
    return row and record(AuthorizationRequest, row)
