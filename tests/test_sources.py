"""Wherever the source is: it can be rendered and tested; one line says what needs the history."""

import os
import re
import subprocess
import sys
from pathlib import Path

import effort
import pytest
from history import needs_history
from rendering import commit, files, git, without_history

ANSWERS_FILE = ".copier-answers.yml"


def archive(template: Path, to: Path) -> str:
    without_history(template, to)
    return "this is no clone. Use git clone"


def archive_in_a_repository(template: Path, to: Path) -> str:
    """Its history is another one, and it ignores what lies in it."""
    git(to.parent, "init", "--quiet")
    (to.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    commit(to.parent, "Another history")
    return archive(template, to)


def shallow_clone(template: Path, to: Path) -> str:
    git(to.parent, "clone", "--quiet", "--depth=1", template.as_uri(), str(to))
    return "this clone is shallow. Run: git fetch --unshallow"


MAKERS = [
    archive,
    pytest.param(archive_in_a_repository, marks=effort.release),
    pytest.param(shallow_clone, marks=[effort.push, needs_history]),
]


@pytest.fixture(scope="module", params=MAKERS)
def source(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """Return a folder that has what this one has, but its history, and the line that says so."""
    folder = tmp_path_factory.mktemp("Über uns") / "copier fastmcp öauth"
    line = request.param(template, folder)
    # By-products, as running the tests leaves them.
    for path in [folder, *filter(Path.is_dir, (folder / "template" / "src").rglob("*"))]:
        (path / "__pycache__").mkdir()
        (path / "__pycache__" / "made.pyc").write_bytes(b"\xff")
    (folder / "uv.lock").write_bytes(b"\xff")
    return folder, line


def pytest_in(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, as it would run in a hook of another repository."""
    left_out = ("PYTEST_", "CI", "EFFORT", "COVERAGE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    inherited |= {"GIT_DIR": os.devnull, "PYTHONPATH": str(folder / "template" / "src")}
    command = [sys.executable, "-m", "pytest", "-q", "-pno:cacheprovider", *options]
    return subprocess.run(
        command, cwd=folder, env=inherited | environment, capture_output=True, text=True, check=False
    )


def test_a_project_of_it_is_that_of_a_clone(
    source: tuple[Path, str], default_project: Path, tmp_path: Path
) -> None:
    folder, _ = source
    project = tmp_path / "Übung 1" / "my-server"
    command = [sys.executable, "-m", "copier", "copy", "--quiet", "--defaults", str(folder), str(project)]
    subprocess.run(command, check=True)
    assert files(project).keys() == files(default_project).keys()
    written = {name for name, text in files(project).items() if text != files(default_project)[name]}
    assert written <= {ANSWERS_FILE}


@effort.push
def test_its_tests_run_and_one_line_says_what_is_not_done(source: tuple[Path, str]) -> None:
    folder, line = source
    done = pytest_in(
        folder, "-n0", "tests/test_promises.py", "tests/test_template.py", "-ktest_promises or names"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [said] = re.findall(r"^not done here: (.*) \(\d+ tests\)$", done.stdout, re.MULTILINE)
    assert said == f"what needs the history: {line}"


@effort.push
def test_without_a_history_all_are_found_and_ci_ends_at_once(template: Path, tmp_path: Path) -> None:
    line = archive(template, tmp_path / "archive")
    done = pytest_in(tmp_path / "archive", "-n0", "--collect-only", EFFORT="release")
    assert done.returncode == 0, done.stdout + done.stderr
    done = pytest_in(tmp_path / "archive", "tests/test_promises.py", CI="true")
    assert done.returncode != 0
    assert (done.stdout + done.stderr).strip() == f"ERROR: CI=true needs the history: {line}"
