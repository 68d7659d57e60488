"""What a run is told, and the file in which runs of the same code keep what they found."""

import json
import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sides

REPOSITORY = Path(__file__).parent.parent
FILE = REPOSITORY / "docs" / "performance.json"
_CODE = ("template/src", "benchmarks")

Found = dict[str, Any]
"""What a part found, as JSON has it."""


@dataclass(frozen=True)
class Run:
    """How much is measured."""

    seconds: int
    """How long a side is measured in each round."""
    rounds: int
    storages: list[str]
    peers: bool
    tokens: int
    """How many live at the end of the growth."""
    expired: int
    """How many grants expired before the purge."""


def load() -> Found:
    """Return what earlier runs of the same code found, or the beginning of a new file."""
    kept: Found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    code = _code()
    if kept.get("code") != code:
        kept = {"code": code, "parts": {}}
    return kept | {"machine": _machine(), "versions": list(sides.versions())}


def add(part: str, run: Run, found: Found, seconds: float) -> None:
    """Keep what a part found, and how it was measured."""
    kept = load()
    kept["parts"][part] = {
        "found": found,
        "seconds": run.seconds,
        "rounds": run.rounds,
        "took_seconds": round(seconds),
        "on": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    FILE.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _code() -> str:
    """Return the commit that changed the measured code last, and whether it was changed since."""
    try:
        commit = _git("log", "-1", "--format=%h", "--", *_CODE)
        return commit + (" with changes" if _git("status", "--porcelain", "--", *_CODE) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _machine() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    processor = names[0] if names else platform.machine()
    linux = platform.release().partition("-")[0]
    python = platform.python_version()
    return f"{os.cpu_count()} processors ({processor}), {memory:.0f} GiB, Linux {linux}, Python {python}"
