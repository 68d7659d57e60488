"""A long stream of odd requests: the server keeps its size, and stores nothing for what it refused."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from counting import Count
from fuzz import Dice, check, known
from person import Person
from servers import Server

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "3000"))
PATHS = (
    *("/mcp", "/authorize", "/token", "/revoke", "/register", "/login", "/consent", "/account", "/logout"),
    *("/invite/{token}", "/.well-known/oauth-authorization-server", "/healthz", "/readyz"),
)


def test_odd_requests_do_not_make_the_server_grow(
    stored_project: Path, tmp_path: Path, record_property: Count
) -> None:
    """Attack: fill the memory or the store with refused requests. Source: threat model, bounded memory."""
    server = Server(stored_project, tmp_path / "data", AUTH_LIMIT_REGISTRATIONS_PER_MINUTE="20")
    with server.running():
        owner = Person(server, "owner")
        assert owner.accept_invitation(server.first_account_link).status_code == 200
        real = known(server, list(PATHS), owner)
        dice = Dice(int(os.environ.get("FUZZ_SEED", "2")))
        for _ in range(REQUESTS // 3):
            check(real, dice.well_formed(real))
        before = server.memory_bytes()
        for _ in range(2 * REQUESTS // 3):
            check(real, dice.well_formed(real))
        assert server.memory_bytes() - before < 8_000_000
    for file in (tmp_path / "data").glob("*.sqlite"):
        with closing(sqlite3.connect(file)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            rows = {
                name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for (name,) in tables
            }
        assert max(rows.values()) < 300, rows
    record_property("fuzzed requests", REQUESTS)
