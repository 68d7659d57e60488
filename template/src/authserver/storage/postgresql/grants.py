"""The life of a grant. What takes several steps is a function: see functions/grants.sql."""

import uuid
from collections.abc import Sequence
from dataclasses import astuple

from authserver.model.records import (
    AccessToken,
    AuthorizationCode,
    AuthorizationRequest,
    Grant,
    RefreshToken,
    Revocation,
)
from authserver.storage.grants import Grants, Rotation
from authserver.storage.postgresql.connections import Subject
from authserver.storage.rows import record, redemption, rotated, text
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


class PostgreSQLGrants(Subject, Grants):
    """The grants of a database, and what hangs off them."""

    async def add_request(
        self,
        digest: bytes,
        request: AuthorizationRequest,
        *,
        lifetime_seconds: float,
        limit: int,
    ) -> bool:
        return await self._said(
            "SELECT authserver.add_authorization_request($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            digest,
            request.client_id,
            request.redirect_uri,
            request.redirect_uri_explicit,
            request.state,
            text(request.scopes),
            request.code_challenge,
            request.resource,
            request.address,
            lifetime_seconds,
            limit,
        )

    async def get_request(self, digest: bytes) -> AuthorizationRequest | None:
        return await self._record(
            AuthorizationRequest,
            """
            SELECT
                client_id, redirect_uri, redirect_uri_explicit, state, scopes, code_challenge, resource,
                address
            FROM authserver.authorization_requests
            WHERE digest = $1 AND expires_at > authserver.now()
            """,
            digest,
            repeatable=True,
        )

    async def take_request(self, digest: bytes) -> AuthorizationRequest | None:
        return await self._record(
            AuthorizationRequest,
            """
            DELETE FROM authserver.authorization_requests
            WHERE digest = $1 AND expires_at > authserver.now()
            RETURNING
                client_id, redirect_uri, redirect_uri_explicit, state, scopes, code_challenge, resource,
                address
            """,
            digest,
        )

    async def create(
        self,
        request: bytes,
        *,
        session: bytes,
        scopes: Sequence[str],
        grant_seconds: float,
        code: bytes,
        code_seconds: float,
        remember_seconds: float = 0,
    ) -> AuthorizationRequest | None:
        return await self._record(
            AuthorizationRequest,
            """
            SELECT
                client_id, redirect_uri, redirect_uri_explicit, state, scopes, code_challenge, resource,
                address
            FROM authserver.create_grant_by_session($1, $2, $3, $4, $5, $6, $7, $8)
            """,
            request,
            str(uuid.uuid4()),
            session,
            text(scopes),
            grant_seconds,
            code,
            code_seconds,
            remember_seconds,
        )

    async def recall_consent(self, request: AuthorizationRequest, *, subject: str) -> bool:
        rows = await self._run(
            """
            SELECT scopes
            FROM authserver.living_grants
            WHERE subject = $1 AND client_id = $2 AND redirect_uri = $3 AND resource = $4
            AND expires_at > authserver.now() AND remembered_until > authserver.now()
            """,
            subject,
            request.client_id,
            request.redirect_uri,
            request.resource,
            repeatable=True,
        )
        return any(set(request.scopes) <= set(row["scopes"].split()) for row in rows)

    async def get_code(self, digest: bytes) -> AuthorizationCode | None:
        return await self._record(
            AuthorizationCode,
            """
            SELECT
                c.grant_id, g.client_id, g.subject, g.scopes, g.resource, g.redirect_uri,
                c.redirect_uri_explicit, c.code_challenge, c.expires_at
            FROM authserver.codes AS c
            JOIN authserver.grants AS g USING (grant_id)
            WHERE c.digest = $1 AND c.expires_at > authserver.now()
            """,
            digest,
            repeatable=True,
        )

    async def redeem_code(
        self, digest: bytes, *, attempt: bytes, tokens: NewTokens, lifetimes: Lifetimes
    ) -> Redeemed | Replayed | Gone:
        rows = await self._run(
            "SELECT * FROM authserver.redeem_code($1, $2, $3, $4, $5, $6)",
            digest,
            attempt,
            tokens.access,
            tokens.refresh,
            lifetimes.access_token_seconds,
            lifetimes.refresh_token_seconds,
            repeatable=True,
        )
        return redemption(rows[0] if rows else None)

    async def get_refresh_token(self, digest: bytes) -> RefreshToken | None:
        return await self._record(
            RefreshToken,
            """
            SELECT
                r.grant_id, g.client_id, g.subject, g.scopes, u.scopes AS entitlement, g.resource,
                r.expires_at
            FROM authserver.refresh_tokens AS r
            JOIN authserver.grants AS g USING (grant_id)
            JOIN authserver.users AS u USING (subject)
            WHERE r.digest = $1 AND r.expires_at > authserver.now()
            """,
            digest,
            repeatable=True,
        )

    async def get_forgotten(self, grant_id: str) -> RefreshToken | None:
        return await self._record(
            RefreshToken,
            """
            SELECT grant_id, client_id, subject, scopes, entitlement, resource, expires_at
            FROM authserver.living_grants AS g
            WHERE grant_id = $1 AND expires_at > authserver.now() AND EXISTS (
                SELECT FROM authserver.refresh_tokens AS r
                WHERE r.grant_id = g.grant_id AND r.spent_at IS NULL AND r.expires_at > authserver.now())
            """,
            grant_id,
            repeatable=True,
        )

    async def revoke_forgotten(self, digest: bytes, grant_id: str) -> bool:
        return await self._said("SELECT authserver.revoke_forgotten($1, $2)", digest, grant_id)

    async def rotate_refresh_token(
        self, digest: bytes, rotation: Rotation
    ) -> Rotated | Reused | Limited | Gone:
        rows = await self._run(
            """
            SELECT *
            FROM authserver.spend_refresh_token($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            """,
            digest,
            text(rotation.scopes),
            rotation.salt,
            rotation.replay_seconds,
            rotation.tokens.access,
            rotation.tokens.refresh,
            rotation.lifetimes.access_token_seconds,
            rotation.lifetimes.refresh_token_seconds,
            *(astuple(rotation.bucket) if rotation.bucket else (None, None, None)),
            rotation.kept,
            repeatable=True,
        )
        return rotated(rows[0] if rows else None, rotation.salt)

    async def add_access_token(
        self, digest: bytes, *, grant_id: str, scopes: Sequence[str], expires_at: float
    ) -> None:
        await self._run(
            """
            INSERT INTO authserver.access_tokens (digest, grant_id, scopes, expires_at)
            SELECT $1, grant_id, $3, $4 FROM authserver.grants WHERE grant_id = $2 FOR KEY SHARE
            ON CONFLICT DO NOTHING
            """,
            digest,
            grant_id,
            text(scopes),
            expires_at,
            repeatable=True,
        )

    async def get_access_token(self, digest: bytes) -> AccessToken | None:
        return await self._record(
            AccessToken,
            """
            SELECT
                a.grant_id, g.client_id, g.subject, g.user_name, a.scopes, g.entitlement, g.resource,
                a.expires_at
            FROM authserver.access_tokens AS a
            JOIN authserver.living_grants AS g USING (grant_id)
            WHERE a.digest = $1 AND a.expires_at > authserver.now() AND g.expires_at > authserver.now()
            """,
            digest,
            repeatable=True,
        )

    async def all(self, subject: str | None = None) -> list[Grant]:
        return await self._records(
            Grant,
            """
            SELECT
                grant_id, client_id, subject, user_name, scopes, resource, redirect_uri, created_at, used_at,
                expires_at, revoked_at
            FROM authserver.living_grants
            WHERE expires_at > authserver.now() AND subject = coalesce($1, subject)
            ORDER BY created_at
            """,
            subject,
        )

    async def revoke(self, grant_id: str) -> bool:
        return await self._said("SELECT authserver.revoke_grant($1)", grant_id)

    async def list_revocations(self, since: float | None) -> tuple[float, list[Revocation]]:
        # A row with the time even where nothing was revoked.
        rows = await self._run(
            """
            SELECT told.now, grant_id, until
            FROM (SELECT authserver.now() AS now) AS told
            LEFT JOIN authserver.revocations
            ON until > told.now AND revoked_at >= coalesce($1, '-Infinity'::double precision)
            """,
            since,
            repeatable=True,
        )
        return rows[0]["now"], [record(Revocation, row) for row in rows if row["grant_id"] is not None]
