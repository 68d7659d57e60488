"""Measure this project beside what a user would pick instead, in one run; write docs/performance.md."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
for folder in ("tests", "template/tests/authserver"):
    sys.path.append(str(REPOSITORY / folder))

if __name__ == "__main__":
    from side_by_side import app

    app()
