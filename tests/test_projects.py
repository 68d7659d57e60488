"""Every combination in its own environment: dependencies, tests and hooks."""

import os
import subprocess
from importlib.metadata import Distribution, distributions
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import environment
from counting import Count
from rendering import AXES, Answers, combinations, commit, differences, git, questions, title


@pytest.fixture(params=combinations(*AXES), ids=title)
def answers(request: pytest.FixtureRequest) -> Answers:
    chosen: Answers = request.param
    return chosen


@pytest.fixture
def project(template: Path, shared: Path, answers: Answers) -> Path:
    return environment(template, shared, answers)


def run(project: Path, *command: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        ["uv", "run", "--locked", *command],
        cwd=project,
        env=inherited | {"UV_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests_pass(project: Path, answers: Answers, tmp_path: Path, record_property: Count) -> None:
    """All of them for what differs in one answer from the default; else those that answers meet in."""
    here = project / "tests" / "authserver"
    where_answers_meet = [
        *(str(here / name) for name in ("test_flow.py", "test_provider.py")),
        *map(str, here.glob("test_tokens_*.py")),
    ]
    all_of_them = differences(answers) < 2 or os.environ.get("EVERY_TEST") == "true"
    report = tmp_path / "report.xml"
    chosen = [] if all_of_them else where_answers_meet
    assert " passed" in run(project, "pytest", "-q", f"--junit-xml={report}", *chosen)
    for done in ET.parse(report).iter("property"):
        record_property(done.attrib["name"], int(done.attrib["value"]))


@pytest.mark.parametrize(
    "answers", [found for found in combinations(*AXES) if differences(found) < 2], ids=title
)
def test_its_own_hooks_pass_without_a_forge(
    project: Path,
    answers: Answers,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the others `test_render.py` says the same. One cache for all."""
    monkeypatch.setenv("MYPY_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "mypy"))
    if not (project / ".git").exists():
        git(project, "init", "--quiet")
    commit(project, "Start")
    assert "Failed" not in run(project, "pre-commit", "run", "--all-files")
    assert git(project, "status", "--porcelain") == ""


def test_names_of_its_packages_and_commands_are_refused_for_projects(project: Path) -> None:
    """A project named like a package of its environment could not be installed."""
    [site] = (project / ".venv").glob("lib/python*/site-packages")
    taken = set(questions()["taken_names"]["default"].split())
    missing = (
        {name for found in distributions(path=[str(site)]) for name in _names(found)} - taken - {"my-server"}
    )
    assert not missing, " ".join(sorted(missing))


def _names(found: Distribution) -> set[str]:
    commands = {point.name.lower() for point in found.entry_points if point.group == "console_scripts"}
    return {name.replace("_", "-").replace(".", "-") for name in {found.name.lower(), *commands}}
