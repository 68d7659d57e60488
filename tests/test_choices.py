"""What each choice brings with it, so that adding one needs no edit of what all share.

docs/adding-a-choice.md leads through them. Each test names what is missing or stale.
"""

import ast
from pathlib import Path

import pytest
import settings_page
from conftest import Rendered
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateNotFound, UndefinedError
from rendering import AXES, DEFAULTS, REPOSITORY, TEMPLATE, choices, default_answers
from test_template import imported

SOURCE = TEMPLATE / "src"
TESTS = TEMPLATE / "tests" / "authserver"
LOGINS = choices("login")

# ldap3 uses old names of pyasn1.
pytestmark = pytest.mark.filterwarnings("ignore:tagMap|typeMap:DeprecationWarning")


def test_every_setting_says_what_it_is() -> None:
    missing = settings_page.without_text()
    assert not missing, f"no text stands below: {', '.join(missing)}"


@pytest.mark.parametrize("path", settings_page.WRITTEN, ids=lambda path: path.name)
def test_what_is_made_from_the_settings_is_fresh(path: Path) -> None:
    stale = f"{path.relative_to(REPOSITORY)} is stale. Run: {settings_page.COMMAND}"
    assert path.read_text(encoding="utf-8") == settings_page.written()[path], stale


@pytest.mark.parametrize(("axis", "choice"), [(axis, choice) for axis in AXES for choice in choices(axis)])
def test_each_choice_has_its_part_of_the_readme(axis: str, choice: str) -> None:
    """Copier would leave out in silence what is not defined."""
    loader = FileSystemLoader(REPOSITORY)
    strict = Environment(loader=loader, undefined=StrictUndefined, autoescape=False)
    answers = default_answers() | {axis: choice, "project_name": "my-server"}
    try:
        strict.get_template("template/README.md.jinja").render(answers)
    except TemplateNotFound as error:
        pytest.fail(f"{error.name} is missing")
    except UndefinedError as error:
        pytest.fail(f"template/src/authserver/{axis}/{choice}/README.md.jinja: {error}")


@pytest.mark.parametrize(
    ("axis", "folder", "name"), [("storage", "engines", "def create("), ("login", "logins", "WAY = ")]
)
def test_tests_know_how_to_use_each_choice(axis: str, folder: str, name: str) -> None:
    for choice in choices(axis):
        path = TESTS / folder / f"{choice}.py"
        assert path.exists(), f"{path.relative_to(REPOSITORY)} is missing"
        assert name in path.read_text(encoding="utf-8"), f"{path.relative_to(REPOSITORY)} has no {name}"


@pytest.mark.parametrize("login", LOGINS)
def test_each_login_is_looked_at(login: str) -> None:
    looks = REPOSITORY / "tests" / "test_looks.py"
    served = {
        node.args[0].value
        for node in ast.walk(ast.parse(looks.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "serve"
        if isinstance(node.args[0], ast.Constant)
    }
    assert login in served, f'tests/test_looks.py looks at no page of {login}: serve("{login}")'


# ------------------------------------------------------------------------------------- what logins share


@pytest.mark.parametrize("login", LOGINS)
def test_a_project_has_of_what_logins_share_what_its_login_uses(rendered: Rendered, login: str) -> None:
    shared = "authserver.with_password."
    used = {name for name in reached(f"authserver.login.{login}") if name.startswith(shared)}
    there = {
        name for name in modules(rendered(DEFAULTS | {"login": login}) / "src") if name.startswith(shared)
    }
    assert not used - there, f"copier.yml: _exclude takes from {login} what it uses: {used - there}"
    assert not there - used, f"copier.yml: _exclude leaves {login} what it never uses: {there - used}"


def modules(source: Path) -> dict[str, Path]:
    """Return the Python files of a project by the names of their modules."""
    return {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (source / "authserver").rglob("*.py")
    }


def reached(package: str) -> set[str]:
    """Return all modules that those of a package import, and what these import."""
    files = modules(SOURCE)
    found: set[str] = set()
    waiting = [name for name in files if f"{name}.".startswith(f"{package}.")]
    while waiting:
        name = waiting.pop()
        if name and name not in found:
            found.add(name)
            waiting += imported(files[name], files)
    return found
