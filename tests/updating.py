"""Releases, projects and runs of `update.sh`, for the tests of updates that come by themselves."""

import os
import shutil
import subprocess
from pathlib import Path

import effort
import pytest
import uvx_here
from rendering import clone, commit, git, render

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
def project(source: Path, tmp_path: Path, request: pytest.FixtureRequest, one_environment: None) -> Path:
    """A project of the first of those releases, committed."""
    answers = getattr(request, "param", {})
    made = render(source, tmp_path / "my-server", **answers)
    return committed(made)


@pytest.fixture
def one_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all projects of this test process: they need the same. So is Copier, below a release."""
    here = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("UV_PROJECT_ENVIRONMENT", str(here / "environment"))
    real = shutil.which("uvx")
    if effort.EFFORT != "release" and real:
        quick = uvx_here.folder(here / "programs", real)
        monkeypatch.setenv("PATH", f"{quick}{os.pathsep}{os.environ['PATH']}")


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
        env=inherited | ME | {"PYTEST_ADDOPTS": "tests/app -n0"} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout
