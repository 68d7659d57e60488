"""Killed at any moment under load and started again: every answer that was given still holds."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import effort
import httpx2
from counting import Count
from engines import Engine
from oauth_client import OAuthClient, alive
from person import Person, Site, http_client
from servers import Server

APPS = 6

pytestmark = [effort.push, effort.early]


def unanswered_if_unavailable(answer: httpx2.Response) -> None:
    """Let 503 be what it says: no answer, ask again."""
    if answer.status_code == 503:
        raise httpx2.ReadError("unavailable")


class App:
    """One app at work: what it was answered, and what it was doing when the answer did not come."""

    def __init__(self, server: Site, owner: Person) -> None:
        self.server = server
        self.person = Person(server, owner.name)
        assert self.person.sign_in(self.person.get("/login")).status_code == 200
        self.client = OAuthClient(server)
        for http in (self.person.browser, self.client.http):
            http.event_hooks = {"response": [unanswered_if_unavailable]}
        self.tokens: dict[str, Any] | None = None
        self.revoked: list[dict[str, Any]] = []
        self.code: str | None = None
        self.revoking = False
        self.answers = 0

    def work(self, dice: random.Random, stop: threading.Event) -> None:
        """Do one thing after the other; what is not answered is asked again."""
        while not stop.is_set():
            try:
                if self.tokens is None:
                    self.begin()
                elif self.revoking or dice.random() < 0.1:
                    self.revoke()
                else:
                    self.refresh()
            except httpx2.TransportError:
                time.sleep(0.02)
            else:
                self.answers += 1

    def begin(self) -> None:
        again = self.code is not None
        self.code = self.code or self.client.code(self.person)
        answer = self.client.redeem(self.code)
        if answer.status_code == 200:
            self.tokens = answer.json()
        else:
            # Only the answer that was never given may have redeemed it before.
            assert again, answer.text
            assert answer.json()["error"] == "invalid_grant"
        self.code = None

    def refresh(self) -> None:
        assert self.tokens
        answer = self.client.refresh(self.tokens["refresh_token"])
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()

    def revoke(self) -> None:
        assert self.tokens
        self.revoking = True
        assert self.client.post("/revoke", token=self.tokens["refresh_token"]).status_code == 200
        self.revoked.append(self.tokens)
        self.tokens = None
        self.revoking = False

    def check(self) -> None:
        """What was answered holds; what was not answered can be asked again."""
        if self.tokens is not None:
            if self.revoking:
                self.revoke()
            else:
                assert alive(self.server, self.tokens["access_token"])
                self.refresh()
        for tokens in self.revoked[-2:]:
            assert not alive(self.server, tokens["access_token"])
            assert self.client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def hired(server: Server) -> list[App]:
    """Return the apps of the first account, which this makes."""
    owner = Person(server, "owner")
    assert owner.join(server.first_account_link).status_code == 200
    return [App(server, owner) for _ in range(APPS)]


@contextmanager
def at_work(apps: list[App], dice: random.Random) -> Iterator[None]:
    """Let all apps work meanwhile."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(apps)) as pool:
        working = [pool.submit(app.work, random.Random(dice.random()), stop) for app in apps]
        try:
            yield
        finally:
            stop.set()
        for app in working:
            app.result()


def seeded() -> random.Random:
    """Return dice that fall otherwise each time, and tell how they could fall so again."""
    seed = time.time_ns()
    print(f"seed {seed}")
    return random.Random(seed)


def test_every_answer_outlives_a_kill(stored_project: Path, engine: Engine, record_property: Count) -> None:
    """Attack 16, 28: kill -9 under load, again and again.
    Source: threat model, durability of answered requests.
    """
    rounds = effort.count("kill rounds")
    server = Server(stored_project, engine.settings("kills"))
    dice = seeded()
    with server.running():
        apps = hired(server)
    for number in range(rounds):
        with server.running("--workers", "2" if number % 3 == 2 else "1"):
            for app in apps:
                app.check()
            engine.check("kills")
            with at_work(apps, dice):
                time.sleep(dice.uniform(0.3, 1.0))
                server.kill()
    answers = sum(app.answers for app in apps)
    assert answers > rounds * APPS
    record_property("kill rounds", rounds)
    record_property("answers before kills", answers)
    with server.running():
        for app in apps:
            app.check()


def test_every_answer_outlives_a_kill_of_the_database(
    shared_project: Path, shared_engine: Engine, record_property: Count
) -> None:
    """Attack 28: kill -9 of the database under load. Source: threat model, durability."""
    rounds = effort.count("kill rounds of the database")
    server = Server(shared_project, shared_engine.settings("database kills"))
    dice = seeded()
    with server.running("--workers", "2"):
        apps = hired(server)
        for _ in range(rounds):
            before = sum(app.answers for app in apps)
            with at_work(apps, dice):
                time.sleep(dice.uniform(0.3, 1.0))
                try:
                    shared_engine.kill()
                    time.sleep(dice.uniform(0.0, 0.5))
                finally:
                    shared_engine.start()
                time.sleep(dice.uniform(0.3, 1.0))
            recovered(server)
            shared_engine.check("database kills")
            for app in apps:
                app.check()
            assert sum(app.answers for app in apps) > before
    record_property("kill rounds", rounds)


def test_every_answer_outlives_connections_that_are_cut(shared_project: Path, shared_engine: Engine) -> None:
    """Attack 18, 28: cut the connections to the database under load.
    Source: clients drop credentials on any other error than 503.
    """
    server = Server(shared_project, shared_engine.settings("cuts"))
    dice = seeded()
    with server.running("--workers", "2"):
        apps = hired(server)
        with at_work(apps, dice):
            # A busy machine answers little in so short a time: then there are more cuts.
            deadline = time.monotonic() + 300
            cuts = 0
            wanted = effort.count("cuts of connections")
            while cuts < wanted or (min(app.answers for app in apps) <= 10 and time.monotonic() < deadline):
                # On a busy machine no connection is made so soon: then there is more time for it.
                time.sleep(dice.uniform(0.02, 0.1) if cuts < wanted else dice.uniform(0.2, 2))
                shared_engine.cut()
                cuts += 1
        recovered(server)
        for app in apps:
            app.check()
            assert app.answers > 10


def recovered(server: Site) -> None:
    """Wait until the server, which was not restarted, answers again."""
    time.sleep(1.1)  # each worker says for a second what it found a moment ago
    deadline = time.monotonic() + 300
    with http_client(server) as http:
        while http.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
