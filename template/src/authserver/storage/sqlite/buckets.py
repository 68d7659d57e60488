"""Limits on attempts, by the generic cell rate algorithm: a bucket is the time at which it is full again."""

import sqlite3
from collections.abc import Sequence

from authserver.storage.sign_ins import Bucket


def take(db: sqlite3.Connection, now: float, buckets: Sequence[Bucket]) -> float:
    """Count an attempt in all buckets, or in none; return the seconds to wait (0: go on)."""
    full_at: dict[bytes, float] = {}
    wait = 0.0
    for bucket in buckets:
        row = db.execute("SELECT full_at FROM buckets WHERE key = ?", (bucket.key,)).fetchone()
        start = max(now, row["full_at"] if row else now)
        wait = max(wait, start - now - (bucket.burst - 1) * bucket.interval_seconds)
        full_at[bucket.key] = start + bucket.interval_seconds
    if wait > 0:
        return wait
    db.executemany(
        """
        INSERT INTO buckets (key, full_at) VALUES (?, ?)
        ON CONFLICT DO UPDATE SET full_at = excluded.full_at
        """,
        full_at.items(),
    )
    return 0
