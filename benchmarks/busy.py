"""How long a check of a token takes while the server is busy: with a storm of sign-ins, with a purge.

A check is an introspection, asked a hundred times a second, each in its time: a request that waits behind
another one has waited, too.
"""

import asyncio
import contextlib
import http.client
import os
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from urllib.request import urlopen

import filling
from load import CONNECTIONS, HERE, Ask, WrongAnswer, on_processor
from runs import Found, Run
from sides import Store

_EVERY_SECONDS = 0.01
# What a storm needs until all of its connections wait for an answer.
_RISES_SECONDS = 1
_PURGE_EVERY_SECONDS = 5
_PATIENCE_SECONDS = 600
# On a busy machine a storm takes longer.
_TIMES = 10


def storm(run: Run) -> Found:
    """Return for each storage, in ms: what 99 of 100 checks take, calm and in a storm."""
    found = {}
    for storage in run.storages:
        with contextlib.ExitStack() as stack:
            store = Store.new(stack, storage)
            works = store.issue(1)
            store.serve(stack, works)
            ask = works["introspection"]
            assert isinstance(ask, Ask)
            probe(ask, store.port, seconds=1)
            rounds = []
            for _ in range(run.rounds):
                calm = _within_99(probe(ask, store.port, seconds=run.seconds))
                busy, sign_ins = _in_a_storm(ask, store.port, run.seconds)
                rounds.append({"calm": calm, "busy": busy, "sign_ins": sign_ins})
        found[storage] = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    return found


def purge(run: Run) -> Found:
    """Return for each storage, in ms: the longest check, calm and while what expired is deleted."""
    found = {}
    for storage in run.storages:
        with contextlib.ExitStack() as stack:
            store = Store.new(stack, storage)
            works = store.issue(1)
            asyncio.run(filling.fill(store, run.expired, lives_seconds=-1))
            store.serve(stack, works, BENCHMARK_PURGE=str(_PURGE_EVERY_SECONDS))
            ask = works["introspection"]
            assert isinstance(ask, Ask)
            probe(ask, store.port, seconds=1)
            calm = probe(ask, store.port, seconds=_PURGE_EVERY_SECONDS - 3)
            before = run.expired
            busy, seconds = [], 0
            while (left := filling.expired(store)) and seconds < _PATIENCE_SECONDS:
                busy += probe(ask, store.port, seconds=max(3, run.seconds))
                seconds += max(3, run.seconds)
            if left:
                raise WrongAnswer(f"{storage}: {left} of {before} expired grants are still there")
        found[storage] = {
            "calm": max(calm),
            "busy": max(busy),
            "busy_99": _within_99(busy),
            "grants": before,
        }
    return found


def probe(ask: Ask, port: int, *, seconds: float) -> list[float]:
    """Ask in even distances, on a processor of our own; return how late each answer came, in ms."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {1})
    connection = http.client.HTTPConnection("127.0.0.1", port)
    late = []
    begins = time.perf_counter()
    try:
        for number in range(int(seconds / _EVERY_SECONDS)):
            due = begins + number * _EVERY_SECONDS
            time.sleep(max(0.0, due - time.perf_counter()))
            connection.request("POST", ask.path, ask.body, dict(ask.headers))
            answer = connection.getresponse()
            if ask.expects not in answer.read().decode():
                raise WrongAnswer(f"{ask.path}: {answer.status}")
            late.append((time.perf_counter() - due) * 1000)
    finally:
        connection.close()
        os.sched_setaffinity(0, before)
    return late


def _in_a_storm(ask: Ask, port: int, seconds: int) -> tuple[float, float]:
    """Return what 99 of 100 checks take, and how many passwords were checked a second beside them."""
    for patience in range(1, _TIMES + 1):
        with _sign_ins(port, patience * (seconds + 2 * _RISES_SECONDS)) as strangers:
            time.sleep(patience * _RISES_SECONDS)
            busy = _within_99(probe(ask, port, seconds=seconds))
            told, _ = strangers.communicate()
        if sign_ins := _a_second(told):
            return busy, sign_ins
    raise WrongAnswer("no password was checked")


def _within_99(late: list[float]) -> float:
    return sorted(late)[int(len(late) * 0.99)]


@contextlib.contextmanager
def _sign_ins(port: int, seconds: int) -> Iterator["subprocess.Popen[str]"]:
    """Let strangers sign in meanwhile, as many at once as there are connections."""
    origin = f"http://127.0.0.1:{port}"
    with urlopen(f"{origin}/login") as page:
        cookie = page.headers["Set-Cookie"].partition(";")[0]
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.read().decode())
    if csrf is None:
        raise WrongAnswer("the page of the sign-in has no form")
    words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s"]
    with subprocess.Popen(
        [*on_processor(1), *words, "-s", str(HERE / "load" / "sign_in.lua"), origin],
        env=os.environ | {"FORM": f"csrf={csrf[1]}", "COOKIE": cookie, "ORIGIN": origin},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def _a_second(told: str) -> float:
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    if rate is None or "bad: 0\n" not in told:
        raise WrongAnswer(told)
    return float(rate[1])
