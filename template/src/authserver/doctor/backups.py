"""What doctor says of the folder into which `backup --keep` writes: `doctor --backups FOLDER`."""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from authserver import clock
from authserver.findings import Finding, judged, little_room, unsafe
from authserver.private_files import open_to_others

# One that is made each night, and a night on which it failed.
_OLD_HOURS = 50
_END = re.compile(rb'\n\{"records":\d+\}\n\Z')
_END_BYTES = 64


def check_backups(folder: Path) -> Iterator[Finding]:
    """Judge the newest backup, and the folder that it lies in."""
    return judged(RULES, folder)


def old_backup(folder: Path) -> Iterator[Finding]:
    """Find that there is no backup, or the newest is older than two days.

    Source: NIST SP 800-53, control CP-9.
    """
    newest = _newest(folder)
    if newest is None:
        yield unsafe(str(folder), "there is no backup in it", "Start the backup, and read what it says")
        return
    hours = (clock.now() - _made_at(newest)) / 3600
    if hours > _OLD_HOURS:
        yield unsafe(
            str(newest), f"the newest backup is {hours:.0f} hours old", "Read what the last one ended with"
        )


def torn_backup(folder: Path) -> Iterator[Finding]:
    """Find that the newest backup has no end: nothing can be restored from it.

    Source: NIST SP 800-53, control CP-9(1).
    """
    newest = _newest(folder)
    if newest is None:
        return
    try:
        with newest.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END_BYTES))
            whole = bool(_END.search(file.read()))
    except OSError as error:
        yield unsafe(str(newest), f"it cannot be read ({error.strerror})", "Run doctor as who makes backups")
        return
    if not whole:
        yield unsafe(str(newest), "it is not whole", "Make another one, and look at the disk")


def open_backup(folder: Path) -> Iterator[Finding]:
    """Find that other users of the machine can read a backup, with the hashes of passwords in it.

    Source: CWE-732.
    """
    newest = _newest(folder)
    if newest is not None and open_to_others(folder) and open_to_others(newest):
        yield unsafe(str(newest), "others can read it", f"chmod 700 {folder}")


def backups_fill_the_disk(folder: Path) -> Iterator[Finding]:
    """Find that there is hardly any room for the next backup.

    Source: NIST SP 800-53, control AU-5.
    """
    if folder.is_dir():
        yield from little_room(str(folder), folder)


def _newest(folder: Path) -> Path | None:
    try:
        return max((file for file in folder.glob("backup-*") if file.is_file()), key=_made_at, default=None)
    except OSError:
        return None


def _made_at(file: Path) -> float:
    """Return when a backup was made, as its name says, whatever a copy did to the file."""
    try:
        return datetime.strptime(file.name, "backup-%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return file.stat().st_mtime


RULES = (old_backup, torn_backup, open_backup, backups_fill_the_disk)
