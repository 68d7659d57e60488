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


def _printed(script: str, *words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}.py", "--rounds", "1", *words],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": ":".join(str(REPOSITORY / folder) for folder in FOLDERS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_storages_are_compared() -> None:
    assert len(_printed("storages", "--seconds", "0.1")) == 2 * len(STORAGES)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_all_sides_are_measured_that_need_no_registry() -> None:
    lines = _printed("run", "--seconds", "1", "--no-peers", "--no-write")
    assert sum(line.startswith("### ") for line in lines) == 7
    for storage in STORAGES:
        # Calls in both forms and refreshes with each token format; introspection, registration.
        assert sum(line.startswith(f"| {storage}, ") for line in lines) >= 2 * 3 + 2
