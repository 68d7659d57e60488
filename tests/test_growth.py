"""A long stream of odd requests: the server keeps its size, and stores nothing for what it refused."""

import os
from pathlib import Path

import effort
from counting import Count
from engines import Engine
from fuzz import Dice, check, known
from person import Person
from servers import Server

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", effort.count("odd requests")))
PATHS = (
    *("/mcp", "/authorize", "/token", "/revoke", "/register", "/login", "/consent", "/account", "/logout"),
    *("/invite/{token}", "/.well-known/oauth-authorization-server", "/healthz", "/readyz"),
)


@effort.push
@effort.early
def test_odd_requests_do_not_make_the_server_grow(
    stored_project: Path, engine: Engine, record_property: Count
) -> None:
    """Attack 27: fill the memory or the store with refused requests. Source: threat model, bounded memory."""
    server = Server(stored_project, engine.settings("growth"), AUTH_LIMIT_REGISTRATIONS_PER_MINUTE="20")
    with server.running():
        owner = Person(server, "owner")
        assert owner.join(server.first_account_link).status_code == 200
        real = known(server, list(PATHS), owner)
        dice = Dice(int(os.environ.get("FUZZ_SEED", "2")))
        for _ in range(REQUESTS // 3):
            check(real, dice.well_formed(real))
        before = server.memory_bytes()
        for _ in range(2 * REQUESTS // 3):
            check(real, dice.well_formed(real))
        assert server.memory_bytes() - before < 8_000_000
    sizes = engine.sizes("growth")
    assert max(sizes.values()) < 300, sizes
    record_property("fuzzed requests", REQUESTS)
