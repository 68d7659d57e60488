"""What doctor says of the folder that holds the database."""

import shutil
from collections.abc import Iterator

from authserver.findings import Finding, note, unsafe
from authserver.private_files import open_to_others
from authserver.storage.sqlite.place import file_system
from authserver.storage.sqlite.settings import Settings

_MEBIBYTE = 1 << 20
_LITTLE_MEBIBYTES = 1024
_FULL_MEBIBYTES = 100
# What lies there is gone with the next start, of the machine or of the container.
_FLEETING = {"tmpfs", "ramfs", "overlay"}


def checks(settings: Settings) -> Iterator[Finding]:
    """Judge who can read the folder, how much room there is, and whether it lasts."""
    folder = settings.data_dir.resolve()
    if open_to_others(folder):
        yield unsafe("AUTH_DATA_DIR", f"others can read {folder}", f"chmod 700 {folder}")
    free = shutil.disk_usage(folder).free // _MEBIBYTE
    if free < _LITTLE_MEBIBYTES:
        judge = unsafe if free < _FULL_MEBIBYTES else note
        yield judge("AUTH_DATA_DIR", f"only {free} MiB are free in {folder}", "Make room")
    if (kind := file_system(folder)) in _FLEETING:
        yield note(
            "AUTH_DATA_DIR",
            f"{folder} lies on {kind}: gone when the machine or the container goes",
            "Put it on a disk, or on a volume",
        )
