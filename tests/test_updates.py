"""`copier update`: from every release to what is here, for every combination, with the user's own changes."""

from collections.abc import Callable
from pathlib import Path

import effort
import pytest
from counting import Count
from forks import own_tests
from history import needs_history
from promises import missing_paths
from rendering import (
    REPOSITORY,
    WITHOUT_HISTORY,
    Answers,
    clone,
    commit,
    covering,
    default_answers,
    files,
    git,
    projects,
    releases,
    render,
    title,
    update,
)

ANSWERS_FILE = ".copier-answers.yml"
SEEDS = ("src/app/", "tests/app/", "README.md", ".gitignore", ".gitlab-ci.yml", ".pre-commit-config.yaml")


def past() -> list[object]:
    """Return the releases before this commit, each with answers, and at which effort they are tried."""
    if WITHOUT_HISTORY:
        return [pytest.param("", {}, id="no release")]
    here = git(REPOSITORY, "rev-parse", "HEAD").strip()
    found = {version: at for version, at in releases().items() if at != here} or releases()
    *_, last = found
    return [
        pytest.param(
            version, answers, id=f"{version}-{title(answers)}", marks=worth(version == last, answers)
        )
        for version, at in found.items()
        for answers in (projects(at) if version == last else covering(projects(at)))
    ]


def worth(last: bool, answers: Answers) -> pytest.MarkDecorator:
    """Say at which effort an update is tried."""
    if answers != default_answers():
        return effort.release
    return effort.commit if last else effort.push


