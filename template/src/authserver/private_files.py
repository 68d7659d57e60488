"""Files that hold a secret: who else on this machine can read them."""

import os
import stat
from pathlib import Path


def open_to_others(path: Path) -> bool:
    """Say whether other users of this machine can read a file or folder; False where it is not there."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return os.name == "posix" and bool(mode & (stat.S_IRWXG | stat.S_IRWXO))
