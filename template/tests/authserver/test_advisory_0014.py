"""Advisory 0014: a node went on with a PostgreSQL server that had been demoted, and believed what it read."""

import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import Live, new_person, new_store

from authserver import choices

pytestmark = pytest.mark.skipif(
    not choices.storage.__name__.endswith(".postgresql"), reason="concerns PostgreSQL"
)


def test_a_node_believes_nothing_of_a_server_that_takes_no_writes(folder: Path) -> None:
    """As a primary is that was switched to read-only while another one took its place."""
    module: Any = import_module("engines.postgresql")
    programs = module.find_programs()
    if programs is None:
        pytest.skip("only a server of its own can be demoted")
    engine = module.OwnServer(programs, folder)
    engine.start()
    try:
        server = Live(new_store(engine)).start()
        try:
            alice = new_person(server, "alice")
            assert alice.get("/account").status_code == 200
            engine.ask("ALTER SYSTEM SET default_transaction_read_only = on")
            engine.ask("SELECT pg_reload_conf()")
            seen = set()
            for _ in range(20):  # it may be believed for a second
                time.sleep(0.2)
                seen.add(alice.get("/account").status_code)
                if 503 in seen:
                    break
            assert 503 in seen, "whoever was disabled on the new primary goes on here"
        finally:
            server.stop()
    finally:
        engine.close()
