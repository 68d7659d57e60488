"""What the tests share: the template as the working tree has it, and projects with their environments."""

import fcntl
import os
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import engines
import pytest
from counting import _count_attacks
from engines import Engine
from rendering import AXES, REPOSITORY, Answers, choices, clone, render, title

__all__ = ["_count_attacks"]


@pytest.fixture(scope="session", autouse=True)
def _environment() -> None:
    """Rendered projects resolve their dependencies as of the day that this repository is held at."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    os.environ["UV_EXCLUDE_NEWER"] = settings["tool"]["uv"]["exclude-newer"]
    os.environ.pop("VIRTUAL_ENV", None)
    for name in list(os.environ):
        if name.startswith("AUTH_"):
            del os.environ[name]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone of the repository with all that is not committed yet, tagged higher than any release."""
    return clone(tmp_path_factory.mktemp("template") / "copier-fastmcp-oauth", "999.0.0")


def environment(template: Path, shared: Path, answers: Answers) -> Path:
    """Return a rendered project whose own environment is complete; made once for all workers."""
    project = shared / title(answers) / "my-server"
    project.parent.mkdir(exist_ok=True)
    with (project.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (project / "uv.lock").exists():
            render(template, project, **answers)
            subprocess.run(["uv", "sync", "--quiet"], cwd=project, check=True)
    return project


def has_server(storage: str) -> bool:
    """Say whether a storage is a server that several nodes can share."""
    return "storage_url" in import_module(f"authserver.storage.{storage}").Settings.model_fields


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a folder that all test processes of this run share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "projects"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def default_project(template: Path, shared: Path) -> Path:
    """Return the project that the default answers give, ready to run."""
    return environment(template, shared, {axis: choices(axis)[0] for axis in AXES})


@pytest.fixture(scope="module", params=choices("storage"))
def storage(request: pytest.FixtureRequest) -> str:
    """Return each storage that can be chosen."""
    chosen: str = request.param
    return chosen


def stored(template: Path, shared: Path, storage: str) -> Path:
    """Return a project with that storage, otherwise as the default answers give it, ready to run."""
    answers = {axis: choices(axis)[0] for axis in AXES} | {"storage": storage}
    return environment(template, shared, answers)


@pytest.fixture(scope="module")
def stored_project(template: Path, shared: Path, storage: str) -> Path:
    """Return a project with each storage."""
    return stored(template, shared, storage)


@pytest.fixture(scope="module", params=[name for name in choices("storage") if has_server(name)])
def shared_storage(request: pytest.FixtureRequest) -> str:
    """Return each storage that several nodes can share."""
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def shared_project(template: Path, shared: Path, shared_storage: str) -> Path:
    """Return a project with each storage that several nodes can share."""
    return stored(template, shared, shared_storage)


@pytest.fixture(scope="session")
def running_engines() -> Iterator[Callable[[str], Engine]]:
    """Return a function that gives the engine of a storage, started once for each test process."""
    with ExitStack() as stack:

        @cache
        def running(storage: str) -> Engine:
            return stack.enter_context(engines.running(storage))

        yield running


@pytest.fixture(scope="module")
def engine(storage: str, running_engines: Callable[[str], Engine]) -> Engine:
    """Return the engine of the project's storage."""
    return running_engines(storage)


@pytest.fixture(scope="module")
def shared_engine(shared_storage: str, running_engines: Callable[[str], Engine]) -> Engine:
    """Return the engine of a storage that several nodes share."""
    return running_engines(shared_storage)


@pytest.fixture(scope="module")
def default_store(running_engines: Callable[[str], Engine]) -> dict[str, str]:
    """Return the settings of an empty store for the default project."""
    return running_engines(choices("storage")[0]).settings(uuid4().hex)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the passed tests counted: attacks, fuzzed requests and the like."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, count in report.user_properties:
            counts[name] += count
    terminalreporter.write_line(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