def replacing(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


def edit(project: Path) -> None:
    """Do what users do: tools, branding, settings, tests, dependencies, texts, and a patch of authserver."""

    def change(name: str, change: Callable[[str], str]) -> None:
        path = project / name
        before = path.read_text(encoding="utf-8")
        path.write_text(change(before), encoding="utf-8")
        assert path.read_text(encoding="utf-8") != before

    def add(name: str, text: str) -> None:
        (project / name).write_text(text, encoding="utf-8")

    change("src/app/server.py", lambda text: f"{text}\n\n@mcp.tool\ndef mine() -> str:\n    return ''\n")
    add("src/app/tools.py", "MINE = True\n")
    change("src/app/branding/branding.toml", lambda text: f'{text}name = "Mine"\n')
    add("src/app/branding/style.css", "main { border-radius: 0 }\n")
    add("tests/app/test_tools.py", "def test_mine() -> None:\n    assert True\n")
    change("README.md", lambda _: "# Mine\n")
    change(".env.example", lambda text: f"{text}# NOTES_FOLDER=notes\n")
    for option, requirement in (("", "rich>=13"), (" --dev", "tox>=4")):
        line = f"    # below: yours, uv add{option} writes here\n"
        mine = f'{line}    "{requirement}",\n'
        change("pyproject.toml", replacing(line, mine))
    change("pyproject.toml", lambda text: f"{text}\n[tool.mine]\nvalue = 1\n")
    change("src/authserver/browser/devices.py", replacing('"CrOS": "ChromeOS"', '"CrOS": "Chromebook"'))
    add("src/authserver/mine.py", '"""Mine."""\n')


def without_git(project: Path) -> dict[str, bytes]:
    return {name: content for name, content in files(project).items() if not name.startswith(".git/")}


@needs_history
@pytest.mark.parametrize(("release", "answers"), past())
def test_an_update_gives_a_fresh_project_and_keeps_the_edits(
    template: Path, tmp_path: Path, release: str, answers: Answers, record_property: Count
) -> None:
    project = render(template, tmp_path / "my-server", release, **answers)
    seeds = {name: content for name, content in files(project).items() if name.startswith(SEEDS)}
    git(project, "init", "--quiet")
    commit(project, "Start")
    fresh = render(template, tmp_path / "fresh" / "my-server", **answers)
    upgrading = (REPOSITORY / "UPGRADING.md").read_text(encoding="utf-8")
    assert not list(missing_paths(set(without_git(project)), set(files(fresh)), release, upgrading))
    for name in files(fresh):
        if name.startswith(SEEDS):
            (fresh / name).unlink()
    for name, content in seeds.items():
        (fresh / name).write_bytes(content)

    update(project)
    assert git(project, "ls-files", "--unmerged") == ""
    assert without_git(project) == without_git(fresh)

    git(project, "reset", "--quiet", "--hard")
    git(project, "clean", "--quiet", "-df")
    edit(project)
    commit(project, "Mine")
    update(project)
    assert git(project, "ls-files", "--unmerged") == ""
    edit(fresh)
    assert without_git(project) == without_git(fresh)
    record_property("updates", 2)


# ---------------------------------------------------------------- what Copier does, as docs/updating.md says

LINES = ["one", "two", "three", "four", "five"]
PATH = "src/authserver/lines.txt"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The template with one more file, in a release of its own."""
    source = clone(tmp_path / "copier-fastmcp-oauth", "999.0.0")
    write(source / "template", LINES)
    commit(source, "Lines")
    git(source, "tag", "999.1.0")
    return source


@pytest.fixture
def project(source: Path, tmp_path: Path) -> Path:
    made = render(source, tmp_path / "my-server")
    git(made, "init", "--quiet")
    commit(made, "Start")
    return made


def write(folder: Path, lines: list[str]) -> None:
    (folder / PATH).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def fix(source: Path, lines: list[str]) -> None:
    write(source / "template", lines)
    commit(source, "Fix")
    git(source, "tag", "999.2.0")


@effort.push
@pytest.mark.parametrize(
    ("mine", "merges"),
    [("two", False), pytest.param("three", True, marks=effort.release)],
    ids=["next line", "two away"],
)
def test_an_edit_two_lines_away_merges_and_one_line_away_conflicts(
    source: Path, project: Path, mine: str, merges: bool
) -> None:
    write(project, [line.replace(mine, "mine") for line in LINES])
    commit(project, "Mine")
    fix(source, ["fixed", *LINES[1:]])
    update(project)
    assert (git(project, "ls-files", "--unmerged") == "") is merges
    merged = (project / PATH).read_text(encoding="utf-8")
    assert ("<<<<<<< before updating\n" in merged) is not merges
    assert "fixed" in merged
    assert "mine" in merged


@effort.release
@pytest.mark.parametrize("moved", [True, False], ids=["moved", "deleted"])
def test_a_file_that_is_moved_or_deleted_gets_no_fix(source: Path, project: Path, moved: bool) -> None:
    """So each fix comes with a new test: see docs/advisories."""
    elsewhere = project / "src/app/lines.txt"
    if moved:
        (project / PATH).rename(elsewhere)
    else:
        (project / PATH).unlink()
    commit(project, "Mine")
    fix(source, ["fixed", *LINES[1:]])
    update(project)
    assert git(project, "status", "--porcelain").split() == ["M", ".copier-answers.yml"]
    assert not moved or elsewhere.read_text(encoding="utf-8").split() == LINES


@effort.push
@needs_history
def test_an_edit_of_a_file_that_a_release_moved_is_named(template: Path, tmp_path: Path) -> None:
    """Copier drops it without a word: so the project's own tests name it, and `update.sh` runs those."""
    project = render(template, tmp_path / "my-server", "0.2.0")
    git(project, "init", "--quiet")
    commit(project, "Start")
    for name in ("keys.py", "scopes.py"):
        place = project / "src/authserver" / name
        place.write_text(place.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    commit(project, "Mine")
    update(project)
    assert git(project, "ls-files", "--unmerged") == ""
    assert not list(project.rglob("*.rej"))
    for committed in (False, True):
        if committed:
            commit(project, "Update")
        done = own_tests(project, "tests/authserver/test_doctor.py", "-k", "by_the_last_update")
        assert done.returncode == 1, done.stdout
        for name in ("keys.py", "scopes.py"):
            assert f"src/authserver/{name}: left behind" in done.stdout
    (project / "README.md").write_text("# Mine\n", encoding="utf-8")
    commit(project, "Go on")
    assert own_tests(project, "tests/authserver/test_doctor.py", "-k", "by_the_last_update").returncode == 0


@effort.release
def test_a_default_of_a_later_generation_is_for_new_projects_only(
    source: Path, project: Path, tmp_path: Path
) -> None:
    asked = source / "copier.yml"
    text = asked.read_text(encoding="utf-8")
    asked.write_text(text.replace("born | default(1)", "born | default(2)"), encoding="utf-8")
    commit(source, "A new generation")
    git(source, "tag", "999.2.0")
    update(project)
    new = render(source, tmp_path / "new")
    born = [files(made)[ANSWERS_FILE].splitlines()[-1] for made in (project, new)]
    assert born == [b"born: 1", b"born: 2"]
