"""Compare tool calls and refreshes, with and without authentication, on each storage, in one run."""

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import engines
from cyclopts import App, Parameter
from ports import free_port
from rendering import choices

CALL = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "add", "arguments": {"one": 1, "other": 2}},
    }
)
HERE = Path(__file__).parent
APPS = 32

app = App()


class Connection:
    """One client that keeps its connection."""

    def __init__(self, port: int, tokens: dict[str, str]) -> None:
        self._port = port
        self._tokens = tokens
        self.answers = 0

    async def work(self, kind: str, until: float) -> None:
        """Ask, wait for the answer, ask again."""
        self.answers = 0
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while time.perf_counter() < until:
            writer.write(self._call() if kind == "call" else self._refresh())
            body = await _answer(reader)
            if kind == "refresh":
                self._tokens |= json.loads(body)
            self.answers += 1
        writer.close()

    def _call(self) -> bytes:
        token = self._tokens.get("access_token", "")
        headers = ["Content-Type: application/json", "Accept: application/json, text/event-stream"]
        return self._post("/mcp", CALL, *headers, f"Authorization: Bearer {token}")

    def _refresh(self) -> bytes:
        form = (
            f"grant_type=refresh_token&client_id={self._tokens['client_id']}"
            f"&refresh_token={self._tokens['refresh_token']}"
        )
        return self._post("/token", form, "Content-Type: application/x-www-form-urlencoded")

    def _post(self, path: str, body: str, *headers: str) -> bytes:
        lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, *headers, "", body]).encode()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert head.startswith(b"http/1.1 200"), head
    if b"content-length: " in head:
        return await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


class Side:
    """A running server, and clients that hold its tokens."""

    def __init__(self, name: str, store: dict[str, str], stack: contextlib.ExitStack) -> None:
        self.name = name
        self._port = free_port()
        self._environment = os.environ | {
            "BENCHMARK": name,
            "AUTH_PUBLIC_URL": f"http://127.0.0.1:{self._port}",
            "AUTH_LIMIT_REFRESHES_PER_HOUR": "0",
            **{f"AUTH_{key.upper()}": value for key, value in store.items()},
        }
        issued: list[dict[str, str]] = [{}] * APPS
        if name != "none":
            done = subprocess.run(
                [sys.executable, HERE / "issue.py", str(APPS)],
                env=self._environment,
                check=True,
                capture_output=True,
            )
            issued = json.loads(done.stdout)
        stack.enter_context(self._running())
        self._clients = [Connection(self._port, tokens) for tokens in issued]

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        command = [
            "uvicorn",
            "--factory",
            "measured:create_app",
            "--port",
            str(self._port),
            "--no-access-log",
        ]
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--log-level", "critical", "--no-access-log"],
            cwd=HERE,
            env=self._environment,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(200):
            with contextlib.suppress(OSError):
                asyncio.run(self._reached())
                break
            time.sleep(0.1)
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    async def _reached(self) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.close()

    def measure(self, kind: str, seconds: float) -> float:
        """Return answers a second."""

        async def all_of_them() -> None:
            until = time.perf_counter() + seconds
            await asyncio.gather(*(client.work(kind, until) for client in self._clients))

        started = time.perf_counter()
        asyncio.run(all_of_them())
        return sum(client.answers for client in self._clients) / (time.perf_counter() - started)


@app.default
def compare(
    *,
    seconds: float = 2,
    rounds: int = 5,
    storages: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
) -> None:
    """Measure all sides in turn.

    Parameters
    ----------
    seconds
        How long a side is measured in each round.
    rounds
        How many rounds there are.
    storages
        Only these storages.
    """
    with contextlib.ExitStack() as stack:
        sides = [Side("none", {}, stack)]
        for storage in storages or choices("storage"):
            engine = stack.enter_context(engines.running(storage, Path(tempfile.gettempdir())))
            sides += [
                Side(f"{storage},{tokens}", engine.settings(tokens), stack) for tokens in choices("tokens")
            ]
        _table("tools/call", sides, "call", seconds, rounds)
        _table("refresh", sides[1:], "refresh", seconds, rounds)


def _table(title: str, sides: list[Side], kind: str, seconds: float, rounds: int) -> None:
    for side in sides:
        side.measure(kind, 0.5)  # warm
    measured: dict[str, list[float]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            measured[side.name].append(side.measure(kind, seconds))
    middles = {name: statistics.median(values) for name, values in measured.items()}
    first = next(iter(middles.values()))
    for name, middle in middles.items():
        print(f"{title:12} {name:20} {middle:8.0f} /s  {middle / first:5.2f}")


if __name__ == "__main__":
    app()
