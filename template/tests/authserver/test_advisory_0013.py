"""Advisory 0013: nodes went on with a store that had been emptied, as if it were a new one."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Live

from authserver import choices

pytestmark = pytest.mark.skipif(
    choices.storage.__name__.endswith(".sqlite"), reason="concerns stores that others can empty"
)


def test_a_node_issues_nothing_for_a_store_that_was_emptied(
    engine: Any, request: pytest.FixtureRequest
) -> None:
    name = "emptied"
    store = engine.settings(name)
    start: Callable[..., Live] = request.getfixturevalue("start")
    server = start(**store)
    new = {"redirect_uris": ["http://127.0.0.1/"], "token_endpoint_auth_method": "none"}
    with server.http() as http:
        assert http.post("/register", json=new).status_code == 201
        empty(engine, name)
        seen = set()
        for _ in range(20):  # it may be believed for a second
            time.sleep(0.2)
            seen.add(http.post("/register", json=new).status_code)
            if 503 in seen:
                break
        assert 503 in seen, "all accounts are gone, and the next link makes one that may grant everything"


def empty(engine: Any, name: str) -> None:
    """Delete all records, and leave the tables."""
    if choices.storage.__name__.endswith(".redis"):
        with engine.client() as client:
            for key in list(client.scan_iter(f"{engine.prefix(name)}*")):
                client.delete(key)
    else:
        tables = [table for table in engine.sizes(name) if "version" not in table]
        engine.ask(f"TRUNCATE {', '.join(tables)} CASCADE", name)
