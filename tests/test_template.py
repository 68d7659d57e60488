"""The template itself: runnable in place, twins alike, and the rules that keep updates possible."""

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import manifest
import pytest
import yaml
from conftest import Rendered
from forks import own_tests
from rendering import AXES, REPOSITORY, TEMPLATE, choices, modules, render, sources

from authserver.pages import languages
from authserver.upstream import TESTED

SETTINGS = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))
PYTHON = [path for path in sources(TEMPLATE / "src" / "authserver") if path.suffix == ".py"]
MOST_LINES = 400
JINJA = [path for path in sources(TEMPLATE) if path.suffix == ".jinja"]


@pytest.mark.parametrize(
    "twin", [path for path in JINJA if path.with_suffix("").exists()], ids=lambda path: path.name
)
def test_twins_equal_the_default_render(default_project: Path, twin: Path) -> None:
    plain = twin.with_suffix("").relative_to(TEMPLATE)
    assert (default_project / plain).read_text() == (TEMPLATE / plain).read_text()


@pytest.mark.parametrize("name", ["src/authserver/choices.py", "pyproject.toml"])
def test_what_carries_an_answer_stands_twice(name: str) -> None:
    assert (TEMPLATE / name).exists()
    assert (TEMPLATE / f"{name}.jinja").exists()


