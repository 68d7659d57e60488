"""What deletes, copies and restores whole tables."""

from authserver.storage import TABLES

# What another node deletes right now is skipped.
_EXPIRED = """
    WITH deleted AS (
        DELETE FROM authserver.{table} WHERE {key} = ANY (ARRAY(
            SELECT {key} FROM authserver.{table} WHERE {column} <= authserver.now()
            LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM deleted
    """
PURGE = [
    _EXPIRED.format(table=table, key=key, column=column)
    for table, key, column in (
        ("access_tokens", "digest", "expires_at"),
        ("refresh_tokens", "digest", "expires_at"),
        ("codes", "digest", "expires_at"),
        ("authorization_requests", "digest", "expires_at"),
        ("sessions", "digest", "expires_at"),
        ("tickets", "digest", "expires_at"),
        ("invitations", "digest", "expires_at"),
        ("buckets", "key", "full_at"),
        ("grants", "grant_id", "expires_at"),
        ("revocations", "grant_id", "until"),
    )
]
PURGE_SALTS = """
    WITH emptied AS (
        UPDATE authserver.refresh_tokens SET salt = NULL WHERE digest = ANY (ARRAY(
            SELECT digest FROM authserver.refresh_tokens
            WHERE salt IS NOT NULL AND spent_at < authserver.now() - $2
            LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM emptied
    """

# All names are ours.
DUMP = {table: f"SELECT {', '.join(names)} FROM authserver.{table}" for table, names in TABLES.items()}  # noqa: S608
FILL = {
    table: f"INSERT INTO authserver.{table} ({', '.join(names)})"  # noqa: S608
    f" VALUES ({', '.join(f'${number}' for number in range(1, len(names) + 1))}) {conflict}"
    for table, names in TABLES.items()
    for conflict in ["ON CONFLICT DO NOTHING" if table == "facts" else ""]
}
