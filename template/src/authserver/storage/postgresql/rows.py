"""Rows of the tables, as the records that they are: a column for each field."""

import json
from collections.abc import Sequence
from typing import TypeVar

import asyncpg

from authserver.model.records import Client
from authserver.storage import Issued

T = TypeVar("T")

CLIENT = "SELECT client_id, metadata, secret_digest, address, created_at, approved_at, completed_at"
USER = "SELECT subject, name, scopes, created_at, disabled_at, disabled_by"
AUTHORIZATION_REQUEST = (
    "SELECT client_id, redirect_uri, redirect_uri_explicit, state, scopes, code_challenge, resource, address"
)
SESSIONS = (
    "SELECT s.digest, s.device, s.subject, u.name AS user_name, u.scopes AS entitlement, s.created_at,"
    " s.expires_at"
    " FROM authserver.sessions AS s JOIN authserver.users AS u USING (subject)"
    " WHERE s.expires_at > authserver.now() AND u.disabled_at IS NULL"
)

_SCOPES = {"scopes", "entitlement"}


def record(kind: type[T], row: asyncpg.Record) -> T:
    """Return the record of a row; scopes are text in the database."""
    return kind(
        **{
            name: tuple(value.split()) if name in _SCOPES and value is not None else value
            for name, value in row.items()
        }
    )


def first(kind: type[T], rows: Sequence[asyncpg.Record]) -> T | None:
    """Return the record of the first row, if there is one."""
    return record(kind, rows[0]) if rows else None


def client_of(row: asyncpg.Record) -> Client:
    """Return the client of a row."""
    return Client(**dict(row) | {"metadata": json.loads(row["metadata"])})


def issued(row: asyncpg.Record) -> Issued:
    """Return what the functions that issue tokens say beside their verdict."""
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


def text(scopes: Sequence[str] | None) -> str | None:
    """Return scopes as they are stored."""
    return None if scopes is None else " ".join(scopes)
