"""Programs of rendered projects, run as forks of one process that has loaded the libraries.

A start costs a tenth of that of a command: what takes long is the loading of FastMCP. One environment, that
of this repository, has the libraries of all choices; `Libraries` hides those that a project does not declare.
"""

import atexit
import contextlib
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import pytest
from covered import measured
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]

# Nothing of ours, so that each fork loads that of its own project.
_PRELOADED = [
    "cryptography.hazmat.primitives.serialization",
    "cyclopts",
    "fastmcp.client.auth",
    "fastmcp.prompts",
    "fastmcp.server.auth",
    "fastmcp.server.http",
    "fastmcp.server.server",
    "hypothesis",
    "jinja2",
    "mcp.server.auth.handlers.token",
    "pydantic_settings",
    "pytest",
    "sqlite3",
    "structlog",
    "tomllib",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.supervisors",
]

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(_PRELOADED)


@dataclass(frozen=True)
class Libraries:
    """What may be imported: all there is, or what a project declares."""

    hidden: frozenset[str] = frozenset()
    """Names of modules that are not there."""

    @staticmethod
    def of(distributions: Iterable[str]) -> "Libraries":
        """Return those of some distributions; all others are hidden."""
        wanted = set(map(canonicalize_name, distributions))
        hidden = {
            module
            for module, providers in _providers().items()
            if wanted.isdisjoint(map(canonicalize_name, providers))
        }
        return Libraries(frozenset(hidden - {"app", "authserver", "coverage"}))

    def apply(self) -> None:
        """Hide the others from this process."""
        for name in [name for name in sys.modules if name.partition(".")[0] in self.hidden]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Hiding(self.hidden))


@cache
def _providers() -> Mapping[str, list[str]]:
    return packages_distributions()


class _Hiding(MetaPathFinder):
    """Finds nothing, loudly, for names that are to be hidden."""

    def __init__(self, hidden: frozenset[str]) -> None:
        self._hidden = hidden

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._hidden:
            raise ModuleNotFoundError(f"the project does not declare what {fullname} is in", name=fullname)
        return None


ALL = Libraries()

# A busy machine is slow, not wrong: how long a storage may take a command. Its own tests try these limits.
_LIMITS = {
    "authserver.storage.postgresql.connections": "_OPERATION_SECONDS",
    "authserver.storage.redis.server": "_LIMIT_SECONDS",
    "authserver.storage.sqlite.writer": "_WAIT_SECONDS",
}

# What is loaded already, pytest cannot look into; no test is among it.
_NO_REWRITING = "-Wignore::pytest.PytestAssertRewriteWarning"


def inherited() -> dict[str, str]:
    """Return the environment, without what the tests here are told by it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


class _Descriptor:
    """A file descriptor that a fork gets a copy of."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _taken, (DupFd(self.number),)


def _taken(copy: Any) -> int:
    number: int = copy.detach()
    return number


@dataclass(frozen=True)
class Program:
    """What a fork does: in which project, with which environment variables and words."""

    project: Path
    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=inherited)
    libraries: Libraries = ALL
    run: Callable[[tuple[str, ...]], int | None] | None = None
    """What it runs; None is the project's own command."""

    def start(self, stdin: int, stdout: int, stderr: int) -> BaseProcess:
        """Start it as the leader of a process group of its own."""
        descriptors = [_Descriptor(number) for number in (stdin, stdout, stderr)]
        process = _FORKS.Process(target=_fork, args=(self, *descriptors))
        process.start()
        return process

    def finish(self, seconds: float = 3600) -> subprocess.CompletedProcess[str]:
        """Run it to its end; return what it printed. Raises TimeoutExpired."""
        nothing = Path(os.devnull)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, nothing.open() as given:
            process = self.start(given.fileno(), out.fileno(), err.fileno())
            process.join(seconds)
            ended = not process.is_alive()
            if not ended and process.pid:
                os.killpg(process.pid, signal.SIGKILL)
                process.join()
            printed = []
            for file in (out, err):
                file.seek(0)
                printed.append(file.read().decode(errors="replace"))
        if not ended:
            raise subprocess.TimeoutExpired(self.words, seconds, *printed)
        return subprocess.CompletedProcess(self.words, process.exitcode or 0, *printed)


def _fork(program: Program, stdin: int, stdout: int, stderr: int) -> None:
    """Become the program."""
    os.setsid()
    for number, wanted in enumerate((stdin, stdout, stderr)):
        os.dup2(wanted, number)
        os.close(wanted)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, 1) for number, mode in enumerate("rww"))
    os.environ.clear()
    os.environ.update(program.environment)
    source = str(program.project / "src")
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (*given, source)))
    libraries = [path for path in sys.path if not _is_ours(path)]
    sys.path[:] = [*filter(None, given), source, *libraries]
    os.chdir(program.project)
    if any(given):  # as at each start of Python
        sys.modules.pop("sitecustomize", None)
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module("sitecustomize")
    if not program.project.is_relative_to(REPOSITORY):
        # Beside the project, which stays as it was rendered.
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(program.project.parent / "pycache")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("app", "authserver")]:
        del sys.modules[name]
    # Workers begin as forks of this process, instead of loading all libraries anew.
    contexts = multiprocessing.context._concrete_contexts  # type: ignore[attr-defined]
    contexts["forkserver"] = contexts["spawn"] = contexts["fork"]
    importlib.import_module("uvicorn._subprocess").spawn = contexts["fork"]  # type: ignore[attr-defined]
    program.libraries.apply()
    sys.argv = [program.project.name, *program.words]
    if program.run is not None:
        atexit._clear()
        try:
            sys.exit(program.run(program.words))
        finally:
            atexit._run_exitfuncs()  # forks leave that out: servers that tests started would go on
    for module, limit in _LIMITS.items():
        with contextlib.suppress(ModuleNotFoundError):  # it has one storage
            vars(importlib.import_module(module))[limit] = 60.0
    importlib.import_module("authserver.cli").main()


def own_tests(
    project: Path, *words: str, libraries: Libraries = ALL, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the project's own tests, in one process."""
    options = ("-q", "-n0", "--maxfail=9", "--tb=short", "-pno:cacheprovider", _NO_REWRITING)
    return Program(project, (*options, *words), inherited() | environment, libraries, _pytest).finish()


def _pytest(words: tuple[str, ...]) -> int:
    with measured(Path.cwd()):
        return int(pytest.main(list(words)))


def _is_ours(path: str) -> bool:
    """Say whether a path of the interpreter leads to the sources here, and not to libraries."""
    here = Path(path or ".").resolve()
    return here.is_relative_to(REPOSITORY) and "site-packages" not in here.parts and ".venv" not in here.parts
