"""The folder of the data: that it is what was meant, its file system, and that git takes nothing of it."""

import os
from contextlib import suppress
from pathlib import Path

from authserver.folders import FOLDERS
from authserver.settings import SettingsError

_FSTAB = Path("/etc/fstab")

FILE = "authserver.sqlite"
"""The database."""

_IGNORED = """\
# What authserver keeps here: never in git.
/authserver.*
/secret.*
/.gitignore
"""


def refuse_a_mistake(folder: Path) -> None:
    """Raise SettingsError where a new store would begin that nobody seems to want.

    Paths were relative to where the server is started once, and still are where only the packages are
    installed. A path that was mistyped leads to no folder. What is to be mounted by the list of the machine
    and is not, leads to the folder below.
    """
    if (folder / FILE).exists():
        return
    project = FOLDERS.project
    elsewhere = folder
    if project is not None and folder.is_relative_to(project):
        elsewhere = Path.cwd() / folder.relative_to(project)
    if (elsewhere / FILE).exists():
        raise SettingsError(
            f"AUTH_DATA_DIR: there is data in {elsewhere}, and none in {folder}."
            f" Example: AUTH_DATA_DIR={elsewhere}"
        )
    if not folder.is_absolute():
        raise SettingsError(
            f"AUTH_DATA_DIR: no data is in {folder.resolve()}, and no project is here: name the whole path."
            " Example: AUTH_DATA_DIR=/var/lib/my-server"
        )
    if mounted := _not_mounted(folder):
        raise SettingsError(
            f"AUTH_DATA_DIR: {folder} is empty, and {mounted} is in {_FSTAB} but not mounted."
            f" Example: mount {mounted}"
        )
    if not folder.exists() and not folder.parent.is_dir():
        raise SettingsError(
            f"AUTH_DATA_DIR: there is no folder {folder.parent}: is it mistyped, or not mounted?"
            f" Example, for a new store: mkdir -p {folder}"
        )


def _not_mounted(folder: Path) -> Path | None:
    """Return where the machine was to mount what holds a folder; None where nothing is missing."""
    listed: list[list[str]] = []
    with suppress(OSError):
        listed = [line.split() for line in _FSTAB.read_text(errors="replace").splitlines()]
    entries = [entry for entry in listed if len(entry) > 1 and not entry[0].startswith("#")]
    points = [Path(entry[1].replace("\\040", " ")) for entry in entries]
    # As it is written, too: a link may lead to what is not there.
    above = {folder, *folder.parents, *folder.resolve().parents}
    return next((point for point in points if point in above and not os.path.ismount(point)), None)


def keep_out_of_git(folder: Path) -> None:
    """Have git leave out what is kept in a folder inside a checkout; raises OSError."""
    if any((above / ".git").exists() for above in folder.resolve().parents):
        with suppress(FileExistsError), (folder / ".gitignore").open("x", encoding="utf-8") as file:
            file.write(_IGNORED)


def file_system(path: Path) -> str:
    """Return the kind of file system `path` lies on, '' where the machine does not tell."""
    # Not /proc/mounts: a service with ProcSubset=pid has only what is of processes.
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return ""
    found = [line.split()[1:3] for line in mounts.read_text(errors="replace").splitlines()]
    holding = [(point, kind) for point, kind in found if path.is_relative_to(point)]
    return max(holding, key=lambda mount: len(mount[0]), default=("", ""))[1]
