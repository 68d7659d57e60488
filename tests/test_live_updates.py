"""Live data across updates: who was logged in before is logged in after, also when an answer changes."""

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import effort
import pytest
import yaml
from conftest import SignInBy, has_server
from engines import Engine
from history import needs_history
from oauth_client import OAuthClient, alive
from person import Person
from rendering import (
    AXES,
    DEFAULTS,
    Answers,
    choices,
    clone,
    commit,
    git,
    releases,
    render,
    title,
    update,
)
from servers import Server
from test_updates import SEEDS

SECRET_KEY = "one key, which moves along with the data"
AUTHSERVER = "template/src/authserver"
LAST = next(reversed(releases()), None)

pytestmark = [effort.push, needs_history]

Running = Callable[[str], Engine]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with a release after this one, whose only change is a newer schema of each storage."""
    source = clone(tmp_path_factory.mktemp("planted") / "copier-fastmcp-oauth", "999.0.0")
    for storage, statement in (
        ("sqlite", "ALTER TABLE users ADD COLUMN planted TEXT"),
        ("postgresql", "ALTER TABLE authserver.users ADD COLUMN planted text"),
    ):
        schema = source / AUTHSERVER / "storage" / storage / "schema"
        number = max(int(path.name[:4]) for path in schema.glob("*.sql")) + 1
        (schema / f"{number:04}_planted.sql").write_text(f"{statement};\n", encoding="utf-8")
    redis = source / AUTHSERVER / "storage" / "redis" / "__init__.py"
    text = redis.read_text(encoding="utf-8")
    assert "\n_SCHEMA = 1\n" in text
    redis.write_text(text.replace("\n_SCHEMA = 1\n", "\n_SCHEMA = 2\n"), encoding="utf-8")
    commit(source, "A newer schema")
    git(source, "tag", "999.1.0")
    return source


def new_project(source: Path, folder: Path, release: str | None, **answers: str) -> Path:
    """Return a project with all committed."""
    project = render(source, folder / "my-server", release, **answers)
    git(project, "init", "--quiet")
    commit(project, "Start")
    return project


def logged_in(server: Server) -> tuple[Person, OAuthClient, dict[str, Any]]:
    """Return the owner of a new server, an app of theirs, and its tokens."""
    owner = Person(server, "owner")
    assert owner.join(server.first_account_link).status_code == 200
    app = OAuthClient(server)
    return owner, app, app.tokens(owner)


def all_storages() -> list[Answers]:
    """Return the default answers, and passkeys on each storage, with each sort of token in turn."""
    tokens = choices("tokens")
    return [
        DEFAULTS,
        *(
            {"storage": storage, "login": "passkey", "tokens": tokens[number % len(tokens)]}
            for number, storage in enumerate(choices("storage"), 1)
        ),
    ]


@pytest.mark.parametrize("answers", effort.first(all_storages(), effort.push), ids=title)
def test_all_that_is_stored_lives_on_through_an_update_with_a_new_schema(
    planted: Path,
    tmp_path: Path,
    running_engines: Running,
    sign_in_by: SignInBy,
    answers: Answers,
) -> None:
    sign_in_by(answers["login"])
    project = new_project(planted, tmp_path, LAST, **answers)
    store = running_engines(answers["storage"]).settings(uuid4().hex)
    before = Server(project, store, name="localhost")
    with before.running("--workers", "2"):
        owner = Person(before, "owner")
        assert owner.join(before.first_account_link).status_code == 200
        apps = [
            OAuthClient(before, token_endpoint_auth_method=method)
            for method in ("none", "client_secret_basic", "client_secret_post")
        ]
        tokens = [app.tokens(owner) for app in apps]
    commit(project, "Mine")

    update(project)
    assert git(project, "ls-files", "--unmerged") == ""
    hosts = ["127.0.0.1", "127.0.0.2"] if has_server(answers["storage"]) else ["127.0.0.1"]
    nodes = [Server(project, store, before.port, host, "localhost") for host in hosts]
    with ExitStack() as stack:
        # All processes at once: one of them changes the schema.
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: stack.enter_context(node.running("--workers", "2")), nodes))
        here = nodes[0]
        assert owner.get("/account").url.path == "/account"
        for app, granted in zip(apps, tokens, strict=True):
            assert alive(here, granted["access_token"])
            refreshed = app.refresh(granted["refresh_token"]).json()
            assert alive(here, refreshed["access_token"])
        again = Person(here, "owner")
        assert again.sign_in(again.get("/login")).url.path == "/account"
        assert alive(here, OAuthClient(here).tokens(again)["access_token"])
    assert "owner" in here.command("users", "list")

    git(project, "stash", "--quiet", "--include-untracked")  # what the last release knows
    with pytest.raises(subprocess.CalledProcessError) as refused:
        here.command("users", "list")
    [line] = refused.value.stderr.splitlines()
    assert line.startswith("my-server: the database has schema ")
    assert "newer release, or restore the backup" in line


@pytest.mark.parametrize("storage", effort.first(choices("storage")[1:], effort.push))
def test_another_storage_logs_nobody_out(
    template: Path, tmp_path: Path, running_engines: Running, storage: str
) -> None:
    project = new_project(template, tmp_path, None, **DEFAULTS)
    old, new = (
        running_engines(name).settings(uuid4().hex) | {"secret_key": SECRET_KEY}
        for name in (DEFAULTS["storage"], storage)
    )
    before = Server(project, old)
    with before.running():
        owner, app, tokens = logged_in(before)
    file = str(tmp_path / "backup")
    before.command("backup", file)
    change(project, template, storage=storage)
    after = Server(project, new, before.port)
    assert "records restored" in after.command("restore", file)
    with after.running():
        assert alive(after, tokens["access_token"])
        assert alive(after, app.refresh(tokens["refresh_token"]).json()["access_token"])
        assert owner.get("/account").url.path == "/account"


@effort.release  # at a push, tests/test_jwt.py moves there and back
@pytest.mark.parametrize(
    ("old", "new", "live_on"),
    [("opaque", "jwt", True), ("jwt", "opaque", False)],
    ids=["opaque to jwt", "jwt to opaque"],
)
def test_other_tokens_log_nobody_out(
    template: Path, tmp_path: Path, running_engines: Running, old: str, new: str, live_on: bool
) -> None:
    """A JWT is not stored, so nothing is left of it where tokens are looked up: its client refreshes."""
    project = new_project(template, tmp_path, None, **DEFAULTS | {"tokens": old})
    store = running_engines(DEFAULTS["storage"]).settings(uuid4().hex)
    before = Server(project, store)
    with before.running():
        owner, app, tokens = logged_in(before)
    change(project, template, tokens=new)
    after = Server(project, store, before.port)
    with after.running():
        assert alive(after, tokens["access_token"]) is live_on
        assert alive(after, app.refresh(tokens["refresh_token"]).json()["access_token"])
        assert owner.get("/account").url.path == "/account"


@pytest.mark.filterwarnings("ignore:tagMap|typeMap:DeprecationWarning")  # ldap3 uses old names of pyasn1
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@effort.release
@pytest.mark.parametrize("login", choices("login")[1:])
def test_another_login_leaves_apps_and_accounts_as_they_are(
    template: Path,
    tmp_path: Path,
    running_engines: Running,
    sign_in_by: SignInBy,
    login: str,
) -> None:
    project = new_project(template, tmp_path, None, **DEFAULTS)
    store = running_engines(DEFAULTS["storage"]).settings(uuid4().hex)
    before = Server(project, store, name="localhost")
    with before.running():
        owner, app, tokens = logged_in(before)
        [subject] = subjects(before)
    change(project, template, login=login)
    way = sign_in_by(login)
    after = Server(project, store, before.port, name="localhost")
    after.environment |= {f"AUTH_{name.upper()}": value for name, value in way.settings().items()}
    with after.running():
        assert alive(after, tokens["access_token"])
        assert owner.get("/account").url.path == "/account"
        tokens = app.refresh(tokens["refresh_token"]).json()
        again = Person(after, "owner")
        assert again.join(after.invite("owner")).url.path == "/account"
        assert alive(after, OAuthClient(after).tokens(again)["access_token"])
        assert alive(after, tokens["access_token"])
        assert subjects(after) == [subject]


def subjects(server: Server) -> list[str]:
    lines = server.command("users", "list").splitlines()
    return [line.partition("subject=")[2] for line in lines]


def change(project: Path, template: Path, **answer: str) -> None:
    """Change an answer: the project is then what it would have been with it from the start."""
    commit(project, "Mine")
    update(project, **answer)
    assert git(project, "ls-files", "--unmerged") == ""
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    answers = {axis: recorded[axis] for axis in AXES}
    assert answers.items() >= answer.items()
    fresh = render(template, project.parent / "fresh" / "my-server", **answers)
    git(fresh, "init", "--quiet")
    assert of_the_template(project) == of_the_template(fresh)


def of_the_template(project: Path) -> dict[str, bytes]:
    names = git(project, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return {
        name: (project / name).read_bytes()
        for name in names
        if (project / name).is_file() and name != "uv.lock" and not name.startswith(SEEDS)
    }
