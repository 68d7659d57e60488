"""A rendered project's server, run by its own command, as its user would."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from ports import free_port

_START_SECONDS = 60


class Server:
    """A running server: its address, what it printed, and its command for operators."""

    def __init__(
        self,
        project: Path,
        store: dict[str, str],
        port: int | None = None,
        host: str = "127.0.0.1",
        name: str = "127.0.0.1",
        **settings: str,
    ) -> None:
        self.project = project
        self.port = port or free_port()
        self.url = f"http://{name}:{self.port}"
        # One of several nodes listens on another address than the public one.
        self._host = host
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AUTH_")},
            "UV_OFFLINE": "1",
            "AUTH_PUBLIC_URL": self.url,
            **{f"AUTH_{name.upper()}": value for name, value in store.items()},
            "AUTH_LIMIT_REGISTRATIONS_PER_MINUTE": "0",
            "AUTH_LIMIT_SIGN_INS_PER_MINUTE": "0",
            **settings,
        }
        self.environment.pop("VIRTUAL_ENV", None)
        self.printed = ""

    def command(self, *words: str) -> str:
        """Run the project's own command and return what it prints."""
        done = subprocess.run(
            ["uv", "run", "--no-sync", self.project.name, *words],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    @contextlib.contextmanager
    def running(
        self, *options: str, command: Sequence[str] = (), folder: Path | None = None
    ) -> Iterator["Server"]:
        """Run the server on a terminal, so that it prints the link for the first account."""
        own_command = ("uv", "run", "--no-sync", self.project.name, "serve")
        listen = ("--host", self._host, "--port", str(self.port))
        terminal, inside = pty.openpty()
        self._process = process = subprocess.Popen(
            command or (*own_command, *listen, *options),
            cwd=folder or self.project,
            env=self.environment,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
        )
        os.close(inside)
        # A terminal that nobody reads fills up, and stops whoever writes to it.
        reading = threading.Thread(target=self._read, args=(terminal,))
        reading.start()
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not self._ready():
                assert process.poll() is None, self.printed
                assert time.monotonic() < deadline, self.printed
                time.sleep(0.05)
            yield self
        finally:
            if process.poll() is None:
                self.stop()
            reading.join()
            os.close(terminal)

    def kill(self) -> None:
        """Kill all its processes at once, as a power cut would."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(15)

    def stop(self) -> None:
        """Stop it, as a supervisor does."""
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(15)

    def memory_bytes(self) -> int:
        """Return the memory that its processes hold."""
        held = 0
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if os.getpgid(int(process.name)) == self._process.pid:
                    held += int((process / "statm").read_text().split()[1])
        return held * os.sysconf("SC_PAGESIZE")

    def _read(self, terminal: int) -> None:
        # Linux raises an error when the other side has closed.
        with contextlib.suppress(OSError):
            while data := os.read(terminal, 65536):
                self.printed += data.decode(errors="replace")

    @property
    def first_account_link(self) -> str:
        """The one-time link that the first start prints, and that may be read after the server answers."""
        deadline = time.monotonic() + _START_SECONDS
        while not (found := re.search(rf"({re.escape(self.url)}/invite/\S+)\s", self.printed)):
            assert time.monotonic() < deadline, self.printed
            time.sleep(0.05)
        return found[1]

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self._host}:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False
