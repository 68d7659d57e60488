"""What the tests share: the template as the working tree has it, projects of it, and engines."""

import gc
import os
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from pathlib import Path

import covered
import effort
import engines
import history
import logins
import pytest
from counting import _count_attacks
from engines import Engine
from person import Person
from rendering import (
    DEFAULTS,
    REPOSITORY,
    Answers,
    choices,
    clone,
    default_answers,
    once,
    render,
    title,
    without_history,
)
from servers import Server
from updating import one_environment, project, source

__all__ = ["_count_attacks", "one_environment", "project", "source"]

# Tests of somebody else: each is run where its server is.
collect_ignore = ["existing"]

LEFT = pytest.StashKey[Counter[str]]()
COVERED = pytest.StashKey[str]()


@pytest.fixture(scope="session", autouse=True)
def _environment() -> None:
    """Rendered projects resolve their dependencies as of the day that this repository is held at."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    os.environ["UV_EXCLUDE_NEWER"] = settings["tool"]["uv"]["exclude-newer"]
    for name in list(os.environ):
        # Without compiled files, which some machines switch off, each start takes a second longer.
        if name.startswith("AUTH_") or name in ("VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"):
            del os.environ[name]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a folder that all test processes of this run share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def template(shared: Path) -> Path:
    """Return a clone of the repository with all that is not committed yet, tagged higher than any release."""
    return once(shared / "template" / "copier-fastmcp-oauth", lambda folder: clone(folder, "999.0.0"))


@pytest.fixture(scope="session")
def plain_template(shared: Path, template: Path) -> Path:
    """Return the same without its history: rendering need not clone it."""
    return once(shared / "plain" / "copier-fastmcp-oauth", lambda folder: without_history(template, folder))


Rendered = Callable[[Answers], Path]


@pytest.fixture(scope="session")
def rendered(plain_template: Path, shared: Path) -> Rendered:
    """Return a function that gives the project of some answers, which no test may change."""

    def project(answers: Answers) -> Path:
        complete = default_answers() | answers
        folder = shared / title(complete) / "my-server"
        return once(folder, lambda folder: render(plain_template, folder, **complete))

    return project


@pytest.fixture(scope="session")
def types(shared: Path, default_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return mypy's cache of this test process. What takes longest, the libraries, is in it already."""

    def fill(folder: Path) -> None:
        command = [sys.executable, "-m", "mypy", "--cache-dir", str(folder)]
        subprocess.run(command, cwd=default_project, capture_output=True, check=False)

    filled = once(shared / "types", fill)
    return shutil.copytree(filled, tmp_path_factory.mktemp("types") / "mypy")


def has_server(storage: str) -> bool:
    """Say whether a storage is a server that several nodes can share."""
    return "storage_url" in import_module(f"authserver.storage.{storage}").Settings.model_fields


@pytest.fixture(scope="session")
def default_project(rendered: Rendered) -> Path:
    """Return the project that the default answers give."""
    return rendered(DEFAULTS)


@pytest.fixture(scope="module", params=choices("storage"))
def storage(request: pytest.FixtureRequest) -> str:
    """Return each storage that can be chosen."""
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def stored_project(rendered: Rendered, storage: str) -> Path:
    """Return a project with each storage, otherwise as the default answers give it."""
    return rendered(DEFAULTS | {"storage": storage})


@pytest.fixture(scope="module", params=[name for name in choices("storage") if has_server(name)])
def shared_storage(request: pytest.FixtureRequest) -> str:
    """Return each storage that several nodes can share."""
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def shared_project(rendered: Rendered, shared_storage: str) -> Path:
    """Return a project with each storage that several nodes can share."""
    return rendered(DEFAULTS | {"storage": shared_storage})


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


SignInBy = Callable[[str], logins.Way]


@pytest.fixture(scope="module")
def owner(server: Server) -> Person:
    """The first account of the module's `server`, made through the link on the terminal."""
    person = Person(server, "owner")
    assert person.join(server.first_account_link).status_code == 200
    return person


@pytest.fixture
def sign_in_by(monkeypatch: pytest.MonkeyPatch) -> SignInBy:
    """Return a function that lets people sign in by a login, and returns its way in."""

    def choose(login: str) -> logins.Way:
        way: logins.Way = import_module(f"logins.{login}").WAY
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            way.settings()
            gc.collect()  # ldap3 leaves sockets that it could not connect
        monkeypatch.setattr(logins, "chosen", lambda: way)
        return way

    return choose


# ------------------------------------------------------------------------------------------------- effort


def pytest_configure() -> None:
    """Begin only where all is known and, if CI asks for it, where the history is."""
    effort.require_known()
    history.require_in_ci()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this run's effort does not do, and begin with what takes long."""
    levels = {item: effort.level(item) for item in items}
    config.stash[LEFT] = Counter(level for level in levels.values() if not effort.is_done(level))
    config.hook.pytest_deselected(items=[item for item in items if not effort.is_done(levels[item])])
    chosen = [item for item in items if effort.is_done(levels[item])]
    items[:] = sorted(chosen, key=lambda item: item.get_closest_marker("early") is None)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that prints what this one left out. There, judge the coverage, if it was measured."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = dict(session.config.stash.get(LEFT, {}))
    elif folder := os.environ.get("COVERAGE"):
        percent, table = covered.report(Path(folder))
        session.config.stash[COVERED] = f"{table}lines covered: {percent:.1f} %"
        if percent < covered.FLOOR_PERCENT:
            session.config.stash[COVERED] += f", less than the floor of {covered.FLOOR_PERCENT} %"
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object, error: object) -> None:
    """Hear it from one of the test processes; all leave out the same."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    config.stash[LEFT] = Counter(getattr(node, "workeroutput", {}).get("left", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was done, what was left to a longer run, and what this machine lacks."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, number in report.user_properties:
            counts[name] += number
    say = terminalreporter.write_line
    if coverage := config.stash.get(COVERED, ""):
        say(coverage)
    done = [f"{name} {n}" for name, n in sorted(counts.items()) if not name.startswith(effort.MISSING)]
    say(f"done, EFFORT={effort.EFFORT}: {', '.join(done)}")
    for name, number in sorted(config.stash.get(LEFT, Counter()).items()):
        say(f"left to EFFORT={name}: {number} tests")
    for report in terminalreporter.stats.get("skipped", []):
        counts[effort.MISSING + report.longrepr[2].removeprefix("Skipped: ")] += 1
    for name, number in sorted(counts.items()):
        if name.startswith(effort.MISSING):
            say(f"{name} ({number} tests)")
