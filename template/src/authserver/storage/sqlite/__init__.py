"""Storage in one SQLite file, for one node: any number of processes of one machine.

`file.py` says how the file is read and written.
"""

import sqlite3
from pathlib import Path

from authserver import clock
from authserver.settings import SettingsError
from authserver.storage import Storage
from authserver.storage.facts import identify
from authserver.storage.sqlite.clients import SQLiteClients
from authserver.storage.sqlite.doctor import checks
from authserver.storage.sqlite.facts import SQLiteFacts
from authserver.storage.sqlite.file import File, Kept, written
from authserver.storage.sqlite.grants import SQLiteGrants
from authserver.storage.sqlite.place import FILE, file_system, keep_out_of_git, refuse_a_mistake
from authserver.storage.sqlite.settings import Settings
from authserver.storage.sqlite.sign_ins import SQLiteSignIns
from authserver.storage.sqlite.upkeep import Upkeep
from authserver.storage.sqlite.users import SQLiteUsers

__all__ = ["Settings", "checks", "create"]

_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "fuse.sshfs"}


def create(settings: Settings) -> "SQLiteStorage":
    """Return the storage for these settings; nothing is opened yet.

    Raises SettingsError where SQLite is too old, and where the data folder seems to be a mistake or lies on
    a network file system.
    """
    if sqlite3.sqlite_version_info < (3, 35):
        raise SettingsError(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
    folder = settings.data_dir
    refuse_a_mistake(folder)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        keep_out_of_git(folder)
    except OSError as error:
        raise SettingsError(
            f"AUTH_DATA_DIR: {folder} cannot be made ({error.strerror})."
            " Example: AUTH_DATA_DIR=/var/lib/my-server"
        ) from None
    kind = file_system(folder.resolve())
    if kind in _NETWORK_FILE_SYSTEMS:
        raise SettingsError(
            f"AUTH_DATA_DIR: {folder} lies on a network file system ({kind}), where SQLite's locks"
            " do not hold. Example: AUTH_DATA_DIR=/var/lib/my-server"
        )
    return SQLiteStorage(folder / FILE)


class SQLiteStorage(Upkeep):
    """The five subjects on one SQLite file."""

    def __init__(self, path: Path) -> None:
        file = File(path)
        Kept.__init__(self, file)
        Storage.__init__(
            self,
            facts=SQLiteFacts(file),
            clients=SQLiteClients(file),
            users=SQLiteUsers(file),
            sign_ins=SQLiteSignIns(file),
            grants=SQLiteGrants(file),
        )

    async def open(self) -> None:
        self._file.open()

    async def close(self) -> None:
        self._file.close()

    async def pin(self) -> None:
        self._file.pin(await identify(self.facts))

    @written
    def ping(self, db: sqlite3.Connection, now: float) -> None:
        """Write nothing, but through the writer: a full or read-only disk shows."""
        db.execute("INSERT OR REPLACE INTO facts (name, value) VALUES ('ping', ?)", (str(int(now)).encode(),))

    async def now(self) -> float:
        """Return the time of this machine: there is no other clock."""
        return clock.now()
