"""`copier update`: from one release to the next, with the user's own changes."""

from pathlib import Path

import copier
import pytest
from rendering import clone, commit, files, git, render


@pytest.fixture
def next_release(tmp_path: Path) -> tuple[Path, Path]:
    """A project of this release, committed, with edits; and a newer release of the template."""
    template = clone(tmp_path / "template", "1.0.0")
    project = render(template, tmp_path / "my-server")
    git(project, "init", "--quiet")
    commit(project, "Start")
    provider = template / "template/src/authserver/provider.py"
    provider.write_text(provider.read_text() + "# a fix\n")
    server = template / "template/src/app/server.py"
    server.write_text("# a new example\n")
    questions = template / "copier.yml"
    questions.write_text(questions.read_text().replace("born | default(1)", "born | default(2)"))
    commit(template, "Fix")
    git(template, "tag", "1.1.0")
    return template, project


def test_a_fix_arrives_and_what_is_the_users_stays(next_release: tuple[Path, Path]) -> None:
    _, project = next_release
    server = project / "src/app/server.py"
    server.write_text(server.read_text() + "# mine\n")
    pyproject = project / "pyproject.toml"
    mark = "    # below: yours, uv add writes here\n"
    pyproject.write_text(pyproject.read_text().replace(mark, f'{mark}    "rich>=13",\n', 1))
    (project / "README.md").write_text("# Mine\n")
    commit(project, "Mine")
    before = files(project)

    copier.run_update(project, defaults=True, overwrite=True, quiet=True)

    assert git(project, "ls-files", "-u") == ""
    after = files(project)
    changed = {name for name in after if not name.startswith(".git/") and after[name] != before.get(name)}
    assert changed == {"src/authserver/provider.py", ".copier-answers.yml"}
    assert after["src/authserver/provider.py"].endswith(b"# a fix\n")
    assert b"born: 1\n" in after[".copier-answers.yml"]


def test_new_projects_are_of_the_new_generation(next_release: tuple[Path, Path], tmp_path: Path) -> None:
    template, _ = next_release
    project = render(template, tmp_path / "new")
    assert b"born: 2\n" in files(project)[".copier-answers.yml"]
