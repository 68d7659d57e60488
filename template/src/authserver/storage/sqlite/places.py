"""How the places of unused clients are shared among the networks that they came from."""

import sqlite3
from collections.abc import Sequence

from authserver.requests.networks import WIDTHS
from authserver.storage.clients import Share

_COUNT = """
    SELECT count(*) FROM clients
    WHERE completed_at IS NULL AND place >= :digits AND place < :digits || 'g'
"""

# The heaviest network of so many digits among those that begin so; the new client counts. Of equal ones it is
# the one with the youngest client, but where nobody has more than one, the oldest.
_HEAVIEST = """
    SELECT
        substr(place, 1, :width) AS network,
        count(*) + (substr(place, 1, :width) = substr(:place, 1, :width)) AS weight,
        max(created_at) AS youngest
    FROM clients
    WHERE completed_at IS NULL AND place >= :digits AND place < :digits || 'g'
    GROUP BY network
    ORDER BY weight DESC, CASE WHEN weight = 1 AND :digits = '' THEN youngest ELSE -youngest END
    LIMIT 1
"""


def make_room(db: sqlite3.Connection, now: float, place: str, shares: Sequence[Share]) -> float:
    """Delete a client if a share is used up; return since when the new one has its place."""
    for share in shares:
        digits = share.digits
        if db.execute(_COUNT, {"digits": digits}).fetchone()[0] < share.most:
            continue
        for width in WIDTHS:
            if width > len(digits):
                values = {"place": place, "width": width, "digits": digits}
                digits = db.execute(_HEAVIEST, values).fetchone()["network"]
        deleted = db.execute(
            """
            DELETE FROM clients WHERE client_id = (
                SELECT client_id FROM clients
                WHERE completed_at IS NULL AND place = ? ORDER BY created_at DESC LIMIT 1
            )
            RETURNING created_at
            """,
            (digits,),
        ).fetchone()
        return float(deleted["created_at"]) if digits[: WIDTHS[0]] == place[: WIDTHS[0]] else now
    return now