@pytest.mark.parametrize("command", ["ruff format --check", "ruff check", "mypy"])
def test_the_template_is_clean_in_place(command: str, types: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYPY_CACHE_DIR", str(types))
    words = [sys.executable, "-m", *command.split()]
    done = subprocess.run(words, cwd=TEMPLATE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_templates_tests_run_in_place() -> None:
    """All are found and load; each is run in the projects that have it, letter by letter the same."""
    for chosen in (["--collect-only"], ["tests/app", "tests/authserver/test_flow.py"]):
        done = own_tests(TEMPLATE, *chosen)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("axis", "choice"), [(axis, choice) for axis in AXES for choice in choices(axis)])
def test_each_choice_has_a_module_and_a_test(axis: str, choice: str) -> None:
    here = TEMPLATE / "src" / "authserver" / axis
    assert (here / f"{choice}.py").exists() or (here / choice / "__init__.py").exists()
    tests = TEMPLATE / "tests" / "authserver" / f"test_{axis}_{choice}.py"
    assert "def test_" in tests.read_text()


def imported(path: Path, files: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            assert node.level == 0, f"{path}: an import without the name of its package"
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (
            next((one for one in (name, name.rpartition(".")[0]) if one in files), "") for name in names
        )


def test_imports_run_one_way() -> None:
    """Also those for types only, and those inside functions."""
    source = TEMPLATE / "src"
    files = {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PYTHON
    }
    uses = {name: {*imported(path, files)} - {"", name} for name, path in files.items()}
    assert sum(map(len, uses.values())) > len(files), "nothing was read"
    graphlib.TopologicalSorter(uses).prepare()  # CycleError names a circle


def test_no_room_is_too_big() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PYTHON}
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


def test_every_limit_has_a_reason_and_is_used() -> None:
    path = TEMPLATE / "src" / "authserver" / "limits.py"
    _, *body = ast.parse(path.read_text(encoding="utf-8")).body
    assert [type(node) for node in body] == [ast.Assign, ast.Expr] * (len(body) // 2)
    named = {node.targets[0].id for node in body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]
    code = "\n".join(other.read_text(encoding="utf-8") for other in PYTHON)
    assert named == set(re.findall(r"\blimits\.([A-Z_]+)", code)) - {"NAME"}


def test_there_is_no_module_that_cannot_be_chosen() -> None:
    for axis in AXES:
        assert modules(TEMPLATE / "src" / "authserver", axis) == set(choices(axis))


def test_no_python_file_asks_which_answer_was_given() -> None:
    values = "|".join(choice for axis in AXES for choice in choices(axis))
    for path in (TEMPLATE / "src" / "authserver").rglob("*.py"):
        assert not re.search(rf"""(==|!=|\bcase|\bin) \(?["']({values})["']""", path.read_text()), path


def test_no_words_of_error_pages_lie_about() -> None:
    source = TEMPLATE / "src" / "authserver"
    code = "\n".join(path.read_text() for path in source.rglob("*.py"))
    used = set(re.findall(r'(?:(?:problem|message)\(\s*request, |Refusal\(\s*)"([a-z_]+)"', code))
    assert used == set(tomllib.loads((source / "pages/strings/en.toml").read_text())["message"])


def test_python_is_python() -> None:
    """Jinja only in files that carry a name or an answer: one of ours, and one that is the user's."""
    found = {path.name for path in JINJA if path.suffixes[:1] == [".py"]}
    assert found == {"choices.py.jinja", "server.py.jinja"}


def test_seeds_are_skipped_by_updates_and_by_recopies() -> None:
    """`_exclude` for updates, `_skip_if_exists` for recopies: the same files."""
    [seeds] = [entry for entry in SETTINGS["_exclude"] if "_copier_operation == 'update'" in entry]
    assert [line for line in seeds.splitlines() if line.startswith("/")] == SETTINGS["_skip_if_exists"]


def test_a_recopy_keeps_what_is_the_users(plain_template: Path, tmp_path: Path) -> None:
    project = render(plain_template, tmp_path / "my-server", ci="gitlab")
    for seed in SETTINGS["_skip_if_exists"]:
        path = project / seed.strip("/")
        for file in [path] if path.is_file() else path.rglob("*.py"):
            file.write_text("# mine\n")
    import copier  # noqa: PLC0415

    copier.run_recopy(project, defaults=True, overwrite=True, quiet=True)
    for seed in SETTINGS["_skip_if_exists"]:
        path = project / seed.strip("/")
        for file in [path] if path.is_file() else path.rglob("*.py"):
            assert file.read_text() == "# mine\n", file


def test_both_repositories_have_the_same_hooks() -> None:
    here, there = (
        yaml.safe_load((folder / ".pre-commit-config.yaml").read_text()) for folder in (REPOSITORY, TEMPLATE)
    )
    own = here["repos"][0]["hooks"].pop()
    assert own["id"] == "manifest"
    assert here == there
    assert {repo["repo"] for repo in here["repos"]} == {"local"}


def test_the_manifest_is_that_of_the_files(rendered: Rendered) -> None:
    """By which `doctor` says what was altered."""
    made = (TEMPLATE / manifest.PATH).read_text(encoding="utf-8")
    assert made == manifest.manifest(rendered), "run: uv run python tests/manifest.py"


@pytest.mark.parametrize(
    ("changelog", "release"),
    [
        ("# Changelog\n\n## 1.2.3\n\n* New.\n\n## 1.2.2\n", "1.2.3"),
        ("# Changelog\n\n## Unreleased\n\n## 1.2.3\n", "1.2.3"),
        ("# Changelog\n\n## Unreleased\n\n* New.\n\n## 1.2.3\n", "1.2.3+unreleased"),
        ("# Changelog\n\n## Unreleased\n\n* New.\n", "0.0.0+unreleased"),
    ],
)
def test_the_manifest_is_that_of_the_newest_release(changelog: str, release: str) -> None:
    assert manifest.release(changelog) == release


def test_doctor_knows_the_versions_of_fastmcp_that_are_asked_for() -> None:
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text())["project"]
    first, end = (".".join(map(str, version)) for version in TESTED)
    assert f"fastmcp>={first},<{end}" in project["dependencies"]


def test_nothing_committed_names_a_machine_or_a_package_registry() -> None:
    for path in sources(REPOSITORY):
        if path.suffix != ".png":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"/wor[k]/|/roo[t]/|pypi\.or[g]|files\.pythonhoste[d]", text), path
    assert not list(REPOSITORY.glob("pylock*"))


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("github-workflows", ".github/workflows/ci.yml"),
        ("github-workflows", ".github/workflows/everything.yml"),
        ("github-workflows", "template/.github/workflows/authserver.yml"),
        ("github-workflows", "template/.github/workflows/authserver-update.yml"),
        ("gitlab-ci", "template/.gitlab-ci.yml"),
        ("gitlab-ci", "template/.gitlab/authserver.yml"),
        ("renovate", "docs/renovate.json"),
    ],
)
def test_what_forges_read_is_valid(schema: str, path: str) -> None:
    command = ["check-jsonschema", "--builtin-schema", f"vendor.{schema}", path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_changelog_is_in_each_project_as_it_is(default_project: Path) -> None:
    inside = default_project / "src/authserver/CHANGELOG.md"
    assert inside.read_text() == (REPOSITORY / "CHANGELOG.md").read_text()


def test_few_actions_are_used_and_they_are_pinned() -> None:
    for path in [*REPOSITORY.glob(".github/workflows/*"), *TEMPLATE.glob(".github/workflows/*")]:
        for used in re.findall(r"uses: (\S+)", path.read_text()):
            assert re.fullmatch(r"actions/(checkout|(up|down)load-artifact)@[0-9a-f]{40}", used), path


def test_what_uv_lock_says_is_installed_everywhere() -> None:
    """Where a project runs it is there; on a forge, where it is kept."""
    places = [
        REPOSITORY / "docs/deploying.md",
        TEMPLATE / "deploy/container/Dockerfile.jinja",
        TEMPLATE / ".gitlab/authserver.yml",
        *TEMPLATE.glob(".github/workflows/*"),
    ]
    for path in places:
        synced = re.findall(r'"?uv"?,? "?sync"? ?[^`\n]+', path.read_text(encoding="utf-8"))
        assert synced, path
        assert all("--locked" in words for words in synced), path
    assert "uv.lock" not in (TEMPLATE / ".gitignore").read_text(encoding="utf-8")


def test_no_workflow_hands_out_more_than_it_must() -> None:
    """zizmor knows how workflows are attacked: templates in scripts, credentials that stay, rights."""
    command = ["zizmor", "--offline", "--no-progress", "--strict-collection", ".github", "template/.github"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stderr.count("completed ") == len([*REPOSITORY.glob("**/.github/workflows/*.yml")])


def test_uv_and_copier_are_of_the_versions_that_were_tested() -> None:
    """A newer one may do otherwise, or be somebody else's."""
    updating = (TEMPLATE / "src/authserver/updating.sh").read_text(encoding="utf-8")
    assert f"'copier=={version('copier')}'" in updating
    forges = [*TEMPLATE.glob(".github/workflows/*"), TEMPLATE / ".gitlab/authserver.yml"]
    installed = [words for path in forges for words in re.findall(r"pip install (.+)", path.read_text())]
    assert len(installed) >= 5
    assert len(set(installed)) == 1
    assert re.fullmatch(r"uv==\d+\.\d+\.\d+", installed[0])


def test_no_text_of_the_pages_lies_about_unused() -> None:
    """Each project has the texts of all logins; here are all logins."""
    source = TEMPLATE / "src" / "authserver"
    files = [*source.rglob("*.py"), *source.rglob("*.html")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    for key in languages._read("en"):
        table = key.rpartition(".")[0]
        problem = table.removeprefix("message.") if table.startswith("message.") else key
        assert f'"{key}"' in code or f'"{table}."' in code or f'"{problem}"' in code, key
