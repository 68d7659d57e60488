"""A rendered project's server, run on a terminal, as its user would.

It begins as a fork (see `forks.py`), or by the command itself where a test is about that.
"""

import contextlib
import os
import pty
import re
import signal
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from forks import ALL, Libraries, Program
from ports import free_port

# A machine may be six times too busy.
_START_SECONDS = 300
_STOP_SECONDS = 60


class Server:
    """A running server: its address, what it printed, and its command for operators."""

    def __init__(
        self,
        project: Path,
        store: dict[str, str],
        port: int | None = None,
        host: str = "127.0.0.1",
        name: str = "127.0.0.1",
        libraries: Libraries = ALL,
        by_command: bool = False,
        **settings: str,
    ) -> None:
        self.project = project
        self._libraries = libraries
        self._by_command = by_command
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
            "AUTH_LIMIT_REFRESHES_PER_HOUR": "0",
            **settings,
        }
        self.environment.pop("VIRTUAL_ENV", None)
        self.printed = ""

    def command(self, *words: str) -> str:
        """Run a command of the project and return what it prints; raises CalledProcessError."""
        if self._by_command:
            done = subprocess.run(
                self._typed(*words),
                cwd=self.project,
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
            )
        else:
            done = Program(self.project, words, self.environment, libraries=self._libraries).finish()
        done.check_returncode()
        return done.stdout

    def invite(self, name: str) -> str:
        """Return a one-time link; nothing where accounts come from elsewhere."""
        try:
            return self.command("users", "invite", name).strip()
        except subprocess.CalledProcessError as error:
            if "directory" not in error.stderr:
                raise
            return ""

    def _typed(self, *words: str) -> tuple[str, ...]:
        return ("uv", "run", "--no-sync", self.project.name, *words)

    @contextlib.contextmanager
    def running(
        self, *options: str, command: Sequence[str] = (), folder: Path | None = None
    ) -> Iterator["Server"]:
        """Run the server, or this command, on a terminal, where it prints the link for the first account."""
        terminal, inside = pty.openpty()
        words = ("serve", "--host", self._host, "--port", str(self.port), *options)
        if command or self._by_command:
            command = command or self._typed(*words)
            self._process: _Process = _Command(command, folder or self.project, self.environment, inside)
        else:
            program = Program(self.project, words, self.environment, libraries=self._libraries)
            self._process = _Fork(program, inside)
        process = self._process
        os.close(inside)
        # A terminal that nobody reads fills up, and stops whoever writes to it.
        reading = threading.Thread(target=self._read, args=(terminal,))
        reading.start()
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not self._ready():
                assert process.lives(), self.printed
                assert time.monotonic() < deadline, self.printed
                time.sleep(0.02)
            yield self
        finally:
            if process.lives():
                self.stop()
            reading.join()
            os.close(terminal)

    def kill(self) -> None:
        """Kill all its processes at once, as a power cut would."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Stop it, as a supervisor does."""
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()

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
        """The one-time link that the first start prints, and that may be read after the server answers.

        Nothing where accounts come from elsewhere.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not (found := re.search(rf"({re.escape(self.url)}/invite/\S+)\s", self.printed)):
            if re.search(r"No account yet\. (?!Create)[^\n]*\n", self.printed):
                return ""
            assert time.monotonic() < deadline, self.printed
            time.sleep(0.05)
        return found[1]

    def _ready(self) -> bool:
        scheme = "https" if "AUTH_TLS_KEY_FILE" in self.environment else "http"
        address, anybody = f"{scheme}://{self._host}:{self.port}/readyz", ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(address, timeout=60, context=anybody) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False


class _Process(Protocol):
    """The process that leads a server's group."""

    pid: int

    def lives(self) -> bool:
        """Say whether it has not ended."""

    def wait(self) -> None:
        """Wait until it has ended."""


class _Command:
    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str], tty: int) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=tty,
            stdout=tty,
            stderr=tty,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def lives(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> None:
        self._process.wait(_STOP_SECONDS)


class _Fork:
    def __init__(self, program: Program, tty: int) -> None:
        self._process = program.start(tty, tty, tty)
        assert self._process.pid
        self.pid = self._process.pid

    def lives(self) -> bool:
        return self._process.is_alive()

    def wait(self) -> None:
        self._process.join(_STOP_SECONDS)
        assert not self._process.is_alive()
