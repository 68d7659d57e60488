"""Killed at any moment under load and started again: every answer that was given still holds."""

import random
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
from counting import Count
from engines import Engine
from oauth_client import OAuthClient, alive
from person import Person
from servers import Server

ROUNDS = 20
APPS = 6


class App:
    """One app at work: what it was answered, and what it was doing when the answer did not come."""

    def __init__(self, server: Server, owner: Person) -> None:
        self.server = server
        self.person = Person(server, owner.name)
        assert self.person.sign_in(self.person.get("/login")).status_code == 200
        self.client = OAuthClient(server)
        self.tokens: dict[str, Any] | None = None
        self.revoked: list[dict[str, Any]] = []
        self.code: str | None = None
        self.doing = ""
        self.answers = 0

    def work(self, dice: random.Random, stop: threading.Event) -> None:
        """Do one thing after the other until the server is gone."""
        while not stop.is_set():
            try:
                if self.tokens is None:
                    self.begin()
                elif dice.random() < 0.1:
                    self.revoke()
                else:
                    self.refresh()
            except httpx2.TransportError:
                return
            self.answers += 1

    def begin(self) -> None:
        self.doing = "redeem"
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
        self.doing = "refresh"
        answer = self.client.refresh(self.tokens["refresh_token"])
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()

    def revoke(self) -> None:
        assert self.tokens
        self.doing = "revoke"
        assert self.client.post("/revoke", token=self.tokens["refresh_token"]).status_code == 200
        self.revoked.append(self.tokens)
        self.tokens = None

    def check(self) -> None:
        """What was answered holds; what was not answered can be asked again."""
        if self.tokens is not None:
            if self.doing == "revoke":
                self.revoke()
            else:
                assert alive(self.server, self.tokens["access_token"])
                self.refresh()
        for tokens in self.revoked[-2:]:
            assert not alive(self.server, tokens["access_token"])
            assert self.client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_every_answer_outlives_a_kill(stored_project: Path, engine: Engine, record_property: Count) -> None:
    """Attack 16, 28: kill -9 under load, twenty times.
    Source: threat model, durability of answered requests.
    """
    server = Server(stored_project, engine.settings("kills"))
    seed = time.time_ns()
    print(f"seed {seed}")
    dice = random.Random(seed)
    with server.running():
        owner = Person(server, "owner")
        assert owner.accept_invitation(server.first_account_link).status_code == 200
        apps = [App(server, owner) for _ in range(APPS)]
    for number in range(ROUNDS):
        with server.running("--workers", "2" if number % 5 == 4 else "1"):
            for app in apps:
                app.check()
            engine.check("kills")
            stop = threading.Event()
            working = [
                threading.Thread(target=app.work, args=(random.Random(dice.random()), stop)) for app in apps
            ]
            for thread in working:
                thread.start()
            time.sleep(dice.uniform(0.3, 1.0))
            server.kill()
            stop.set()
            for thread in working:
                thread.join(30)
                assert not thread.is_alive()
    answers = sum(app.answers for app in apps)
    assert answers > ROUNDS * APPS
    record_property("kill rounds", ROUNDS)
    record_property("answers before kills", answers)
    with server.running():
        for app in apps:
            app.check()
