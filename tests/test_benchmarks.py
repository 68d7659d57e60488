"""The benchmarks run; what they find is for people to look at."""

import os
import subprocess
import sys

from rendering import REPOSITORY, choices


def test_the_comparison_prints_every_side() -> None:
    folders = ("tests", "template/tests/authserver")
    done = subprocess.run(
        [sys.executable, "benchmarks/compare.py", "--seconds", "0.1", "--rounds", "1"],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": ":".join(str(REPOSITORY / folder) for folder in folders)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sides = len(choices("storage")) * len(choices("tokens"))
    assert len(done.stdout.splitlines()) == 1 + 2 * sides
