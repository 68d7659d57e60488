"""Many at once, towards one process and towards several: each race has one winner and loses nothing."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import effort
import httpx2
import pytest
from engines import Engine
from oauth_client import OAuthClient, alive
from person import Person, Site
from rendering import choices
from servers import Server

Form = dict[str, str]


pytestmark = [effort.push, effort.early]


# The other storages race in test_nodes.py, too.
@pytest.fixture(scope="module", params=effort.first(choices("storage"), effort.push))
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
    with server.running("--workers", str(request.param)) as running:
        yield running


@pytest.fixture
def client(server: Server) -> OAuthClient:
    return OAuthClient(server)


def at_once(server: Site, *requests: tuple[str, Form]) -> list[httpx2.Response]:
    """Send all forms at the same time, each on a connection of its own; every one is answered."""

    async def post(gate: asyncio.Event, path: str, form: Form) -> httpx2.Response:
        async with httpx2.AsyncClient(base_url=server.url, verify=False, timeout=60) as http:
            await http.get("/healthz")  # connected before the race
            await gate.wait()
            return await http.post(path, data=form)

    async def race() -> list[httpx2.Response]:
        gate = asyncio.Event()
        racing = [asyncio.ensure_future(post(gate, path, form)) for path, form in requests]
        await asyncio.sleep(0.2)
        gate.set()
        return await asyncio.gather(*racing)

    return asyncio.run(race())


def refreshing(client: OAuthClient, token: str) -> tuple[str, Form]:
    return "/token", {"grant_type": "refresh_token", "client_id": client.id, "refresh_token": token}


def redeeming(client: OAuthClient, code: str) -> tuple[str, Form]:
    return "/token", {
        "grant_type": "authorization_code",
        "client_id": client.id,
        "code": code,
        "redirect_uri": client.REDIRECT_URI,
        "code_verifier": client.verifier,
    }


def tally(answers: list[httpx2.Response]) -> Counter[str]:
    """Count the answers by their error, '' for a success."""
    assert {answer.status_code for answer in answers} <= {200, 400}
    return Counter(answer.json().get("error", "") if answer.content else "" for answer in answers)


@pytest.mark.parametrize("uses", [10, 100])
def test_parallel_refreshes_have_one_living_successor(
    server: Server, owner: Person, client: OAuthClient, uses: int
) -> None:
    """Attack 16: many processes of one client refresh with one token.
    Source: RFC 9700 4.14.2, Claude Code.
    """
    first = client.tokens(owner)
    answers = at_once(server, *[refreshing(client, first["refresh_token"])] * uses)
    assert tally(answers) == {"": uses}
    [(access, refresh)] = {
        (answer.json()["access_token"], answer.json()["refresh_token"]) for answer in answers
    }
    assert alive(server, access)
    assert client.refresh(refresh).status_code == 200


def test_parallel_refreshes_of_a_chain_all_get_their_own_successor(
    server: Server, owner: Person, client: OAuthClient
) -> None:
    """Attack 16: a late repeat of an older token, inside its window. Source: RFC 9700 4.14.2."""
    tokens = [client.tokens(owner)["refresh_token"]]
    for _ in range(4):
        tokens.append(client.refresh(tokens[-1]).json()["refresh_token"])
    answers = at_once(server, *[refreshing(client, token) for token in tokens[:-1]] * 10)
    assert tally(answers) == {"": 40}
    assert [answer.json()["refresh_token"] for answer in answers] == tokens[1:] * 10


def test_parallel_redemptions_of_a_code_have_one_success_and_kill_its_grant(
    server: Server, owner: Person, client: OAuthClient
) -> None:
    """Attack 13: one code redeemed a hundred times at once. Source: RFC 9700 2.1.1, OAuth 2.1 4.1.3."""
    answers = at_once(server, *[redeeming(client, client.code(owner))] * 100)
    assert tally(answers) == {"": 1, "invalid_grant": 99}
    [tokens] = [answer.json() for answer in answers if answer.status_code == 200]
    assert not alive(server, tokens["access_token"])
    assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_rotation_that_races_a_revocation_yields_dead_tokens(
    server: Server, owner: Person, client: OAuthClient
) -> None:
    """Attack 16: a refresh slips past a revocation. Source: RFC 7009 2.1."""
    for _ in range(10):
        tokens = client.tokens(owner)
        revoking = "/revoke", {"client_id": client.id, "token": tokens["refresh_token"]}
        uses = [refreshing(client, tokens["refresh_token"])] * 4
        answers = at_once(server, *uses[:2], revoking, *uses[2:])
        assert answers.pop(2).status_code == 200
        assert set(tally(answers)) <= {"", "invalid_grant"}
        everything = [tokens, *(answer.json() for answer in answers if answer.status_code == 200)]
        assert_dead(server, client, everything)


def test_rotations_that_race_disabling_yield_dead_tokens(
    server: Server, owner: Person, client: OAuthClient
) -> None:
    """Attack 12, 16: a disabled user's client keeps itself alive. Source: RFC 9700 4.14.2."""
    name = f"mallory-{client.id[:8]}"
    person = Person(server, name)
    assert person.join(server.invite(name)).status_code == 200
    grants = [client.tokens(person) for _ in range(10)]
    everything: list[dict[str, Any]] = list(grants)
    failed: list[str] = []

    def rotate(tokens: dict[str, Any]) -> None:
        racing = OAuthClient(server)
        racing.id = client.id
        while True:
            answer = racing.refresh(tokens["refresh_token"])
            if answer.status_code != 200:
                failed.append(answer.json()["error"])
                return
            tokens = answer.json()
            everything.append(tokens)

    threads = [threading.Thread(target=rotate, args=(tokens,)) for tokens in grants]
    for thread in threads:
        thread.start()
    server.command("users", "disable", name)
    for thread in threads:
        thread.join()
    assert failed == ["invalid_grant"] * 10
    assert_dead(server, client, everything[-50:])
    server.command("users", "enable", name)
    assert_dead(server, client, everything[-5:])


def assert_dead(server: Server, client: OAuthClient, issued: list[dict[str, Any]]) -> None:
    for tokens in issued:
        assert not alive(server, tokens["access_token"])
        assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
