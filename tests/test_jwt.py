"""Projects with JWT access tokens: others verify them, keys rotate under load, old projects move to them."""

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from urllib.request import urlopen

import copier
import effort
import pytest
from conftest import Rendered
from counting import Count
from engines import Engine
from fastmcp import Client
from fastmcp.client.auth import OAuth
from forks import Program
from joserfc import jwt
from joserfc.jwk import KeySet
from key_value.aio.stores.memory import MemoryStore
from node import NODE, installed
from oauth_client import OAuthClient, alive
from person import Person, browse
from rendering import DEFAULTS, REPOSITORY, choices, clone, commit, git, render
from servers import Server
from test_clients import refreshes

DOCUMENT = REPOSITORY / "docs" / "verifying-tokens.md"

pytestmark = [effort.push, effort.early]


def rotate_keys(words: tuple[str, ...]) -> None:
    """Make so many new keys, one after the other, in a process of the project; what a `Program` can do."""
    auth = import_module("app.server").mcp.auth

    async def rotate() -> None:
        await auth.open()
        for _ in range(int(words[0])):
            await auth.tokens.rotate_keys(at_once=False)
            await asyncio.sleep(0.25)
        await auth.close()

    asyncio.run(rotate())


# What storages have no part in is tried on the first of them at a push.
on_the_default = pytest.mark.parametrize(
    "storage", effort.first(choices("storage"), effort.push), indirect=True
)


@pytest.fixture(scope="module")
def project(rendered: Rendered, storage: str) -> Path:
    return rendered(DEFAULTS | {"storage": storage, "tokens": "jwt"})


@pytest.fixture(scope="module")
def server(project: Path, engine: Engine) -> Iterator[Server]:
    with Server(project, engine.settings("jwt")).running("--workers", "2") as running:
        yield running


# --------------------------------------------------------------------------------- verified by others


@on_the_default
def test_a_resource_server_by_others_validates_a_token_from_metadata_alone(
    server: Server, owner: Person, shared: Path, record_property: Count
) -> None:
    """`validateJwtAccessToken` of oauth4webapi: RFC 9068, RFC 9728, RFC 8414."""
    client = OAuthClient(server)
    token = client.tokens(owner)["access_token"]
    resource = f"{server.url}/mcp"
    command = [NODE, "resource_server.mjs", resource, token]
    done = subprocess.run(command, cwd=installed(shared), capture_output=True, text=True, check=True)
    claims = json.loads(done.stdout)
    assert (claims["iss"], claims["aud"], claims["client_id"]) == (server.url, resource, client.id)
    command[-1] = token[:-4] + "AAAA"
    assert subprocess.run(command, cwd=installed(shared), capture_output=True, check=False).returncode == 1
    record_property("clients", 1)


