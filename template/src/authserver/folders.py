"""Where this project is, and its file of settings: without a library, since what is here comes first."""

import os
from pathlib import Path


class Folders:
    """Where this code lies."""

    def __init__(self) -> None:
        self.source = Path(__file__).resolve().parents[1]
        """The folder of `authserver` and `app`: `src`, or where they were installed."""
        above = self.source.parent
        is_project = self.source.name == "src" and (above / "pyproject.toml").exists()
        self.project = above if is_project else None
        """The folder of the whole project; None where only its packages are installed."""


FOLDERS = Folders()
"""One for all, so that tests move it here."""


def in_the_project(path: Path) -> Path:
    """Return what a relative path means: in the project, else where the server is started."""
    return (FOLDERS.project or Path()) / path


ENV = Path(".env")
"""The file of settings, in the project."""


def let_fastmcp_read_ours() -> None:
    """Name the file that FastMCP reads when it is imported: it reads that of whatever folder one is in.

    None, where ours is no text or may not be read: that would be its traceback, before our own line about it.
    """
    env = in_the_project(ENV)
    try:
        if env.is_file():
            env.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        env = Path(os.devnull)
    os.environ.setdefault("FASTMCP_ENV_FILE", str(env.absolute()))
