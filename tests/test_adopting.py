"""Servers that exist already, as their authors write them, get an authorization server and its updates."""

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import effort
import pytest
from fastmcp import Client
from person import Person, browse
from rendering import commit, files, git, render
from servers import Server
from updating import release, run

EXISTING = Path(__file__).parent / "existing"
COPY = (sys.executable, "-m", "copier", "copy", "--defaults")
_VENV = ("python3", "-m", "venv", ".venv")
_ACTIVATED = ("sh", "-euc", '. .venv/bin/activate && exec "$@"', "sh")


@dataclass(frozen=True)
class Existing:
    """A server of somebody else, how its author works on it, and a call to it."""

    name: str
    app: str
    tool: str
    answer: Any
    arguments: dict[str, Any] = field(default_factory=dict)
    folder: str = ""
    sets_up: tuple[tuple[str, ...], ...] = ()
    adds: str = "uv add"
    runs: tuple[str, ...] = ("uv", "run")

    def run(self, project: Path, *words: str) -> str:
        """Run a program of the server's own environment, as its author does, and return what it prints."""
        return do(project, *self.runs, *words)


SERVERS = [
    Existing("quickstart", "server.py:mcp", "add", 3, {"a": 1, "b": 2}),
    Existing(
        "weather",
        "weather.main:server",
        "forecasts_tomorrow",
        "It will rain in Hamburg.",
        {"city": "Hamburg"},
    ),
    Existing(
        "shop",
        "shop.server:create_server()",
        "price",
        3.5,
        {"name": "tea"},
        sets_up=(_VENV, (".venv/bin/pip", "install", "-qe", ".[test]")),
        adds="pip install",
        runs=_ACTIVATED,
    ),
    Existing(
        "todo",
        "todo.mcp:app",
        "add_item",
        1,
        {"text": "Buy milk"},
        # Poetry's layout; Poetry itself takes packages from an index on the web, and from nowhere else.
        sets_up=(_VENV, (".venv/bin/pip", "install", "-qe", ".", "pytest")),
        adds="pip install",
        runs=_ACTIVATED,
    ),
    Existing("office", "office_calendar:mcp", "days", ["Monday", "Tuesday"], folder="packages/calendar"),
]


@pytest.mark.filterwarnings("ignore:Using in-memory token storage")
@pytest.mark.parametrize(
    ("existing", "updated"),
    [
        pytest.param(SERVERS[0], False, marks=effort.push, id="quickstart alone"),
        *(pytest.param(one, True, marks=effort.release, id=one.name) for one in SERVERS),
    ],
)
def test_a_server_that_exists_is_adopted(
    existing: Existing, updated: bool, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = shutil.copytree(EXISTING / existing.name, tmp_path / existing.name)
    git(repository, "init", "--quiet")
    (repository / ".gitignore").write_text(".venv\n__pycache__\n.pytest_cache\n*.egg-info\n")
    project = repository / existing.folder
    for command in existing.sets_up:
        do(project, *command)
    existing.run(project, "pytest")
    commit(repository, "Start")
    before = files_in_git(repository)

    # Two commands: the first one prints the second.
    said = do(project, *COPY, "-d", f"app={existing.app}", str(source), "auth-server")
    assert files_in_git(repository).items() >= before.items()
    [add] = re.findall(rf"^ +({existing.adds} .*)$", said, re.MULTILINE)
    do(project, *(existing.runs if existing.runs == _ACTIVATED else ()), *shlex.split(add))
    existing.run(project, "pytest")
    commit(repository, "Adopt")

    server = Server(project / "auth-server", {}, UV_OFFLINE="0")
    serve = (*existing.runs, "auth-server", "serve", "--port", str(server.port))
    with server.running(command=serve, folder=project):
        owner = Person(server, "owner")
        assert owner.join(server.first_account_link).status_code == 200
        browse(monkeypatch, owner)
        assert asyncio.run(call(server, existing)) == existing.answer
    assert git(repository, "status", "--porcelain") == ""

    if not updated:
        return
    release(source, "999.1.0", ("src/authserver/provider.py", "# What 999.1.0 brings.\n"))
    code, said = run(project / "auth-server", PYTEST_ADDOPTS="-n0 tests/authserver/test_components.py")
    assert code == 0, said
    assert "What 999.1.0 brings" in (project / "auth-server/src/authserver/provider.py").read_text()
    existing.run(project, "pytest")
    assert git(repository, "status", "--porcelain") == ""


async def call(server: Server, existing: Existing) -> Any:
    """Call the tool with a real client that has never been here."""
    async with Client(f"{server.url}/mcp", auth="oauth") as client:
        return (await client.call_tool(existing.tool, existing.arguments)).data


@pytest.mark.parametrize("folder", ["", "."])
def test_what_is_there_is_not_overwritten(plain_template: Path, tmp_path: Path, folder: str) -> None:
    there = shutil.copytree(EXISTING / "quickstart", tmp_path / "quickstart")
    before = files(there)
    with pytest.raises(ValueError, match="name a new folder in it"):
        render(plain_template, there / folder, app="server.py:mcp")
    assert files(there) == before


def do(folder: Path, *words: str) -> str:
    """Run a command in the environment of a user, and return what it prints."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "UV_PROJECT_")) and name != "VIRTUAL_ENV"
    }
    # Not the environment of these tests, which has all that a server may lack.
    inherited["PATH"] = inherited["PATH"].replace(f"{Path(sys.executable).parent}:", "")
    done = subprocess.run(
        words,
        cwd=folder,
        env=inherited,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def files_in_git(repository: Path) -> dict[str, str]:
    """Return the files that were committed once, as they are now."""
    names = git(repository, "ls-files").splitlines()
    return {name: (repository / name).read_text() for name in names}
