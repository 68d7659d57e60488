"""The benchmarks run, and every side answers rightly; what they find is for people to look at."""

import os
import shutil
import subprocess
import sys

import effort
import pytest
from rendering import REPOSITORY, choices

pytestmark = effort.release

STORAGES = choices("storage")
FOLDERS = ("template/tests/authserver", "tests")
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")

# A part, how many tables it prints, and how many rows at least begin with the name of a storage.
PARTS = {
    # Both forms of answers with each token format.
    "calls": (2, 4),
    "refresh": (1, 2),
    "introspection": (1, 1),
    "registration": (1, 1),
    "storm": (1, 1),
    "purge": (1, 1),
    "growth": (1, 1),
}


def _printed(script: str, *words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}.py", *words, "--rounds", "1"],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": ":".join(str(REPOSITORY / folder) for folder in FOLDERS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def _run(part: str) -> list[str]:
    small = ("--seconds", "1", "--tokens", "4000", "--expired", "500")
    return _printed("run", part, *small, "--no-peers", "--no-write")


def _tables(lines: list[str]) -> int:
    return sum(line.startswith("|---") for line in lines)


def test_the_storages_are_compared() -> None:
    assert len(_printed("storages", "--seconds", "0.1")) == 2 * len(STORAGES)


@needs_wrk
@pytest.mark.parametrize("part", PARTS)
def test_a_part_needs_no_registry_and_has_every_storage(part: str) -> None:
    tables, rows = PARTS[part]
    lines = _run(part)
    assert _tables(lines) == tables
    for storage in STORAGES:
        named = [line for line in lines if line.startswith((f"| {storage}, ", f"| {storage} "))]
        assert len(named) == rows


@needs_wrk
@pytest.mark.parametrize(("part", "tables"), [("documents", 2), ("workers", 2), ("footprint", 2)])
def test_a_part_that_is_about_the_default_needs_no_registry(part: str, tables: int) -> None:
    assert _tables(_run(part)) == tables


def test_a_part_that_is_not_there_is_named() -> None:
    with pytest.raises(AssertionError, match="there is no part nothing"):
        _run("nothing")
