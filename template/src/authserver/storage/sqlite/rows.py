"""Rows of the tables, as the records that they are."""

import json
import sqlite3
from collections.abc import Sequence

from authserver.model.records import AuthorizationRequest, Client, Session, User
from authserver.storage import Issued


def scopes(text: str | None) -> tuple[str, ...] | None:
    """Return scopes as a tuple; None stays None."""
    return None if text is None else tuple(text.split())


def text(scopes: Sequence[str] | None) -> str | None:
    """Return scopes as they are stored."""
    return None if scopes is None else " ".join(scopes)


def user(row: sqlite3.Row) -> User:
    """Return the user of a row."""
    return User(
        subject=row["subject"],
        name=row["name"],
        scopes=scopes(row["scopes"]),
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
        disabled_by=row["disabled_by"],
    )


def client(row: sqlite3.Row) -> Client:
    """Return the client of a row."""
    return Client(
        client_id=row["client_id"],
        metadata=json.loads(row["metadata"]),
        secret_digest=row["secret_digest"],
        address=row["address"],
        created_at=row["created_at"],
        approved_at=row["approved_at"],
        completed_at=row["completed_at"],
    )


def authorization_request(row: sqlite3.Row) -> AuthorizationRequest:
    """Return the authorization request of a row."""
    return AuthorizationRequest(
        client_id=row["client_id"],
        redirect_uri=row["redirect_uri"],
        redirect_uri_explicit=bool(row["redirect_uri_explicit"]),
        state=row["state"],
        scopes=tuple(row["scopes"].split()),
        code_challenge=row["code_challenge"],
        resource=row["resource"],
        address=row["address"],
    )


def session(row: sqlite3.Row) -> Session:
    """Return the session of a row, joined with its user."""
    return Session(
        digest=row["digest"],
        device=row["device"],
        subject=row["subject"],
        user_name=row["name"],
        entitlement=scopes(row["scopes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )


def issued(grant: sqlite3.Row, scopes: Sequence[str], issued_at: float, expires_at: float) -> Issued:
    """Return what a token of a living grant says."""
    return Issued(
        grant_id=grant["grant_id"],
        client_id=grant["client_id"],
        subject=grant["subject"],
        user_name=grant["user_name"],
        scopes=tuple(scopes),
        resource=grant["resource"],
        issued_at=issued_at,
        expires_at=expires_at,
    )


SESSIONS = (
    "SELECT s.*, u.name, u.scopes FROM sessions AS s JOIN users AS u USING (subject)"
    " WHERE s.expires_at > :now AND u.disabled_at IS NULL"
)
