"""Two nodes with two workers each on one store, behind a balancer that sends each request elsewhere."""

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import effort
import pytest
from balancer import balancing
from engines import Engine
from oauth_client import OAuthClient, alive
from person import Person
from ports import free_port
from servers import Server
from test_kills import App, at_work, recovered, seeded
from test_races import at_once, redeeming, refreshing, tally

HOSTS = ["127.0.0.2", "127.0.0.3"]

pytestmark = [effort.push, effort.early]


class Cluster:
    """Nodes on one store, reached by one address."""

    def __init__(self, project: Path, store: dict[str, str], stack: ExitStack) -> None:
        port = free_port()
        self.nodes = [Server(project, store, port, host) for host in HOSTS]
        self.url = self.nodes[0].url
        self._stack = stack
        # Both at once, on an empty store: the schema is made once.
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._start, self.nodes))
        stack.enter_context(balancing(port, HOSTS))

    def _start(self, node: Server) -> None:
        self._stack.enter_context(node.running("--workers", "2"))

    def restart(self, node: Server) -> None:
        node.stop()
        time.sleep(0.5)
        self._start(node)


@pytest.fixture(scope="module")
def cluster(shared_project: Path, shared_engine: Engine) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(shared_project, shared_engine.settings(uuid4().hex), stack)


@pytest.fixture(scope="module")
def owner(cluster: Cluster) -> Person:
    """Each node printed a link; the later one is good."""
    person = Person(cluster, "owner")
    links = [node.first_account_link for node in cluster.nodes]
    [good] = [link for link in links if person.get(link).status_code == 200]
    assert person.join(good).status_code == 200
    return person


def test_a_login_is_begun_on_one_node_and_ends_on_another(cluster: Cluster, owner: Person) -> None:
    """Page, sign-in, consent, code, refresh, call: each on the next node."""
    for _ in range(4):
        person = Person(cluster, owner.name)
        client = OAuthClient(cluster, token_endpoint_auth_method="client_secret_basic")
        tokens = client.tokens(person)
        for _ in range(4):
            assert alive(cluster, tokens["access_token"])
            tokens = client.refresh(tokens["refresh_token"]).json()


def test_a_revocation_holds_on_every_node_at_once(cluster: Cluster, owner: Person) -> None:
    """Attack 24: use a revoked token at another node. Source: RFC 7009 2."""
    client = OAuthClient(cluster)
    tokens = client.tokens(owner)
    assert client.post("/revoke", token=tokens["refresh_token"]).status_code == 200
    assert not any(alive(cluster, tokens["access_token"]) for _ in range(6))


def test_parallel_refreshes_on_all_nodes_have_one_living_successor(cluster: Cluster, owner: Person) -> None:
    """Attack 16: refresh with one token at all nodes at once. Source: RFC 9700 4.14.2."""
    client = OAuthClient(cluster)
    answers = at_once(cluster, *[refreshing(client, client.tokens(owner)["refresh_token"])] * 100)
    assert tally(answers) == {"": 100}
    [refresh] = {answer.json()["refresh_token"] for answer in answers}
    assert client.refresh(refresh).status_code == 200


def test_parallel_redemptions_on_all_nodes_have_one_success(cluster: Cluster, owner: Person) -> None:
    """Attack 13: redeem one code at all nodes at once. Source: RFC 9700 2.1.1."""
    client = OAuthClient(cluster)
    answers = at_once(cluster, *[redeeming(client, client.code(owner))] * 100)
    assert tally(answers) == {"": 1, "invalid_grant": 99}


def test_guesses_on_all_nodes_are_counted_together(cluster: Cluster, owner: Person) -> None:
    """Attack 10: guess on one node after the other. Source: threat model, limits shared by all nodes."""
    guesser = Person(cluster, "nobody", "a wrong password here")
    page = guesser.get("/login")
    statuses = [guesser.sign_in(page).status_code for _ in range(8)]
    assert statuses == [401] * 5 + [429] * 3


def test_purges_of_all_nodes_at_once_harm_nobody(cluster: Cluster, owner: Person) -> None:
    apps = [App(cluster, owner) for _ in range(3)]
    with at_work(apps, seeded()), ThreadPoolExecutor(4) as pool:
        for printed in pool.map(lambda node: node.command("purge"), cluster.nodes * 2):
            assert "records deleted" in printed
    for app in apps:
        app.check()


def test_a_rolling_restart_fails_no_request(cluster: Cluster, owner: Person) -> None:
    """All that an app sees is a connection that it has to open again."""
    apps = [App(cluster, owner) for _ in range(4)]
    with at_work(apps, seeded()):
        for node in cluster.nodes:
            time.sleep(0.5)
            cluster.restart(node)
    for app in apps:
        app.check()
        assert app.answers > 10


def test_nodes_without_the_key_do_not_start(shared_project: Path, shared_engine: Engine) -> None:
    store = shared_engine.settings("without a key")
    server = Server(shared_project, {name: value for name, value in store.items() if name != "secret_key"})
    with pytest.raises(subprocess.CalledProcessError) as failure:
        server.command("users", "list")
    [line] = failure.value.stderr.splitlines()
    assert line.startswith(f"{shared_project.name}: AUTH_SECRET_KEY: it must be set")
    assert "Example: " in line


def test_an_engine_that_is_down_is_503_and_loses_nothing(
    cluster: Cluster, shared_engine: Engine, owner: Person
) -> None:
    """Attack 18: take the database away. Source: clients drop credentials on any other error than 503."""
    client = OAuthClient(cluster)
    tokens = client.tokens(owner)
    code = client.code(owner)
    page = Person(cluster, owner.name)
    shared_engine.stop()
    try:
        refused(client, code, tokens, page)
    finally:
        shared_engine.start()
    recovered(cluster)
    for _ in range(4):  # both nodes, all workers
        assert alive(cluster, tokens["access_token"])
    assert client.refresh(tokens["refresh_token"]).status_code == 200
    assert client.redeem(code).status_code == 200


def refused(client: OAuthClient, code: str, tokens: dict[str, str], page: Person) -> None:
    """Ask for all that needs the engine while it is down."""
    time.sleep(1.1)  # each worker says for a second what it found a moment ago
    for answer in (
        client.redeem(code),
        client.refresh(tokens["refresh_token"]),
        client.post("/revoke", token=tokens["access_token"]),
        client.http.post("/register", json={"redirect_uris": ["http://127.0.0.1/"]}),
        client.http.get(client.authorization_url()),
        client.http.get("/readyz"),
    ):
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    seen = page.browser.get(client.authorization_url())
    assert seen.status_code == 503
    assert "Try again in a moment" in seen.text