def code(text: str, language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```\n", text, re.DOTALL)
    return str(found)


@on_the_default
@pytest.mark.parametrize("language", ["python", "js"])
def test_the_code_that_verifies_tokens_is_the_same_in_both_places(project: Path, language: str) -> None:
    document, readme = (path.read_text(encoding="utf-8") for path in (DOCUMENT, project / "README.md"))
    assert code(document, language) == code(readme, language)


CHECKS = {
    "python": (
        "verifying.py",
        [sys.executable],
        "import sys\nfor line in sys.stdin:\n    print(json.dumps(verify(line.strip())), flush=True)\n",
    ),
    "js": (
        "verifying.mjs",
        [NODE],
        """import { createInterface } from 'node:readline'
for await (const line of createInterface({ input: process.stdin }))
  console.log(JSON.stringify(await verify(line)))
""",
    ),
}


@on_the_default
@pytest.mark.parametrize("language", CHECKS)
def test_the_code_that_verifies_tokens_works_as_written(
    server: Server, owner: Person, shared: Path, language: str
) -> None:
    name, command, each_line = CHECKS[language]
    text = code(DOCUMENT.read_text(encoding="utf-8"), language)
    file = installed(shared) / f"{server.port}.{name}"
    file.write_text(text.replace("https://mcp.example.com", server.url) + each_line)
    client = OAuthClient(server)
    token = client.tokens(owner)["access_token"]

    def told(*tokens: str) -> list[dict[str, object]]:
        lines = "".join(f"{token}\n" for token in tokens)
        done = subprocess.run(
            [*command, file], input=lines, cwd=file.parent, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == (len(done.stdout.splitlines()) == len(tokens)), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    assert [claims["preferred_username"] for claims in told(token, token)] == ["owner", "owner"]
    forged = token.rpartition(".")[0] + "." + client.tokens(owner)["access_token"].rpartition(".")[2]
    for bad in (forged, "x", client.tokens(owner)["refresh_token"]):
        assert told(bad) == []


# --------------------------------------------------------------------------------------- several workers


@pytest.mark.parametrize("end", effort.first(["revoke", "disable"], effort.push))
def test_every_worker_refuses_what_ended_within_two_seconds(server: Server, owner: Person, end: str) -> None:
    """Attack 19, 24: try the worker that did not see the revocation. Source: RFC 7009 2.1, threat model."""
    person = Person(server, end)
    assert person.join(server.invite(end)).status_code == 200
    client = OAuthClient(server)
    tokens = client.tokens(person)
    assert all(alive(server, tokens["access_token"]) for _ in range(10))
    if end == "revoke":
        assert client.post("/revoke", token=tokens["refresh_token"]).status_code == 200
    else:
        server.command("users", "disable", end)
    time.sleep(2)
    assert not any(alive(server, tokens["access_token"]) for _ in range(20))


class Verifier:
    """Another service that keeps the list of keys exactly as long as it may, and never asks out of turn."""

    def __init__(self, server: Server) -> None:
        self._url = f"{server.url}/.well-known/jwks.json"
        self._until = 0.0
        self.seen: set[str] = set()

    def verify(self, token: str) -> None:
        if time.monotonic() >= self._until:
            with urlopen(self._url) as answer:
                self._keys = KeySet.import_key_set(json.load(answer))
                [seconds] = re.findall(r"max-age=(\d+)", answer.headers["Cache-Control"])
            self._until = time.monotonic() + int(seconds)
        self.seen.add(str(jwt.decode(token, self._keys, algorithms=["ES256"]).header["kid"]))


@on_the_default
def test_rotations_under_load_fail_no_call(project: Path, engine: Engine, record_property: Count) -> None:
    """Attack 19: keys that come and go lock clients out. Source: RFC 9068 5, RFC 7517 5."""
    rotations = effort.count("key rotations")
    server = Server(
        project,
        engine.settings("rotations"),
        AUTH_SIGNING_KEY_LEAD_SECONDS="5",
        AUTH_ACCESS_TOKEN_SECONDS="20",
        AUTH_REFRESH_REPLAY_SECONDS="10",
    )
    with server.running("--workers", "2"):
        owner = Person(server, "owner")
        assert owner.join(server.first_account_link).status_code == 200
        rotating = threading.Event()
        rotating.set()
        calls = [0, 0, 0]
        verifiers = [Verifier(server) for _ in calls]
        failures: list[str] = []

        def work(number: int) -> None:
            client = OAuthClient(server)
            tokens = client.tokens(owner)
            try:
                while rotating.is_set():
                    assert alive(server, tokens["access_token"])
                    verifiers[number].verify(tokens["access_token"])
                    answer = client.refresh(tokens["refresh_token"])
                    assert answer.status_code == 200, answer.text
                    tokens = answer.json()
                    calls[number] += 2
            except Exception as failure:  # noqa: BLE001  # whatever it is, it is one too many
                failures.append(repr(failure))

        working = [threading.Thread(target=work, args=(number,)) for number in range(len(calls))]
        for thread in working:
            thread.start()
        rotated = Program(project, (str(rotations),), server.environment, run=rotate_keys).finish()
        assert rotated.returncode == 0, rotated.stderr
        keys = [json.loads(line) for line in server.command("keys", "list", "--json").splitlines()]
        last = keys[-1]["kid"]
        while not failures and not all(last in verifier.seen for verifier in verifiers):
            time.sleep(0.1)
        rotating.clear()
        for thread in working:
            thread.join()
    assert failures == []
    assert min(calls) > len(verifiers)
    assert len(set.union(*(verifier.seen for verifier in verifiers))) > 3
    record_property("calls during key rotations", sum(calls))


# ------------------------------------------------------------------------------- changing one's mind


def move(project: Path, tokens: str) -> None:
    """Change the answer, as a user does."""
    copier.run_update(project, data={"tokens": tokens}, defaults=True, overwrite=True, quiet=True)
    assert git(project, "ls-files", "-u") == ""
    commit(project, f"Move to {tokens}")
    names = git(project, "ls-files", "src/authserver/tokens").split()
    assert {Path(name).parts[3].removesuffix(".py") for name in names} == {"__init__", tokens}


@pytest.mark.filterwarnings("ignore:Using in-memory token storage")
@pytest.mark.anyio
async def test_clients_stay_logged_in_when_a_project_moves_to_jwt_and_back(
    tmp_path: Path, running_engines: Callable[[str], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    template = clone(tmp_path / "template", "1.0.0")
    project = render(template, tmp_path / "my-server")
    git(project, "init", "--quiet")
    commit(project, "Start")
    server = Server(project, running_engines(DEFAULTS["storage"]).settings("there and back"))
    with server.running():
        owner = Person(server, "owner")
        owner.join(server.first_account_link)
        opened = browse(monkeypatch, owner)
        oauth = OAuth(token_storage=MemoryStore(), callback_timeout=30)
        async with Client(f"{server.url}/mcp", auth=oauth) as client:
            await client.call_tool("list_notes")
        by_hand = OAuthClient(server)
        tokens = by_hand.tokens(owner)

    for format_, old_token_is_honoured in (("jwt", True), ("opaque", False)):
        move(project, format_)
        with server.running():
            assert alive(server, tokens["access_token"]) == old_token_is_honoured
            tokens = by_hand.refresh(tokens["refresh_token"]).json()
            assert ("." in tokens["access_token"]) == (format_ == "jwt")
            assert alive(server, tokens["access_token"])
            if not old_token_is_honoured:
                # It refreshes when a token has run out; refused earlier, it would ask its person.
                oauth.context.token_expiry_time = 1
            async with Client(f"{server.url}/mcp", auth=oauth) as client:
                await client.call_tool("list_notes")
                await refreshes(oauth.context, client)
            assert len(opened) == 1
