"""What is under way while somebody's access is ended, towards one process and several: nothing stays alive.

Each round is a new account, with a thief who knows the password, has a session, half a sign-in, an open
consent page, and tokens. All of them go on at the moment at which the owner ends it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Barrier
from uuid import uuid4

import effort
import httpx2
import pyotp
import pytest
from counting import Count
from engines import Engine
from oauth_client import OAuthClient, alive, answered
from person import Person
from rendering import choices
from servers import Server

NEW = "a password that no thief has seen"

pytestmark = [effort.push, effort.early]

Move = Callable[[], httpx2.Response]


@pytest.fixture(scope="module", params=effort.first(choices("storage"), effort.push, effort.push))
def storage(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(
    scope="module",
    params=effort.first([4, 1], effort.push),
    ids=["4-workers", "1-worker"],
)
def server(request: pytest.FixtureRequest, stored_project: Path, engine: Engine) -> Iterator[Server]:
    server = Server(stored_project, engine.settings(uuid4().hex))
    server.environment["AUTH_NEW_PASSWORD_ENDS_GRANTS"] = "true"
    with server.running("--workers", str(request.param)) as running:
        assert Person(running, "owner").join(running.first_account_link).status_code == 200
        yield running


def change(owner: Person, server: Server) -> Move:
    """The owner chooses another password."""
    page = owner.get("/account/password")
    fields = {"old_password": owner.password, "password": NEW, "password_again": NEW}
    return lambda: owner.submit(page, "old_password", **fields)


def recover(owner: Person, server: Server) -> Move:
    """The owner, who cannot get in any more, uses a link."""
    page = Person(server).get(server.invite(owner.name))
    again = Person(server, owner.name, NEW)
    page = again.get(str(page.url))
    return lambda: again.submit(page, "password", password=NEW, password_again=NEW)


def secure(owner: Person, server: Server) -> Move:
    """The owner says that somebody else may have the password."""
    page = owner.get("/account/secure")
    return lambda: owner.submit(page, "csrf")


def at_once(*moves: Move) -> list[httpx2.Response]:
    """Make all moves at the same time; return what came of each."""
    gate = Barrier(len(moves))

    def go(move: Move) -> httpx2.Response:
        gate.wait()
        return move()

    with ThreadPoolExecutor(len(moves)) as pool:
        return list(pool.map(go, moves))


def joined(server: Server) -> Person:
    person = Person(server, f"user-{uuid4().hex[:12]}")
    assert person.join(server.invite(person.name)).url.path == "/account"
    return person


def is_in(person: Person) -> bool:
    return person.browser.get("/account").status_code == 200


@pytest.mark.parametrize("end", effort.first([change, recover], effort.push))
def test_nothing_of_before_is_alive_after_access_has_ended(
    server: Server, end: Callable[[Person, Server], Move], record_property: Count
) -> None:
    """Attack 12, 13: sign in with the old password, and allow an app, while the owner ends access.
    Source: OWASP ASVS 5.0 7.4.3, CWE-362.
    """
    rounds = effort.count("ends of access")
    for _ in range(rounds):
        owner = joined(server)
        client = OAuthClient(server)
        tokens = client.tokens(Person(server, owner.name))

        thief = Person(server, owner.name)
        consents = [thief.enter(thief.get(client.authorization_url())) for _ in range(2)]
        others = [Person(server, owner.name) for _ in range(3)]
        sign_ins = [partial(other.sign_in, other.get("/login")) for other in others]
        allowing = [partial(thief.submit, page, "decision", decision="allow") for page in consents]
        answers = at_once(*allowing, *sign_ins[:2], end(owner, server), *sign_ins[2:])

        assert not any(is_in(one) for one in (thief, *others))
        assert not alive(server, tokens["access_token"])
        assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
        for answer in answers[:2]:
            if code := answered(answer.headers.get("location", "")).get("code"):
                assert client.redeem(code).json()["error"] == "invalid_grant"
    record_property("ends of access", rounds)


@pytest.mark.parametrize("end", effort.first([recover, secure], effort.push))
def test_no_half_sign_in_of_before_goes_on_after_access_has_ended(
    server: Server, end: Callable[[Person, Server], Move]
) -> None:
    """Attack 11, 12: show the code of the second factor while the owner ends access.
    Source: OWASP ASVS 5.0 7.4.3, CWE-362.
    """
    for _ in range(effort.count("ends of access")):
        owner = joined(server)
        page = owner.get("/account/second-factor")
        seed = page.text.partition("<code")[2].partition(">")[2].partition("<")[0]
        app = pyotp.TOTP("".join(seed.split()))
        assert owner.submit(page, "seed", code=app.now()).status_code == 200
        halves = [Person(server, owner.name) for _ in range(3)]
        pages = [half.sign_in(half.get("/login")) for half in halves]
        assert all("one-time-code" in page.text for page in pages)
        soon = app.at(datetime.now(UTC) + timedelta(seconds=30))  # the present one is used
        going_on = [
            partial(half.submit, page, "code", code=soon) for half, page in zip(halves, pages, strict=True)
        ]
        at_once(*going_on[:2], end(owner, server))
        assert going_on[2]().url.path == "/login"
        assert not any(is_in(half) for half in halves)
        assert all(half.get("/login/second-factor").url.path == "/login" for half in halves)
