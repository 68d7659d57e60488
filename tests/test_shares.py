"""docs/security.md says what others have of the limits while somebody uses them up, and no more."""

import pytest
from effort import release
from rendering import choices
from shares import ATTACKS, BOTNET, committed, table

REMEDY = "run: PYTHONPATH=template/tests/authserver uv run python tests/shares.py"


def test_the_table_of_the_default_storage_is_what_is_simulated() -> None:
    attacks = ATTACKS.keys() - {BOTNET}  # which takes longer than all others
    ordered = [attack for attack in ATTACKS if attack in attacks]
    assert committed("sqlite", ordered) == table("sqlite", ordered), REMEDY


@release
@pytest.mark.parametrize("storage", choices("storage"))
def test_the_table_of_each_storage_is_what_is_simulated(storage: str) -> None:
    assert committed(storage) == table(storage), REMEDY
