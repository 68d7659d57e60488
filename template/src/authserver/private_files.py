"""Files that hold a secret: who else on this machine can read them."""

import os
import stat
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def open_to_others(path: Path) -> bool:
    """Say whether other users of this machine can read a file or folder; False where it is not there."""
    return _has_bits(path, _OTHERS)


def open_to_all(path: Path) -> bool:
    """Say whether every user of this machine can; False where it is not there."""
    return _has_bits(path, stat.S_IRWXO)


def written_by_all(path: Path) -> bool:
    """Say whether every user of this machine can change a file or folder; False where it is not there."""
    return _has_bits(path, stat.S_IWOTH)


def _has_bits(path: Path, bits: int) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return os.name == "posix" and bool(mode & bits)
