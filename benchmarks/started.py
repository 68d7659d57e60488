"""Processes of servers: started on a processor of their own, waited for, ended."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load import HERE, Ask, Figure, NoAnswer, Refresh, WrongAnswer, on_processor, put_under_load
from ports import free_port

Works = dict[str, Ask | Refresh]

_PATIENCE = 10
# A busy machine is slow, not wrong.
_START_SECONDS = 300


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    name: str
    port: int
    pid: int
    works: Works

    def warm_up(self, work: str) -> None:
        """Ask until it answers; raises WrongAnswer."""
        self.measure(work, seconds=1, round_=0)

    def measure(self, work: str, *, seconds: int, round_: int) -> Figure:
        """Return a figure of one round, on a busy machine of one in which there were answers.

        Raises WrongAnswer.
        """
        asked = self.works[work]
        for _ in range(_PATIENCE):
            try:
                return put_under_load(asked, self.port, [self.pid], seconds=seconds, round_=round_)
            except NoAnswer:
                continue
            except WrongAnswer as error:
                raise WrongAnswer(f"{self.name}, {work}: {error}") from None
        raise WrongAnswer(f"{self.name}, {work}: no answer")


def python(
    stack: contextlib.ExitStack,
    environment: dict[str, str],
    port: int,
    *,
    workers: int = 1,
    pinned: bool = True,
) -> int:
    """Start a server of `measured.py`, on the first processor where it is pinned; return its process."""
    words = [sys.executable, "-m", "uvicorn", "--factory", "measured:create_app", "--port", str(port)]
    words += ["--no-access-log", "--no-proxy-headers", "--no-server-header", "--log-level", "critical"]
    words += ["--workers", str(workers)]
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    log = stack.enter_context(Path(folder, "log").open("wb"))  # noqa: SIM115
    process = subprocess.Popen(
        [*(on_processor(0) if pinned else []), *words],
        cwd=HERE,
        env=os.environ | environment,
        stderr=log,
        stdout=log,
    )
    stack.callback(_end, process)
    wait_for(port, process)
    return process.pid


def peer(
    stack: contextlib.ExitStack, words: list[str], seeds: int, **environment: str
) -> tuple[int, int, dict[str, Any]]:
    """Start a peer, which prints one line of what it issued; return its port, process and that."""
    port = free_port()
    process = subprocess.Popen(
        [*on_processor(0), *words, str(port), str(seeds)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(_end, process)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise WrongAnswer(f"it did not start: {' '.join(words)}")
    wait_for(port, process)
    return port, process.pid, json.loads(line)


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until somebody listens there; raises WrongAnswer."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as visitor:
            if visitor.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise WrongAnswer("a server did not start")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
