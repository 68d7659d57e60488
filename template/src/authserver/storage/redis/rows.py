"""Rows that scripts answer, as the records that they are. A column that is null is missing."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from authserver.model.records import (
    AccessToken,
    AuthorizationCode,
    AuthorizationRequest,
    Client,
    Credential,
    Grant,
    RefreshToken,
    Session,
    User,
)
from authserver.storage import Issued

Columns = Mapping[str, Any]


def scopes(text: str | None) -> tuple[str, ...] | None:
    """Return scopes as a tuple; None stays None."""
    return None if text is None else tuple(text.split())


def text(scopes: Sequence[str] | None) -> str | None:
    """Return scopes as they are stored."""
    return None if scopes is None else " ".join(scopes)


def user(row: Columns) -> User:
    """Return the user of a row."""
    return User(
        subject=row["subject"],
        name=row["name"],
        scopes=scopes(row.get("scopes")),
        created_at=row["created_at"],
        disabled_at=row.get("disabled_at"),
        disabled_by=row.get("disabled_by"),
    )


def client(row: Columns) -> Client:
    """Return the client of a row."""
    return Client(
        client_id=row["client_id"],
        metadata=json.loads(row["metadata"]),
        secret_digest=row.get("secret_digest"),
        address=row["address"],
        created_at=row["created_at"],
        approved_at=row.get("approved_at"),
        completed_at=row.get("completed_at"),
    )


def credential(row: Columns) -> Credential:
    """Return the credential of a row."""
    return Credential(value=row["value"], counter=row["counter"])


def session(row: Columns) -> Session:
    """Return the session of a row, joined with its user."""
    return Session(
        digest=row["digest"],
        device=row["device"],
        subject=row["subject"],
        user_name=row["user_name"],
        entitlement=scopes(row.get("entitlement")),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )


def authorization_request(row: Columns) -> AuthorizationRequest:
    """Return the authorization request of a row."""
    return AuthorizationRequest(
        client_id=row["client_id"],
        redirect_uri=row["redirect_uri"],
        redirect_uri_explicit=row["redirect_uri_explicit"],
        state=row.get("state"),
        scopes=tuple(row["scopes"].split()),
        code_challenge=row["code_challenge"],
        resource=row["resource"],
        address=row["address"],
    )


def grant(row: Columns) -> Grant:
    """Return the living grant of a row, joined with its user."""
    return Grant(
        grant_id=row["grant_id"],
        client_id=row["client_id"],
        subject=row["subject"],
        user_name=row["user_name"],
        scopes=tuple(row["scopes"].split()),
        resource=row["resource"],
        redirect_uri=row["redirect_uri"],
        created_at=row["created_at"],
        used_at=row["used_at"],
        expires_at=row["expires_at"],
        revoked_at=None,
    )


def code(row: Columns) -> AuthorizationCode:
    """Return the code of a row, joined with its grant."""
    return AuthorizationCode(
        grant_id=row["grant_id"],
        client_id=row["client_id"],
        subject=row["subject"],
        scopes=tuple(row["scopes"].split()),
        resource=row["resource"],
        redirect_uri=row["redirect_uri"],
        redirect_uri_explicit=row["redirect_uri_explicit"],
        code_challenge=row["code_challenge"],
        expires_at=row["expires_at"],
    )


def refresh_token(row: Columns) -> RefreshToken:
    """Return the refresh token of a row, joined with its grant and user."""
    return RefreshToken(
        grant_id=row["grant_id"],
        client_id=row["client_id"],
        subject=row["subject"],
        scopes=tuple(row["scopes"].split()),
        entitlement=scopes(row.get("entitlement")),
        resource=row["resource"],
        expires_at=row["expires_at"],
    )


def access_token(row: Columns) -> AccessToken:
    """Return the access token of a row, joined with its living grant."""
    return AccessToken(
        grant_id=row["grant_id"],
        client_id=row["client_id"],
        subject=row["subject"],
        user_name=row["user_name"],
        scopes=tuple(row["scopes"].split()),
        entitlement=scopes(row.get("entitlement")),
        resource=row["resource"],
        expires_at=row["expires_at"],
    )


def issued(row: Columns) -> Issued:
    """Return what an issued token says."""
    return Issued(
        grant_id=row["grant_id"],
        client_id=row["client_id"],
        subject=row["subject"],
        user_name=row["user_name"],
        scopes=tuple(row["scopes"].split()),
        resource=row["resource"],
        issued_at=row["issued_at"],
        expires_at=row["expires_at"],
    )
