"""What deletes, copies and restores whole tables."""

from typing import Any

from authserver.storage import TABLES, Value

_EXPIRED = (
    "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {column} <= :now LIMIT :limit)"
)
PURGE = (
    _EXPIRED.format(table="access_tokens", key="digest", column="expires_at"),
    _EXPIRED.format(table="refresh_tokens", key="digest", column="expires_at"),
    _EXPIRED.format(table="codes", key="digest", column="expires_at"),
    _EXPIRED.format(table="authorization_requests", key="digest", column="expires_at"),
    _EXPIRED.format(table="sessions", key="digest", column="expires_at"),
    _EXPIRED.format(table="tickets", key="digest", column="expires_at"),
    _EXPIRED.format(table="invitations", key="digest", column="expires_at"),
    _EXPIRED.format(table="buckets", key="key", column="full_at"),
    _EXPIRED.format(table="grants", key="grant_id", column="expires_at"),
    _EXPIRED.format(table="revocations", key="grant_id", column="until"),
    """
    UPDATE refresh_tokens SET salt = NULL WHERE digest IN (
        SELECT digest FROM refresh_tokens
        WHERE salt IS NOT NULL AND spent_at < :replayed LIMIT :limit)
    """,
    """
    DELETE FROM clients WHERE client_id IN (
        SELECT client_id FROM clients
        WHERE completed_at IS NULL AND approved_at IS NOT NULL AND created_at < :unused
        AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_id = clients.client_id)
        LIMIT :limit)
    """,
    """
    DELETE FROM clients WHERE :idle IS NOT NULL AND client_id IN (
        SELECT client_id FROM clients
        WHERE completed_at < :idle
        AND NOT EXISTS (
            SELECT 1 FROM grants
            WHERE grants.client_id = clients.client_id AND grants.used_at >= :idle)
        LIMIT :limit)
    """,
)

# All names are ours.
DUMP = {table: f"SELECT {', '.join(names)} FROM {table}" for table, names in TABLES.items()}  # noqa: S608
FILL = {
    table: f"INSERT INTO {table} ({', '.join(names)}) VALUES (:{', :'.join(names)})"  # noqa: S608
    for table, names in TABLES.items()
} | {"facts": "INSERT OR IGNORE INTO facts (name, value) VALUES (:name, :value)"}


def neutral(value: Any, kind: type) -> Value:
    """Return a value of SQLite, which has no booleans, as a backup holds it."""
    return bool(value) if kind is bool else value
