"""The benchmarks run; what they find is for people to look at."""

import os
import subprocess
import sys

import effort
import pytest
from rendering import REPOSITORY, choices

STORAGES = choices("storage")


@effort.release
@pytest.mark.parametrize(
    ("script", "lines"),
    [
        pytest.param(
            "compare", 1 + 2 * len(choices("storage")) * len(choices("tokens")), marks=effort.release
        ),
        ("storages", 2 * len(choices("storage"))),
    ],
)
def test_a_comparison_prints_every_side(script: str, lines: int) -> None:
    folders = ("template/tests/authserver", "tests")
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}.py", "--seconds", "0.1", "--rounds", "1"],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": ":".join(str(REPOSITORY / folder) for folder in folders)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == lines
