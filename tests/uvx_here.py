"""`uvx copier==VERSION ...` with the Copier of this environment, which asks git less often (`rendering.py`).

Any other version or program is left to the real one. A release takes the real one for all.
"""

import os
import sys
from importlib.metadata import version
from pathlib import Path

REAL = "TEST_REAL_UVX"


def folder(to: Path, real: str) -> Path:
    """Make a folder for the PATH that has this program as `uvx`."""
    to.mkdir(parents=True, exist_ok=True)
    program = to / "uvx"
    program.write_text(f'#!/bin/sh\n{REAL}="{real}" exec "{sys.executable}" "{__file__}" "$@"\n')
    program.chmod(0o755)
    return to


def main(words: list[str]) -> None:
    """Be Copier, or the real program."""
    wanted = f"copier=={version('copier')}"
    if wanted not in words:
        os.execv(os.environ[REAL], ["uvx", *words])
    import rendering  # noqa: F401, PLC0415  # what it changes of Copier
    from copier._cli import CopierApp  # noqa: PLC0415

    CopierApp.run(["copier", *words[words.index(wanted) + 1 :]])


if __name__ == "__main__":
    main(sys.argv[1:])
