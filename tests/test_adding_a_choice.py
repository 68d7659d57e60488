"""docs/adding-a-choice.md, followed: its login is put into a copy of the template, and somebody signs in."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import effort
import logins
import pytest
from forks import own_tests
from oauth_client import OAuthClient, alive
from person import Person
from rendering import REPOSITORY, render
from servers import Server

PAGE = (REPOSITORY / "docs" / "adding-a-choice.md").read_text(encoding="utf-8")
LOGIN = "magic"
BLOCK = re.compile(r"^```[a-z]+\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = effort.push


def block(before: str) -> str:
    """Return the first block of code after some words of the page."""
    found = BLOCK.search(PAGE, PAGE.index(before))
    assert found, before
    return found[1]


def files() -> Iterator[tuple[str, str]]:
    """Return the files of the example, by their paths in the repository."""
    for path in re.findall(rf"^(?:.* )?`(template/\S*{LOGIN}\S*)`", PAGE, re.MULTILINE):
        yield path, block(f"`{path}`")


@pytest.fixture(scope="module")
def example(plain_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of a copy of the template that has the example's login."""
    copy = shutil.copytree(plain_template, tmp_path_factory.mktemp("example") / "template")

    def insert(path: str, after: str, text: str) -> None:
        before = (copy / path).read_text(encoding="utf-8")
        assert before.count(after) == 1, (path, after)
        (copy / path).write_text(before.replace(after, after + text), encoding="utf-8")

    written = list(files())
    assert len(written) == 4
    for path, text in written:
        (copy / path).parent.mkdir(exist_ok=True)
        (copy / path).write_text(text, encoding="utf-8")
    insert("copier.yml", 'client certificates, forward auth": proxy\n', block("### 1."))
    for language in ("en", "de"):
        path = f"template/src/authserver/pages/strings/{language}.toml"
        insert(path, "[sign_in]\n", block(f"`{path}`"))
    made = [sys.executable, "tests/settings_page.py"]
    subprocess.run(
        made, cwd=copy, env=os.environ | {"PYTHONPATH": str(copy / "template" / "src")}, check=True
    )
    return render(copy, tmp_path_factory.mktemp("rendered") / "my-server", login=LOGIN)


def test_somebody_signs_in_by_the_example(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = runpy.run_path(str(example / "tests" / "authserver" / "logins" / f"{LOGIN}.py"))["WAY"]
    monkeypatch.setattr(logins, "chosen", lambda: way)
    server = Server(example, way.settings() | {"data_dir": str(tmp_path / "data")}, name="localhost")
    with server.running():
        owner = Person(server, "owner")
        assert owner.join("").url.path == "/account"
        assert alive(server, OAuthClient(server).tokens(owner)["access_token"])


@effort.release
def test_its_own_tests_pass(example: Path) -> None:
    names = (f"login_{LOGIN}", "flow", "consent", "pages", "settings")
    done = own_tests(example, *(f"tests/authserver/test_{name}.py" for name in names))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_names_tests_that_there_are() -> None:
    folders = (REPOSITORY / "tests", REPOSITORY / "template" / "tests" / "authserver")
    code = "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.glob("*.py"))
    for name in re.findall(r"`(test_\w+)`", PAGE):
        assert f"def {name}(" in code, name
