"""What a server takes: memory, time until it answers; what commands and a new project take."""

import contextlib
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import sides
from load import Ask, WrongAnswer
from ports import free_port
from runs import REPOSITORY, Found, Run
from started import Running, wait_for

CONNECTIONS = 1000

_TIMES = 3
_TEMPLATE = REPOSITORY / "template"
_COMMAND = (sys.executable, "-c", "from authserver.cli import main; main()")


def measure(run: Run) -> Found:
    """Return what the parts found: `memory` in bytes, all others wall and processor time in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"AUTH_DATA_DIR": f"{folder}/data", "AUTH_PUBLIC_URL": "http://127.0.0.1:8000"}
        beside: list[sides.Start] = [partial(sides.python, "none"), _default]
        return {
            "memory": {side.name: side.memory for side in map(_Memory, beside)},
            "times": {
                "server ready": _middle(_starts),
                "`users list`": _middle(partial(_runs, [*_COMMAND, "users", "list"], settings)),
                "`--help`": _middle(partial(_runs, [*_COMMAND, "--help"], settings)),
                "`copier copy`": _middle(_copies),
            },
        }


def _default(stack: contextlib.ExitStack, work: str, seeds: int) -> Running:
    return sides.ours("sqlite", "opaque", stack, work, seeds)


class _Memory:
    """What a side takes: when it has answered, and with many connections that stay open."""

    def __init__(self, start: sides.Start) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * CONNECTIONS)), hard))
        with contextlib.ExitStack() as stack:
            running = start(stack, sides.CALL, 1)
            self.name = running.name
            ask = running.works[sides.CALL]
            assert isinstance(ask, Ask)
            stack.enter_context(contextlib.closing(_asked(ask, running.port)))
            before = _resident_bytes(running.pid)
            for _ in range(CONNECTIONS):
                stack.enter_context(contextlib.closing(_asked(ask, running.port)))
            self.memory = {"started": before, "connected": _resident_bytes(running.pid)}


def _asked(ask: Ask, port: int) -> socket.socket:
    """Return a connection that has asked once, and stays open."""
    connection = socket.create_connection(("127.0.0.1", port))
    body = ask.body.encode()
    headers = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(body)), **ask.headers}
    lines = [f"POST {ask.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    answer = b""
    while ask.expects.encode() not in answer:
        part = connection.recv(65536)
        if not part:
            raise WrongAnswer(answer.decode())
        answer += part
    return connection


def _resident_bytes(pid: int) -> int:
    told = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").partition("VmRSS:")[2]
    return int(told.split()[0]) * 1024


def _starts() -> dict[str, float]:
    """Return what it takes until `serve` of a project listens."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "AUTH_DATA_DIR": f"{folder}/data",
            "AUTH_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "PYTHONPATH": str(_TEMPLATE / "src"),
        }
        words = [
            sys.executable,
            "-c",
            "from authserver.cli import main; main()",
            "serve",
            "--port",
            str(port),
        ]
        begun = time.perf_counter()
        with subprocess.Popen(
            words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            wait_for(port, process)
            wall = time.perf_counter() - begun
            used = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            process.terminate()
        ticks = int(used[11]) + int(used[12])
        return {"wall": wall, "processor": ticks / os.sysconf("SC_CLK_TCK")}


def _copies() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        words = ["copier", "copy", "--defaults", "--trust", "--quiet", "--vcs-ref=HEAD"]
        return _runs([sys.executable, "-m", *words, str(REPOSITORY), f"{folder}/project"], {})


def _runs(words: list[str], settings: dict[str, str]) -> dict[str, float]:
    environment = os.environ | {"PYTHONPATH": str(_TEMPLATE / "src")} | settings
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - begun
    if done.returncode:
        raise WrongAnswer(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "processor": used}


def _middle(work: Callable[[], dict[str, float]]) -> dict[str, float]:
    work()  # compiles
    found = [work() for _ in range(_TIMES)]
    return {name: statistics.median(one[name] for one in found) for name in found[0]}
