"""The advisories that are published: they and their canaries find the flaw in projects that have it."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import advisory
import effort
import pytest
from forks import Program, own_tests
from history import needs_history
from rendering import REPOSITORY, TEMPLATE, commit, git, render, update

FOLDER = REPOSITORY / "docs" / "advisories"
SOURCES = sorted(FOLDER.glob("*.toml"))
IDS = [source.stem for source in SOURCES]
each = pytest.mark.parametrize("source", SOURCES, ids=IDS)


@needs_history
@each
def test_it_is_as_the_command_makes_it(source: Path) -> None:
    made = advisory.advisory(REPOSITORY, advisory.read(source))
    assert advisory.text(made) == source.with_suffix(".json").read_text(), (
        "run: uv run python tests/advisory.py"
    )


@each
def test_it_has_its_prose_and_its_canary(source: Path) -> None:
    told = advisory.read(source)
    prose = source.with_suffix(".md").read_text(encoding="utf-8")
    assert prose.startswith(f"# {told.id}: {told.title}\n")
    assert f"Severity: {told.severity}. " in prose
    for word in ("## Who can do what", "## What to do", "## Was it done?", "## Is it mended?"):
        assert word in prose
    assert (TEMPLATE / told.canary).read_text(encoding="utf-8").startswith(f'"""Advisory {told.id}: ')


@pytest.fixture
def project(template: Path, tmp_path: Path, source: Path) -> Path:
    """A project of 0.2.0 that has the first of the flawed files."""
    first = json.loads(source.with_suffix(".json").read_text())["files"][0]
    answers = {axis: values[0] for axis, values in first.get("answers", {}).items()}
    made = render(template, tmp_path / "my-server", "0.2.0", **answers)
    git(made, "init", "--quiet")
    commit(made, "Start")
    return made


def untouched(project: Path, names: list[str]) -> None:
    """Leave it."""


def moved(project: Path, names: list[str]) -> None:
    """Have each flawed module under another name, and nothing of it in the old place."""
    for place in _modules(project, names):
        new = place.with_name(f"my_{place.name}")
        if place.stem in ("__init__", "cli"):  # what others find by its name
            new.write_text(place.read_text())
            place.write_text(f"from {_dotted(project, new)} import *\n")
            continue
        place.rename(new)
        folder, name = _dotted(project, place.parent), place.stem
        sources = (*project.glob("src/**/*.py"), *project.glob("tests/**/*.py"))
        for file in (*sources, project / "pyproject.toml"):
            text = re.sub(rf"\b{folder}\.{name}\b", f"{folder}.my_{name}", file.read_text())
            text = re.sub(rf"(from {folder} import .*\b){name}\b", rf"\1my_{name} as {name}", text)
            file.write_text(text)


def deleted(project: Path, names: list[str]) -> None:
    """Have the code among the user's own, and in the old place only where it went."""
    for number, place in enumerate(_modules(project, names)):
        mine = project / "src" / "app" / f"mine_{number}.py"
        mine.write_text(f"# Mine.\n{place.read_text()}")
        if place.stem in ("__init__", "cli"):
            place.write_text(f"from {_dotted(project, mine)} import *\n")
        else:
            alias = f"import sys\n\nfrom app import {mine.stem}\n\nsys.modules[__name__] = {mine.stem}\n"
            place.write_text(alias)


def _modules(project: Path, names: list[str]) -> list[Path]:
    return [project / name for name in names if name.endswith(".py")]


def _dotted(project: Path, place: Path) -> str:
    return ".".join(place.relative_to(project / "src").with_suffix("").parts)


def edited(project: Path, names: list[str]) -> None:
    """Work on the file."""
    for name in names:
        mark = "#" if name.endswith(".py") else "--"
        (project / name).write_text(f"{mark} mine\n{(project / name).read_text()}")


Change = Callable[[Path, list[str]], None]


@effort.early
@needs_history
@pytest.mark.parametrize("source", effort.first(reversed(SOURCES), effort.push), ids=reversed(IDS))
@pytest.mark.parametrize("change", effort.first([untouched, edited, deleted, moved], effort.push))
def test_doctor_and_canary_find_it_and_the_update_mends_it(
    project: Path, source: Path, change: Change
) -> None:
    """With the doctor that 0.2.0 has. The canary says why, and does not only fail to run."""
    told = advisory.read(source)
    listed = {name for path, old in told.files.items() for name in (path, *old)}
    names = sorted(name for name in listed if (project / name).exists())
    assert names
    change(project, names)
    commit(project, "Mine")
    shutil.copy(TEMPLATE / told.canary, project / told.canary)

    code, said = _doctor(project, source.with_suffix(".json"))
    assert code == 1
    assert "vulnerable: src/" in said
    canary = own_tests(project, told.canary)
    assert canary.returncode == 1, canary.stdout + canary.stderr
    assert " error" not in canary.stdout.splitlines()[-1]
    assert "AssertionError: " in canary.stdout or "AssertionError\n" in canary.stdout

    if change not in (untouched, edited):
        return  # what the user took away, no update reaches: that is what both are for
    (project / told.canary).unlink()
    update(project)
    # What was changed on both sides, whoever updates takes from the release here.
    for name in set(git(project, "diff", "--name-only", "--diff-filter=U").split()):
        git(project, "checkout", "--theirs", name)
    commit(project, "Update")
    code, said = _doctor(project, source.with_suffix(".json"))
    assert "vulnerable" not in said
    assert "missing" not in said
    canary = own_tests(project, told.canary)
    assert canary.returncode == 0, canary.stdout + canary.stderr


def _doctor(project: Path, file: Path) -> tuple[int, str]:
    done = Program(project, ("doctor", "--advisory", str(file))).finish()
    return done.returncode, done.stdout + done.stderr
