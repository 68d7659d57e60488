"""Where the time of a request goes: samples of the server's stacks under load, by whose code was at work."""

import contextlib
import re
import signal
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import others
import sides
from load import CONNECTIONS, WrongAnswer, on_processor
from runs import Found, Run

WORKS = (sides.CALL, sides.STREAM, "refresh", "introspection", "registration")

# The innermost frame that is one of these says whose a sample is: the standard library works for others.
_LAYERS = {
    "the storage's thread": r"sqlite/writer\.py",
    "the storage": r"authserver/storage/",
    "the log": r"authserver/logs\.py|structlog/|logging/",
    "the guard": r"authserver/middleware/",
    "endpoints and tokens": r"authserver/",
    "FastMCP": r"fastmcp/|key_value/|measured\.py",
    "the MCP SDK": r"\bmcp/|mcp_types/|sse_starlette/|jsonschema/|referencing/",
    "pydantic": r"pydantic",
    "Starlette": r"starlette/",
    "uvicorn, its parser and sockets": r"uvicorn/|asyncio/runners",
    "tasks, threads and streams (anyio)": r"anyio/|asyncio/|concurrent/|threading\.py|opentelemetry/",
}
_OTHER = "other"
_WRITES = "sqlite/writer.py"


def measure(run: Run) -> Found:
    """Return for each work, on SQLite with opaque tokens, the shares of the layers in its samples."""
    return {work: _shares(work, max(3, run.seconds)) for work in WORKS}


def _shares(work: str, seconds: int) -> dict[str, float]:
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        running = sides.ours("sqlite", "opaque", stack, work, CONNECTIONS * 2)
        running.warm_up(work)
        samples = Path(folder, "samples")
        words = ["record", "--pid", str(running.pid), "--rate", "250", "--format", "raw", "--nonblocking"]
        profiler = subprocess.Popen(
            [*on_processor(1), str(others.PROFILER), *words, "--output", str(samples)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        running.measure(work, seconds=seconds, round_=1)
        profiler.send_signal(signal.SIGINT)
        _, told = profiler.communicate()
        if not samples.exists():
            raise WrongAnswer(f"py-spy: {told.decode()}")
        return _counted(samples.read_text(encoding="utf-8"))


def _counted(samples: str) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for line in samples.splitlines():
        frames, _, count = line.rpartition(" ")
        counts[_layer(frames.split(";"))] += int(count)
    return {layer: count / counts.total() for layer, count in counts.most_common()}


def _layer(frames: list[str]) -> str:
    # All that the writing thread does is one thing.
    if any(_WRITES in frame and "_run" in frame for frame in frames):
        return "the storage's thread"
    for frame in reversed(frames):
        for layer, files in _LAYERS.items():
            if re.search(files, frame):
                return layer
    return _OTHER
