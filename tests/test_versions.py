"""The lowest and the newest FastMCP that a project may have, as of the day this repository is held at."""

import os
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import effort
import pytest
from rendering import TEMPLATE, render

ITS_TESTS = ("test_upstream.py", "test_flow.py", "test_provider.py")


def run(*command: str | Path, folder: Path, given: str | None = None) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=folder, env=inherited, input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def asked_for() -> str:
    """Return what the template asks of FastMCP."""
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [found] = [line for line in project["dependencies"] if line.startswith("fastmcp>=")]
    return str(found)


def allowed(resolution: str, folder: Path) -> str:
    """Return the exact requirement that a resolution makes of it."""
    options = ("--quiet", "--no-deps", "--no-header", "--no-annotate", f"--resolution={resolution}")
    return run("uv", "pip", "compile", *options, "-", folder=folder, given=asked_for()).strip()


def test_all_else_is_tested_with_the_newest_fastmcp(tmp_path: Path) -> None:
    assert allowed("highest", tmp_path) == f"fastmcp=={version('fastmcp')}"


@effort.push
def test_a_project_works_with_the_lowest_fastmcp_it_may_have(plain_template: Path, tmp_path: Path) -> None:
    fastmcp = allowed("lowest-direct", tmp_path)
    if fastmcp == f"fastmcp=={version('fastmcp')}":
        pytest.skip("with the lowest FastMCP: it is the newest, too")
    project = render(plain_template, tmp_path / "my-server")
    python = project / ".venv" / "bin" / "python"
    run("uv", "venv", "--quiet", folder=project)
    run("uv", "pip", "install", "--quiet", "--editable", ".", "--group", "dev", fastmcp, folder=project)
    installed = "from importlib.metadata import version; print(version('fastmcp'))"
    assert f"fastmcp=={run(python, '-c', installed, folder=project).strip()}" == fastmcp
    tests = [project / "tests" / "authserver" / name for name in ITS_TESTS]
    assert " passed" in run(python, "-m", "pytest", "-q", *tests, folder=project)
