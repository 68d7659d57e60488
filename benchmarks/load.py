"""Load by wrk, on a processor of its own; what a server does for an answer is read from its processes."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
CONNECTIONS = 16
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@dataclass(frozen=True)
class Ask:
    """The same request again and again; its answers hold `expects`."""

    path: str
    expects: str
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def variables(self, round_: int) -> dict[str, str]:
        """Return what load/ask.lua reads."""
        headers = "\n".join(f"{name}: {value}" for name, value in self.headers.items())
        method = "POST" if self.body else "GET"
        return {"METHOD": method, "BODY": self.body, "HEADERS": headers, "EXPECTS": self.expects}


@dataclass(frozen=True)
class Refresh:
    """Chains of refreshes, other ones in each round: how the last answers of a round ended is not known."""

    path: str
    fields: str
    tokens: list[str]

    def variables(self, round_: int) -> dict[str, str]:
        """Return what load/refresh.lua reads."""
        seeds = self.tokens[round_ * CONNECTIONS :][:CONNECTIONS]
        return {"PATH_ASKED": self.path, "FIELDS": self.fields, "SEEDS": ",".join(seeds)}


@dataclass(frozen=True)
class Figure:
    """What one side did in one round."""

    answers_per_second: float
    processor_microseconds: float
    """Of the server and what it started, for an answer."""
    milliseconds_99: float
    """In which 99 of 100 answers came."""


class WrongAnswer(Exception):
    """A side did not answer as it should."""


class NoAnswer(Exception):
    """A side did not answer in time: its first answer takes long."""


def put_under_load(what: Ask | Refresh, port: int, pids: list[int], *, seconds: int, round_: int) -> Figure:
    """Return a figure; raises WrongAnswer."""
    threads = CONNECTIONS if isinstance(what, Refresh) else 1
    script = HERE / "load" / f"{type(what).__name__.lower()}.lua"
    words = ["wrk", f"-t{threads}", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script)]
    before = _processor_seconds(pids)
    done = subprocess.run(
        [*on_processor(1), *words, f"http://127.0.0.1:{port}{what.path}"],
        env=os.environ | what.variables(round_),
        check=True,
        capture_output=True,
        text=True,
    )
    used = _processor_seconds(pids) - before
    told = re.search(r"(\d+) requests in ([\d.]+)(m?s)", done.stdout)
    late = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    if told is None or late is None or "bad: 0\n" not in done.stdout:
        raise WrongAnswer(done.stdout)
    answers, took = int(told[1]), float(told[2]) / (1000 if told[3] == "ms" else 1)
    if answers == 0:
        raise NoAnswer(f"{what.path}: no answer in {seconds} s")
    factor = {"us": 0.001, "ms": 1, "s": 1000}[late[2]]
    return Figure(answers / took, used / answers * 1e6, float(late[1]) * factor)


def on_processor(number: int) -> list[str]:
    """Return what a command begins with that runs on one processor only."""
    return ["taskset", "-c", str(number)]


def _processor_seconds(pids: list[int]) -> float:
    """Return the processor time of processes, and of the processes that they started."""
    return sum(
        int(thread.joinpath("schedstat").read_text().split()[0]) / 1e9
        for pid in pids
        for one in _family(pid)
        for thread in Path(f"/proc/{one}/task").iterdir()
    )


def _family(pid: int) -> Iterator[int]:
    yield pid
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in thread.joinpath("children").read_text().split():
            yield from _family(int(child))
