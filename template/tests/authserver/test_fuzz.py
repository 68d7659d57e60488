"""Every route under requests that no client sends: a bounded share; or as many as one likes.

FUZZ_REQUESTS=1000000 FUZZ_SEED=7 uv run pytest tests/authserver/test_fuzz.py
"""

import os
from collections import Counter
from collections.abc import Callable

import pytest
from conftest import Live
from counting import Count
from fuzz import Dice, Known, check, known
from person import Person

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "1000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))


@pytest.fixture(scope="module")
def real(live: Live, alice: Person) -> Known:
    """Every route there is, and values that open some of them."""
    paths = {str(getattr(route, "path", "/mcp")) for route in live.auth.get_routes("/mcp")}
    return known(live, sorted(paths | {"/mcp"}), alice)


@pytest.mark.parametrize("kind", [Dice.well_formed, Dice.raw])
def test_no_request_is_a_server_error_or_leads_elsewhere(
    live: Live,
    real: Known,
    record_property: Count,
    kind: Callable[[Dice, Known], bytes],
) -> None:
    """Attack 27: odd requests to every route. Source: threat model, fuzz of every route."""
    dice = Dice(SEED)
    statuses = Counter(check(real, kind(dice, real)) for _ in range(REQUESTS // 2))
    # It would prove little if all were refused at the door.
    assert {200, 400} <= statuses.keys(), statuses
    assert {401, 403} & statuses.keys(), statuses
    assert live.http().get("/readyz").status_code == 200
    record_property("fuzzed requests", statuses.total())
