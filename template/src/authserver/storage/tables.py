"""The tables, their columns, and what of them expires: the same in every engine, and in a backup."""

from collections.abc import Mapping
from types import MappingProxyType

Value = str | bytes | int | float | bool | None

Row = dict[str, Value]
"""A record as a backup holds it: each column of its table."""

TABLES: Mapping[str, Mapping[str, type]] = MappingProxyType(
    {
        "facts": {"name": str, "value": bytes},
        "clients": {
            "client_id": str,
            "metadata": str,
            "secret_digest": bytes,
            "address": str,
            "created_at": float,
            "approved_at": float,
            "completed_at": float,
        },
        "users": {
            "subject": str,
            "folded_name": str,
            "name": str,
            "scopes": str,
            "created_at": float,
            "disabled_at": float,
            "disabled_by": str,
            "epoch": int,
        },
        "invitations": {
            "digest": bytes,
            "subject": str,
            "folded_name": str,
            "name": str,
            "scopes": str,
            "expires_at": float,
        },
        "credentials": {"subject": str, "kind": str, "value": bytes, "counter": int},
        "sessions": {
            "digest": bytes,
            "subject": str,
            "device": str,
            "created_at": float,
            "expires_at": float,
            "epoch": int,
        },
        "tickets": {"digest": bytes, "value": bytes, "expires_at": float},
        "buckets": {"key": bytes, "full_at": float},
        "authorization_requests": {
            "digest": bytes,
            "client_id": str,
            "redirect_uri": str,
            "redirect_uri_explicit": bool,
            "state": str,
            "scopes": str,
            "code_challenge": str,
            "resource": str,
            "address": str,
            "expires_at": float,
        },
        "grants": {
            "grant_id": str,
            "client_id": str,
            "subject": str,
            "scopes": str,
            "resource": str,
            "redirect_uri": str,
            "created_at": float,
            "used_at": float,
            "expires_at": float,
            "revoked_at": float,
            "access_until": float,
            "remembered_until": float,
        },
        "revocations": {"grant_id": str, "revoked_at": float, "until": float},
        "codes": {
            "digest": bytes,
            "grant_id": str,
            "redirect_uri_explicit": bool,
            "code_challenge": str,
            "expires_at": float,
            "attempt": bytes,
            "spent_at": float,
            "access_expires_at": float,
        },
        "refresh_tokens": {
            "digest": bytes,
            "grant_id": str,
            "expires_at": float,
            "salt": bytes,
            "spent_at": float,
            "access_scopes": str,
            "access_expires_at": float,
        },
        "access_tokens": {"digest": bytes, "grant_id": str, "scopes": str, "expires_at": float},
    }
)
"""What a backup holds, in the order in which it can be restored. Any column but the first may be None."""

FIRST_EPOCH = 0
"""Of whatever has none: nothing has changed since, or it was written by release 0.1.0 or 0.2.0."""

EXPIRING: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "access_tokens": ("digest", "expires_at"),
        "refresh_tokens": ("digest", "expires_at"),
        "codes": ("digest", "expires_at"),
        "authorization_requests": ("digest", "expires_at"),
        "sessions": ("digest", "expires_at"),
        "tickets": ("digest", "expires_at"),
        "invitations": ("digest", "expires_at"),
        "buckets": ("key", "full_at"),
        "revocations": ("grant_id", "until"),
    }
)
"""What the purge deletes by its age, in this order: the key, and the column that says when it is over.

Grants go when they are over and nothing hangs off them any more: so nothing takes thousands of rows with it.
"""

HANGING = ("access_tokens", "refresh_tokens", "codes")
"""What hangs off a grant."""
