"""What doctor says of the folder that holds the database."""

from collections.abc import Iterator

from authserver.findings import Finding, judged, little_room, note, unsafe
from authserver.private_files import open_to_others
from authserver.storage.sqlite.place import file_system
from authserver.storage.sqlite.settings import Settings

# What lies there is gone with the next start, of the machine or of the container.
_FLEETING = {"tmpfs", "ramfs", "overlay"}


def checks(settings: Settings) -> Iterator[Finding]:
    """Judge who can read the folder, how much room there is, and whether it lasts."""
    return judged(RULES, settings)


def open_data(settings: Settings) -> Iterator[Finding]:
    """Find that other users of the machine can read the database, with the hashes of passwords in it.

    Source: CWE-732.
    """
    folder = settings.data_dir.resolve()
    if open_to_others(folder):
        yield unsafe("AUTH_DATA_DIR", f"others can read {folder}", f"chmod 700 {folder}")


def data_fills_the_disk(settings: Settings) -> Iterator[Finding]:
    """Find that there is hardly any room for the database: soon nobody can sign in.

    Source: NIST SP 800-53, control AU-5.
    """
    return little_room("AUTH_DATA_DIR", settings.data_dir.resolve())


def fleeting_data(settings: Settings) -> Iterator[Finding]:
    """Find that the database is gone when the machine or the container goes.

    Source: NIST SP 800-53, control CP-9.
    """
    folder = settings.data_dir.resolve()
    if (kind := file_system(folder)) in _FLEETING:
        yield note(
            "AUTH_DATA_DIR",
            f"{folder} lies on {kind}: gone when the machine or the container goes",
            "Put it on a disk, or on a volume",
        )


RULES = (open_data, data_fills_the_disk, fleeting_data)
