"""Which file system a folder lies on."""

from pathlib import Path


def file_system(path: Path) -> str:
    """Return the kind of file system `path` lies on, '' where the machine does not tell."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return ""
    found = [line.split()[1:3] for line in mounts.read_text(errors="replace").splitlines()]
    holding = [(point, kind) for point, kind in found if path.is_relative_to(point)]
    return max(holding, key=lambda mount: len(mount[0]), default=("", ""))[1]
