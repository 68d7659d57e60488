"""The folder of the data: which file system it lies on, and that git takes nothing of it."""

from contextlib import suppress
from pathlib import Path

FILE = "authserver.sqlite"
"""The database."""

_IGNORED = """\
# What authserver keeps here: never in git.
/authserver.*
/secret.*
/.gitignore
"""


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
