"""Measure this project beside what a user would pick instead, and make docs/performance.md of it."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
for folder in ("tests", "template/tests/authserver"):
    sys.path.append(str(REPOSITORY / folder))

if __name__ == "__main__":
    from command import app

    app()
