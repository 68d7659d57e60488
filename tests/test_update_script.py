"""`update.sh`, as people and pipelines run it, from one release to the next."""

import os
import subprocess
import sys
from pathlib import Path

import effort
import pytest
import yaml
from rendering import clone, commit, files, git, render

pytestmark = [effort.push, effort.early]

PROVIDER = "src/authserver/provider.py"
JOB = "authserver-update"
BRANCH = "authserver-update-999.1.0"
ME = {
    f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}


def release(template: Path, version: str, *changed: tuple[str, str]) -> None:
    """Make a release, with text added to files of the template."""
    log = template / "CHANGELOG.md"
    intro, first, rest = log.read_text(encoding="utf-8").partition("\n## ")
    log.write_text(f"{intro}\n## {version}\n\n* What {version} brings.\n{first}{rest}", encoding="utf-8")
    for name, text in changed:
        path = template / "template" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + text, encoding="utf-8")
    commit(template, f"Release {version}")
    git(template, "tag", version)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The template, where new releases can be made."""
    return clone(tmp_path / "copier-fastmcp-oauth", "999.0.0")


@pytest.fixture
def project(source: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A project of the first of those releases, committed."""
    answers = getattr(request, "param", {})
    made = render(source, tmp_path / "my-server", **answers)
    return committed(made)


@pytest.fixture(autouse=True)
def _one_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all projects of this test process: they need the same."""
    monkeypatch.setenv("UV_PROJECT_ENVIRONMENT", str(tmp_path_factory.getbasetemp() / "environment"))


def committed(project: Path) -> Path:
    subprocess.run(["uv", "lock", "--quiet"], cwd=project, check=True)
    git(project, "init", "--quiet", "--initial-branch", "main")
    commit(project, "Start")
    return project


def instead(of: str, *, use: Path) -> dict[str, str]:
    """Return the environment in which git goes to a repository here instead of a far one."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{use}.insteadOf",
        "GIT_CONFIG_VALUE_0": of,
    }


def run(project: Path, command: str = "sh src/authserver/update.sh", **more: str) -> tuple[int, str]:
    """Run a command in the project; only the user's own tests, to be quick."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        ["sh", "-euc", command],
        cwd=project,
        env=inherited | ME | {"PYTEST_ADDOPTS": "tests/app"} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


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


@pytest.fixture
def forge(tmp_path: Path) -> Path:
    """A repository that takes what is pushed to it, and writes down with which options."""
    bare = tmp_path / "forge.git"
    git(tmp_path, "init", "--quiet", "--bare", str(bare))
    git(bare, "config", "receive.advertisePushOptions", "true")
    hook = bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nenv | grep ^GIT_PUSH_OPTION_ | sort > options\n")
    hook.chmod(0o755)
    return bare


@effort.release
@pytest.mark.parametrize("project", [{"ci": "gitlab"}], indirect=True, ids=["gitlab"])
def test_the_pipeline_of_gitlab_asks_for_a_merge(project: Path, source: Path, forge: Path) -> None:
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    job = yaml.safe_load((project / ".gitlab/authserver.yml").read_text())[JOB]
    assert job["script"][-1] == "sh src/authserver/update.sh"
    given = {
        "CI_SERVER_PROTOCOL": "https",
        "CI_SERVER_HOST": "gitlab.example.com",
        "CI_SERVER_PORT": "443",
        "CI_PROJECT_PATH": "group/my-server",
        "CI_COMMIT_BRANCH": "main",
        "AUTHSERVER_UPDATE_TOKEN": "token",
        **instead("https://oauth2:token@gitlab.example.com:443/group/my-server.git", use=forge),
    }
    after = "\n".join(job["after_script"])
    assert run(project, after, **given) == (0, "")  # nothing was newer: no branch
    code, said = run(project)
    assert code == 0, said
    git(project, "checkout", "--quiet", "--detach")  # as pipelines have it
    git(project, "checkout", "--quiet", BRANCH)
    code, said = run(project, after, **given)
    assert code == 0, said
    assert git(forge, "rev-parse", BRANCH) == git(project, "rev-parse", BRANCH)
    options = (forge / "options").read_text()
    assert "=merge_request.target=main\n" in options
    assert "=merge_request.title=Update authserver to 999.1.0\n" in options
    assert "=merge_request.description=## 999.1.0<br><br>* What 999.1.0 brings.<br>" in options


@effort.release
def test_the_workflow_of_github_opens_a_pull_request(
    project: Path, source: Path, forge: Path, tmp_path: Path
) -> None:
    """What it asks of GitHub's own command is written down, not done."""
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    workflow = yaml.safe_load((project / ".github/workflows/authserver-update.yml").read_text())
    *_, update, push = workflow["jobs"]["update"]["steps"]
    assert update["run"] == "sh src/authserver/update.sh"
    command = tmp_path / "commands" / "gh"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    command.chmod(0o755)
    given = {
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "GITHUB_REPOSITORY": "owner/my-server",
        "GITHUB_REF_NAME": "main",
        "GH_TOKEN": "token",
        "DRAFT": "",
        **instead("https://x-access-token:token@github.com/owner/my-server", use=forge),
    }
    assert run(project, push["run"], **given) == (0, "")
    code, said = run(project)
    assert code == 0, said
    code, said = run(project, push["run"], **given)
    assert code == 0, said
    assert git(forge, "rev-parse", BRANCH) == git(project, "rev-parse", BRANCH)
    once = f"pr create --fill --head {BRANCH} --base main\n"
    assert (tmp_path / "asked").read_text() == once
    commit(project, "Another")
    assert run(project, push["run"], **given)[0] == 0
    assert (tmp_path / "asked").read_text() == once  # the branch is there, and stays as it is
    assert git(forge, "rev-parse", BRANCH) != git(project, "rev-parse", BRANCH)
