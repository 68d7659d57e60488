"""Every combination with the libraries that it declares: a login from start to end, and its own tests."""

import subprocess
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from xml.etree import ElementTree as ET

import effort
import pytest
from conftest import Rendered, SignInBy
from counting import Count
from declared import declared
from engines import Engine
from forks import Libraries, Program, own_tests
from oauth_client import OAuthClient, alive, call, result
from person import Person
from rendering import (
    AXES,
    Answers,
    combinations,
    commit,
    git,
    one_for_each_answer,
    questions,
    render,
    title,
)
from servers import Server

Running = Callable[[str], Engine]


@pytest.fixture(params=combinations(*AXES), ids=title)
def answers(request: pytest.FixtureRequest) -> Answers:
    chosen: Answers = request.param
    return chosen


@pytest.fixture
def project(rendered: Rendered, answers: Answers) -> Path:
    return rendered(answers)


@pytest.mark.filterwarnings("ignore:tagMap|typeMap:DeprecationWarning")  # ldap3 uses old names of pyasn1
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_somebody_logs_in_and_calls_a_tool(
    project: Path, answers: Answers, running_engines: Running, sign_in_by: SignInBy, record_property: Count
) -> None:
    """With the libraries that it declares, and no other."""
    way = sign_in_by(answers["login"])
    store = way.settings() | running_engines(answers["storage"]).settings(title(answers))
    server = Server(project, store, name="localhost", libraries=Libraries.of(declared(project)))
    with server.running():
        owner = Person(server, "owner")
        assert owner.join(server.first_account_link).url.path == "/account"
        client = OAuthClient(server)
        tokens = client.tokens(owner)
        assert ("." in tokens["access_token"]) == (answers["tokens"] == "jwt")
        said = result(call(server, tokens["access_token"], name="list_notes", arguments={}))
        assert said["isError"] is False
        refreshed = client.refresh(tokens["refresh_token"]).json()
        assert alive(server, refreshed["access_token"])
        assert client.post("/revoke", token=refreshed["refresh_token"]).status_code == 200
        assert client.refresh(refreshed["refresh_token"]).json()["error"] == "invalid_grant"
    record_property("combinations logged in to", 1)


def test_what_is_not_declared_cannot_be_imported(default_project: Path) -> None:
    found = Program(
        default_project, (), libraries=Libraries.of(declared(default_project)), run=_imports_asyncpg
    ).finish()
    assert found.returncode == 1
    assert "does not declare what asyncpg is in" in found.stderr


def _imports_asyncpg(_: tuple[str, ...]) -> None:
    import asyncpg  # noqa: F401, PLC0415


COVERING = one_for_each_answer(combinations(*AXES))

ABOUT_CHOICES = {
    "storage",
    "test_attacks.py",
    "test_backup.py",
    "test_flow.py",
    "test_grant_life.py",
    "test_secrets.py",
}
"""What each storage, login and token format passes by itself, beside tests that only its projects have."""


def effort_of(answers: Answers, *, about_choices: bool) -> pytest.MarkDecorator:
    """All own tests of the default project, and of a covering set those about what was chosen."""
    if answers not in COVERING:
        return effort.release
    return effort.commit if about_choices or answers == COVERING[0] else effort.release


@effort.early
@pytest.mark.parametrize(
    ("answers", "about_choices"),
    [
        pytest.param(
            answers,
            about_choices,
            marks=effort_of(answers, about_choices=about_choices),
            id=f"{title(answers)}-{'choices' if about_choices else 'all else'}",
        )
        for answers in combinations(*AXES)
        for about_choices in (True, False)
    ],
)
def test_all_its_own_tests_pass(
    project: Path, default_project: Path, about_choices: bool, tmp_path: Path, record_property: Count
) -> None:
    """In two processes."""
    everywhere = {path.name for path in own(default_project)} - ABOUT_CHOICES
    chosen = [path for path in own(project) if (path.name not in everywhere) == about_choices]
    paths = sorted(path.relative_to(project).as_posix() for path in chosen)
    own_tests_pass(project, tmp_path, record_property, *paths, *(["tests/app"] if about_choices else []))


def own(project: Path) -> set[Path]:
    """Return the files of a project's own tests, and their folders."""
    folder = project / "tests" / "authserver"
    return {path for path in folder.iterdir() if path.name.startswith("test_") or any(path.glob("test_*.py"))}


def own_tests_pass(project: Path, tmp_path: Path, record_property: Count, *chosen: str) -> None:
    report = tmp_path / "report.xml"
    written = (f"--junit-xml={report}", "-ojunit_family=legacy")
    words = (f"--basetemp={tmp_path / 'own'}", *written, *chosen)
    done = own_tests(project, *words, libraries=Libraries.of(declared(project, "dev")))
    assert done.returncode == 0, done.stdout + done.stderr
    found = ET.parse(report)
    for suite in found.iter("testsuite"):
        record_property("own tests", int(suite.attrib["tests"]) - int(suite.attrib["skipped"]))
    for skipped in found.iter("skipped"):
        record_property(effort.MISSING + skipped.attrib["message"], 1)
    for counted in found.iter("property"):
        if counted.attrib["value"].isdigit():  # Hypothesis writes others
            record_property(counted.attrib["name"], int(counted.attrib["value"]))


# ---------------------------------------------------------------------------------- environments of their own


@pytest.mark.filterwarnings("ignore:tagMap|typeMap:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@effort.release
def test_its_own_command_starts_in_an_environment_of_its_own(
    plain_template: Path, tmp_path: Path, answers: Answers, sign_in_by: SignInBy, running_engines: Running
) -> None:
    """As `uv run` makes it, with two workers, on a terminal: what is declared and built suffices."""
    project = render(plain_template, tmp_path / "my-server", **answers)
    subprocess.run(["uv", "sync", "--quiet", "--no-dev"], cwd=project, check=True)
    way = sign_in_by(answers["login"])
    store = way.settings() | running_engines(answers["storage"]).settings(f"own {title(answers)}")
    server = Server(project, store, name="localhost", by_command=True)
    with server.running("--workers", "2"):
        owner = Person(server, "owner")
        assert owner.join(server.invite("owner")).url.path == "/account"
        assert alive(server, OAuthClient(server).tokens(owner)["access_token"])


@effort.release
def test_its_own_hooks_pass_without_a_forge(
    plain_template: Path, tmp_path: Path, answers: Answers, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the others `test_render.py` says the same. One cache for all."""
    project = render(plain_template, tmp_path / "my-server", **answers)
    git(project, "init", "--quiet")
    commit(project, "Start")
    monkeypatch.setenv("MYPY_CACHE_DIR", str(shared / "mypy"))
    done = subprocess.run(
        ["uv", "run", "--quiet", "pre-commit", "run", "--all-files"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert git(project, "status", "--porcelain") == "?? uv.lock\n"


def test_names_of_its_packages_and_commands_are_refused_for_projects(project: Path) -> None:
    """A project named like a package of its environment could not be installed."""
    taken = set(questions()["taken_names"]["default"].split())
    missing = {name for found in declared(project, "dev") for name in _names(found)} - taken
    assert not missing, " ".join(sorted(missing))


def _names(package: str) -> set[str]:
    """Return the name of a package and those of its commands. This environment has all of them."""
    commands = {
        point.name.lower() for point in distribution(package).entry_points.select(group="console_scripts")
    }
    return {name.replace("_", "-").replace(".", "-") for name in {package.lower(), *commands}}
