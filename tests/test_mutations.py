"""Each guard that is taken away in mutations.toml is still there, and so is its test."""

import subprocess
import sys
from pathlib import Path
from zlib import crc32

import mutations
import pytest
from counting import Count
from mutations import Mutation

MUTATIONS = mutations.mutations()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_guard_and_its_test_are_there(mutation: Mutation) -> None:
    assert (mutations.TEMPLATE / mutations.SOURCES / mutation.file).read_text().count(mutation.text) == 1
    assert mutation.text != mutation.becomes
    file, _, name = mutation.test.partition("::")
    assert f"def {name}(" in (mutations.TEMPLATE / mutations.TESTS / file).read_text()


# A share for each push, the same each time; `uv run python tests/mutations.py` tries all.
SHARE = [mutation.name for mutation in MUTATIONS if crc32(mutation.name.encode()) % 16 == 0]


def test_each_guard_is_missed(record_property: Count) -> None:
    command = [sys.executable, str(Path(mutations.__file__)), *SHARE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    record_property("mutations", len(SHARE))
