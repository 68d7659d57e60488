"""PostgreSQL databases of earlier releases: new nodes take them over, and old ones go on beside them."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import effort
import pytest
from balancer import balancing
from engines import Engine
from engines.postgresql import Connection
from engines.postgresql import Server as Database
from history import needs_history
from oauth_client import OAuthClient, alive
from person import Person, Site
from ports import free_port
from rendering import REPOSITORY, git, releases, render
from servers import Server

from authserver.storage.postgresql.schema import migrate

SCHEMA = "template/src/authserver/storage/postgresql/schema"
HOSTS = ["127.0.0.2", "127.0.0.3"]

CATALOGUE = """
    SELECT pg_get_functiondef(oid) AS text FROM pg_proc
    WHERE pronamespace = 'authserver'::regnamespace
    UNION ALL SELECT concat_ws(' ', table_name, column_name, data_type, collation_name, is_nullable)
    FROM information_schema.columns WHERE table_schema = 'authserver'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'authserver'
    UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'authserver'::regnamespace
    UNION ALL SELECT definition FROM pg_views WHERE schemaname = 'authserver'
    """

pytestmark = [effort.push, needs_history]


@pytest.fixture
def database(running_engines: Callable[[str], Engine]) -> Database:
    engine = running_engines("postgresql")
    assert isinstance(engine, Database)
    return engine


def new_store(database: Database) -> tuple[str, dict[str, str]]:
    name = uuid4().hex
    return name, database.settings(name)


@pytest.mark.parametrize("release", releases())
def test_the_database_of_a_release_becomes_what_an_empty_one_becomes(
    database: Database, release: str
) -> None:
    """A function whose arguments changed would be there twice; one whose result changed, not at all."""
    of_release = releases()[release]
    names = git(REPOSITORY, "ls-tree", "--name-only", of_release, f"{SCHEMA}/").split()
    scripts = {
        int(Path(name).name[:4]): git(REPOSITORY, "show", f"{of_release}:{name}")
        for name in names
        if name.endswith(".sql")
    }

    async def old(connection: Connection) -> None:
        for version, script in scripts.items():
            await connection.execute(script)
            await connection.execute("INSERT INTO authserver.schema_versions VALUES ($1)", version)

    (empty, _), (taken_over, _) = new_store(database), new_store(database)
    database.on(taken_over, old)
    found = []
    for name in (empty, taken_over):
        database.on(name, migrate)
        found.append(sorted(row["text"] for row in database.ask(CATALOGUE, name)))
    assert found[0] == found[1]


@pytest.mark.parametrize("release", effort.first(reversed(releases()), effort.push))
def test_nodes_of_a_release_go_on_and_restart_beside_new_ones(
    template: Path, tmp_path: Path, database: Database, release: str
) -> None:
    port = free_port()
    (_, store), (_, other_store) = new_store(database), new_store(database)
    old, new = (
        Server(
            render(template, tmp_path / host / "my-server", version, storage="postgresql"), store, port, host
        )
        for host, version in zip(HOSTS, (release, None), strict=True)
    )
    with ExitStack() as stack:
        stack.enter_context(balancing(port, HOSTS))
        stack.enter_context(old.running())
        owner = Person(old, "owner")
        assert owner.join(old.first_account_link).status_code == 200
        app = OAuthClient(old)
        before = app.tokens(owner)
        old.command("backup", str(tmp_path / "backup"))
        stack.enter_context(new.running())
        serve(old, owner, app, before)
        old.stop()
        assert alive(new, before["access_token"])
        stack.enter_context(old.running())
        serve(old, owner, app, before)
    restored = Server(new.project, other_store, port)
    assert "records restored" in restored.command("restore", str(tmp_path / "backup"))
    with restored.running():
        assert owner.get("/account").url.path == "/account"
        assert alive(restored, app.refresh(before["refresh_token"]).json()["access_token"])


def serve(site: Site, owner: Person, app: OAuthClient, before: dict[str, str]) -> None:
    """Go on with an app, and begin and end with another one: each request is the next node's."""
    assert owner.get("/account").url.path == "/account"
    assert all(alive(site, before["access_token"]) for _ in range(4))
    client = OAuthClient(site, token_endpoint_auth_method="client_secret_basic")
    tokens = client.tokens(Person(site, "owner"))
    for _ in range(4):
        assert alive(site, tokens["access_token"])
        tokens = client.refresh(tokens["refresh_token"]).json()
    assert client.post("/revoke", token=tokens["refresh_token"]).status_code == 200
    assert not any(alive(site, tokens["access_token"]) for _ in range(4))
    again = app.tokens(owner)
    assert alive(site, again["access_token"])
