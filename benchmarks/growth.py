"""What a check and a refresh cost on SQLite when very many tokens live; and what is stored for a grant."""

import asyncio
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
for folder in ("tests", "template/tests/authserver"):
    sys.path.append(str(REPOSITORY / folder))

import storage as contract  # noqa: E402  # of the tests
from authserver.storage import sqlite as engine  # noqa: E402
from authserver.storage.sqlite.writer import connect  # noqa: E402
from authserver.storage.verdicts import Rotated  # noqa: E402
from cyclopts import App  # noqa: E402

TIMES = 2000

app = App()


@app.default
def growth(*, tokens: int = 1_000_000) -> None:
    """Fill a file with grants that each have an access and a refresh token; measure at 1,000 and at the end.

    Parameters
    ----------
    tokens
        How many tokens live in the end, of both kinds together.
    """
    asyncio.run(_growth(tokens))


async def _growth(tokens: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        storage = engine.create(engine.Settings(data_dir=Path(folder) / "data"))
        await storage.open()
        await contract.granted(storage)
        path = Path(folder) / "data" / "authserver.sqlite"
        have = 0
        for many in (1000, tokens):
            found = _fill(path, have, many // 2)
            have = many // 2
            size = path.stat().st_size / have
            check = await _middle(storage.grants.get_access_token, [access for access, _ in found])
            refresh = await _middle(partial(_rotate, storage), [token for _, token in found])
            costs = f"{check:6.0f} µs a check, {refresh:6.0f} µs a refresh"
            print(f"{many:>11,} tokens: {costs}, {size:5.0f} bytes a grant", flush=True)
        await storage.close()


async def _rotate(storage: engine.SQLiteStorage, digest: bytes) -> bool:
    return isinstance(await contract.rotate(storage, digest, bucket=None), Rotated) or sys.exit("not rotated")


async def _middle(work: Callable[[bytes], Awaitable[object]], digests: list[bytes]) -> float:
    """Return the microseconds of the middle one, of those that are asked one after the other."""
    took = []
    for digest in digests[: TIMES // 5]:
        before = time.perf_counter()
        assert await work(digest) is not None
        took.append(time.perf_counter() - before)
    return statistics.median(took) * 1e6


def _fill(path: Path, have: int, wanted: int) -> list[tuple[bytes, bytes]]:
    """Store grants, each of the rows as a sign-in leaves them; return digests of some, from all over."""
    database = connect(path)
    first = dict(database.execute("SELECT * FROM grants LIMIT 1").fetchone())
    expires = time.time() + 86_400
    chosen = []
    for start in range(have, wanted, 50_000):
        database.execute("BEGIN")
        for number in range(start, min(start + 50_000, wanted)):
            row = first | {"grant_id": os.urandom(16).hex(), "expires_at": expires}
            access, refresh = os.urandom(32), os.urandom(32)
            _insert(database, "grants", row)
            grant = row["grant_id"]
            values = {"digest": access, "grant_id": grant, "scopes": "read", "expires_at": expires}
            _insert(database, "access_tokens", values)
            _insert(database, "refresh_tokens", {"digest": refresh, "grant_id": grant, "expires_at": expires})
            if number % max(1, (wanted - have) // TIMES) == 0:
                chosen.append((access, refresh))
        database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return chosen


def _insert(database: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    names = ", ".join(row)
    places = ", ".join(f":{name}" for name in row)
    database.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", row)


if __name__ == "__main__":
    app()
