"""The advisories that are published: in projects of releases with the flaw, they and their canaries find it."""

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
    for word in ("## Who can do what", "## What to do", "## Was it done?", "CVSS:4.0/"):
        assert word in prose
    assert (TEMPLATE / told.canary).read_text(encoding="utf-8").startswith(f'"""Advisory {told.id}: ')


@pytest.fixture(scope="module")
def flawed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of 0.2.0."""
    project = render(template, tmp_path_factory.mktemp("flawed") / "my-server", "0.2.0")
    git(project, "init", "--quiet")
    commit(project, "Start")
    return project


def untouched(project: Path, names: list[str], pieces: list[str]) -> None:
    """Leave it."""


def moved(project: Path, names: list[str], pieces: list[str]) -> None:
    """Give each flawed module another name, and its users the new one."""
    for name in names:
        place = project / name
        if place.name == "__init__.py":  # a package keeps its other files
            place = place.parent
        new = place.with_name(f"my_{place.name}")
        place.rename(new)
        old, becomes = _module(project, place), _module(project, new)
        for file in [
            *project.glob("src/**/*.py"),
            *project.glob("tests/**/*.py"),
            project / "pyproject.toml",
        ]:
            text = file.read_text().replace(f"{old} ", f"{becomes} ").replace(f'{old}"', f'{becomes}"')
            text = text.replace(f"{old}.", f"{becomes}.").replace(f"{old}:", f"{becomes}:")
            parent, _, short = old.rpartition(".")
            text = text.replace(
                f"from {parent} import {short}\n", f"from {parent} import my_{short} as {short}\n"
            )
            for listed in (f"from {parent} import ", f"from {parent} import clock, "):
                text = text.replace(f"{listed}{short} as", f"{listed}my_{short} as")
            file.write_text(text)


def _module(project: Path, place: Path) -> str:
    return ".".join(place.relative_to(project / "src").with_suffix("").parts)


def deleted(project: Path, names: list[str], pieces: list[str]) -> None:
    """Have the code among the user's own, laid out in another way; only its name is left in the old place."""
    for number, name in enumerate(names):
        place = project / name
        if place.suffix != ".py" or place.name in ("__init__.py", "cli.py"):
            continue
        mine = project / "src" / "app" / f"mine_{number}.py"
        mine.write_text(f"# Mine.\n{place.read_text()}")
        place.write_text(
            f"import sys\n\nfrom app import {mine.stem}\n\nsys.modules[__name__] = {mine.stem}\n"
        )


def edited(project: Path, names: list[str], pieces: list[str]) -> None:
    """Work on the file, around the flaw."""
    for name in names:
        place = project / name
        mark = {".py": "#", ".sql": "--", ".lua": "--"}[place.suffix]
        place.write_text(f"{place.read_text()}{mark} mine\n")


Change = Callable[[Path, list[str], list[str]], None]


@effort.push
@effort.early
@needs_history
@each
@pytest.mark.parametrize("change", effort.first([untouched, edited, deleted, moved], effort.push))
def test_doctor_and_canary_find_it_and_the_update_mends_it(
    flawed: Path, tmp_path: Path, source: Path, change: Change
) -> None:
    """With the doctor that 0.2.0 has. The canary says why, and does not only fail to run."""
    told = advisory.read(source)
    project = shutil.copytree(flawed, tmp_path / "my-server")
    names = sorted(
        {name for path, old in told.files.items() for name in (path, *old) if (project / name).exists()}
    )
    assert names
    change(project, names, told.fragments)
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
    commit(project, "Update")
    code, said = _doctor(project, source.with_suffix(".json"))
    assert "vulnerable" not in said
    assert "missing" not in said
    canary = own_tests(project, told.canary)
    assert canary.returncode == 0, canary.stdout + canary.stderr


def _doctor(project: Path, file: Path) -> tuple[int, str]:
    done = Program(project, ("doctor", "--advisory", str(file))).finish()
    return done.returncode, done.stdout + done.stderr
