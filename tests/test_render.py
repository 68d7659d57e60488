"""Every combination of answers, as it is written: complete, clean, formatted, typed, and repeatable."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Rendered
from rendering import (
    AXES,
    TEMPLATE,
    Answers,
    choices,
    files,
    modules,
    projects,
    questions,
    render,
    title,
)

_ILLEGAL_ON_WINDOWS = re.compile(
    r'[<>:"|?*\\\x00-\x1f]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE
)


@pytest.fixture(scope="module", params=projects(), ids=title)
def answers(request: pytest.FixtureRequest) -> Answers:
    chosen: Answers = request.param
    return chosen


@pytest.fixture(scope="module")
def project(rendered: Rendered, answers: Answers) -> Path:
    return rendered(answers)


def test_rendering_twice_is_identical(
    plain_template: Path, tmp_path: Path, project: Path, answers: Answers
) -> None:
    assert files(render(plain_template, tmp_path / "my-server", **answers)) == files(project)


def test_exactly_the_chosen_modules_are_there_with_their_tests(project: Path, answers: Answers) -> None:
    for axis in AXES:
        assert modules(project / "src" / "authserver", axis) == {answers[axis]}
        tests = {path.name for path in (project / "tests" / "authserver").glob(f"test_{axis}_*")}
        assert tests == {f"test_{axis}_{answers[axis]}.py"}
    for folder, axis in (("engines", "storage"), ("logins", "login")):
        supports = {path.stem for path in (project / "tests" / "authserver" / folder).iterdir()}
        assert supports == {"__init__", answers[axis]}


def test_only_the_chosen_forge_gets_a_pipeline(project: Path, answers: Answers) -> None:
    found = {path.name for path in project.iterdir() if path.name.startswith((".github", ".gitlab"))}
    expected = {"github": {".github"}, "gitlab": {".gitlab", ".gitlab-ci.yml"}, "none": set()}
    assert found == expected[answers["ci"]]


def test_every_file_is_clean(project: Path) -> None:
    for name, content in files(project).items():
        assert not any(map(_ILLEGAL_ON_WINDOWS.search, name.split("/"))), name
        assert not name.endswith((".jinja", ".pyc")), name
        text = content.decode("utf-8")
        assert "\r" not in text, name
        assert not text or (text.endswith("\n") and not text.endswith("\n\n")), name
        assert not re.search(r"[ \t]$", text, re.MULTILINE), name
        if (TEMPLATE / f"{name}.jinja").exists():
            assert not re.search(r"{{|{%|{#", text.replace("${{", "")), name
    names = [name.lower() for name in files(project)]
    assert len(names) == len(set(names))


def test_it_holds_no_date_and_nothing_of_this_machine(plain_template: Path, project: Path) -> None:
    for name, content in files(project).items():
        if name != ".copier-answers.yml":
            assert str(plain_template).encode() not in content, name
            assert not re.search(rb"20\d\d-\d\d-\d\dT\d\d", content), name


def test_it_is_formatted_linted_and_typed(project: Path, types: Path) -> None:
    """With this repository's environment."""
    for command in (
        ["ruff", "format", "--check", "--no-cache"],
        ["ruff", "check", "--no-cache"],
        ["mypy", "--cache-dir", str(types)],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_answers_file_keeps_every_answer(project: Path, answers: Answers) -> None:
    text = (project / ".copier-answers.yml").read_text()
    for name, answer in answers.items():
        assert re.search(rf"^{name}: {re.escape(json.dumps(answer)[1:-1])}$", text, re.MULTILINE)
    assert re.search(r"^born: \d+$", text, re.MULTILINE)


@pytest.mark.parametrize("axis", AXES)
def test_the_first_choice_is_the_default(axis: str) -> None:
    assert questions()[axis]["default"] == choices(axis)[0]
