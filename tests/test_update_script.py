"""`update.sh`, as people run it, from one release to the next."""

import sys
from pathlib import Path

import effort
import pytest
from rendering import commit, files, git
from updating import BRANCH, JOB, PROVIDER, committed, instead, release, run

pytestmark = [effort.push, effort.early]


def test_where_nothing_is_newer_nothing_happens(project: Path) -> None:
    assert run(project) == (0, "There is no newer release.\n")
    assert git(project, "branch", "--format=%(refname:short)") == "main\n"


def test_the_update_is_on_a_branch_with_what_changed_since(project: Path, source: Path) -> None:
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    release(source, "999.2.0", (PROVIDER, "# another\n"))
    code, said = run(project)
    assert code == 0, said
    assert said.endswith("and its tests pass.\n")
    assert git(project, "branch", "--show-current").strip() == "authserver-update-999.2.0"
    assert git(project, "status", "--porcelain") == ""
    assert (project / PROVIDER).read_text().endswith("# a fix\n# another\n")
    message = git(project, "log", "-1", "--format=%B").strip()
    assert message == (
        "Update authserver to 999.2.0\n\n"
        "## 999.2.0\n\n* What 999.2.0 brings.\n\n## 999.1.0\n\n* What 999.1.0 brings."
    )


@effort.release
def test_a_branch_that_is_there_is_left_to_whoever_works_on_it(project: Path, source: Path) -> None:
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    git(project, "branch", BRANCH)
    assert run(project) == (0, f"The branch {BRANCH} is there already: merge it, or delete it.\n")
    assert git(project, "branch", "--show-current") == "main\n"
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "rev-parse", BRANCH) == git(project, "rev-parse", "main")


@effort.release
def test_where_copier_fails_all_is_as_before(project: Path, source: Path) -> None:
    """It wants to be newer, here."""
    settings = source / "copier.yml"
    settings.write_text(
        settings.read_text().replace('_min_copier_version: "9.19"', '_min_copier_version: "99"')
    )
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    code, said = run(project)
    assert (code, said.splitlines()[-1]) == (1, "Copier could not update; it says why above.")
    assert git(project, "branch", "--show-current") == "main\n"
    assert git(project, "status", "--porcelain") == ""


@effort.release
@pytest.mark.parametrize("name", ["README.md", "notes.md"], ids=["changed", "new, and not shown"])
def test_what_is_not_committed_is_not_touched(project: Path, source: Path, name: str) -> None:
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    git(project, "config", "status.showUntrackedFiles", "no")
    (project / name).write_text("# Mine\n")
    code, said = run(project)
    assert (code, said.startswith("Commit your work first")) == (1, True)
    assert (project / name).read_text() == "# Mine\n"


@pytest.mark.parametrize("branch", effort.first(["main", ""], effort.push), ids=["branch", "detached"])
def test_after_a_conflict_all_is_as_before(project: Path, source: Path, branch: str) -> None:
    release(source, "999.1.0", (PROVIDER, "# a fix\n"), ("tests/authserver/test_new.py", ""))
    (project / PROVIDER).write_text((project / PROVIDER).read_text() + "# mine\n")
    commit(project, "Mine")
    (project / ".env").write_text("AUTH_PUBLIC_URL=https://mcp.example.com\n")
    if not branch:
        git(project, "checkout", "--quiet", "--detach")
    before = files(project)
    code, said = run(project)
    assert code == 1
    assert said.splitlines()[-1] == PROVIDER
    assert git(project, "branch", "--show-current").strip() == branch
    assert git(project, "branch", "--list", f"{JOB}*") == ""
    after = files(project)
    for name in before | after:
        assert name.startswith(".git/") or before[name] == after[name], name


@effort.release
def test_a_conflict_that_somebody_committed_is_seen_no_more(project: Path, source: Path) -> None:
    """Texts about git may hold such lines; those of Copier may not."""
    (project / "docs.md").write_text("<<<<<<< HEAD\n=======\n>>>>>>> main\n")
    commit(project, "Mine")
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    code, said = run(project)
    assert code == 0, said


@effort.release
def test_an_update_whose_tests_fail_says_so_and_stays_on_its_branch(project: Path, source: Path) -> None:
    release(
        source, "999.1.0", ("tests/authserver/test_canary.py", "def test_canary() -> None:\n    assert 0\n")
    )
    code, said = run(project, PYTEST_ADDOPTS="tests/authserver/test_canary.py")
    assert code == 1
    assert "tests fail" in said
    assert git(project, "branch", "--show-current").strip() == BRANCH
    assert git(project, "status", "--porcelain") == ""


@effort.release
@pytest.mark.usefixtures("one_environment")
def test_without_a_forge_updates_come_from_a_bundle(source: Path, tmp_path: Path) -> None:
    url = "https://git.example.com/copier-fastmcp-oauth.git"
    copy = f"{sys.executable} -m copier copy --quiet --defaults {url} my-server"
    assert run(tmp_path, copy, **instead(url, use=source))[0] == 0
    project = committed(tmp_path / "my-server")
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    bundle = tmp_path / "copier-fastmcp-oauth.bundle"
    git(source, "bundle", "create", str(bundle), "--all")
    source.rename(tmp_path / "out-of-reach")
    code, said = run(project)
    assert (code, said.splitlines()[-1].startswith("The template cannot be reached")) == (1, True)
    code, said = run(project, **instead(url, use=bundle))
    assert code == 0, said
    assert f"_src_path: {url}\n" in (project / ".copier-answers.yml").read_text()
