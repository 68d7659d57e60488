"""Tokens of a grant: how they are stored, and how spent ones are forgotten."""

import sqlite3
from collections.abc import Mapping
from typing import Any

from authserver import limits
from authserver.model.records import AccessToken
from authserver.storage.sqlite.file import File, Found
from authserver.storage.verdicts import NewTokens

GOES_ON = """
    SELECT g.* FROM living_grants AS g
    WHERE g.grant_id = :grant_id AND g.expires_at > :now AND EXISTS (
        SELECT 1 FROM refresh_tokens AS r
        WHERE r.grant_id = g.grant_id AND r.spent_at IS NULL AND r.expires_at > :now
    )
"""
"""Finds a living grant that has a refresh token which is not spent."""


def store_tokens(db: sqlite3.Connection, tokens: NewTokens, values: Mapping[str, Any]) -> None:
    """Store new tokens of a grant."""
    if tokens.refresh is not None:
        db.execute(
            """
            INSERT INTO refresh_tokens (digest, grant_id, expires_at)
            SELECT :refresh, grant_id, min(:now + :refresh_token_seconds, expires_at)
            FROM grants WHERE grant_id = :grant_id
            """,
            values,
        )
    db.execute(
        """
        UPDATE grants SET used_at = :now, access_until = max(access_until, :expires_at)
        WHERE grant_id = :grant_id
        """,
        values,
    )
    if tokens.access is not None:
        db.execute(
            """
            INSERT INTO access_tokens (digest, grant_id, scopes, expires_at)
            VALUES (:access, :grant_id, :scopes, :expires_at)
            """,
            values,
        )


def forget_spent(db: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    """Delete spent refresh tokens of a grant beyond those that are kept, two for each that is added."""
    db.execute(
        """
        DELETE FROM refresh_tokens WHERE digest IN (
            SELECT digest FROM refresh_tokens
            WHERE grant_id = :grant_id AND spent_at < :now - :replay_seconds AND spent_at <= (
                SELECT spent_at FROM refresh_tokens WHERE grant_id = :grant_id AND spent_at IS NOT NULL
                ORDER BY spent_at DESC LIMIT 1 OFFSET :kept
            )
            ORDER BY spent_at LIMIT 2
        )
        """,
        values,
    )


def living_tokens(file: File) -> Found[AccessToken]:
    """Return access tokens by their digests: of living grants, also those that have expired."""
    return Found(file, AccessToken, _LIVING, room=limits.VERIFIED_TOKENS)


_LIVING = """
    SELECT a.grant_id, a.scopes, min(a.expires_at, g.expires_at) AS expires_at,
        g.client_id, g.subject, g.user_name, g.entitlement, g.resource
    FROM access_tokens AS a JOIN living_grants AS g USING (grant_id)
    WHERE a.digest = :key
"""
