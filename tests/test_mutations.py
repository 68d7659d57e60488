"""Each guard that is taken away in mutations.toml is still there, and so is its test."""

import subprocess
import sys
from pathlib import Path
from zlib import crc32

import effort
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


@effort.push
@effort.early
def test_each_guard_is_missed(record_property: Count) -> None:
    """At a push some of them, the same each time."""
    shuffled = sorted(MUTATIONS, key=lambda mutation: crc32(mutation.name.encode()))
    names = [mutation.name for mutation in shuffled[: effort.count("mutations")]]
    command = [sys.executable, str(Path(mutations.__file__)), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    record_property("guards taken away", len(names))
