"""Clients that others wrote, against the started default project."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastmcp import Client
from fastmcp.client.auth import OAuth
from key_value.aio.stores.memory import MemoryStore
from person import Person, browse
from servers import Server

CLIENTS = Path(__file__).parent / "clients"


@pytest.fixture(scope="module")
def server(default_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(default_project, tmp_path_factory.mktemp("clients") / "data").running() as running:
        yield running


@pytest.fixture(scope="module")
def owner(server: Server) -> Person:
    """The first account, made through the link on the terminal."""
    person = Person(server, "owner")
    assert person.accept_invitation(server.first_account_link).status_code == 200
    return person


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the npm packages."""
    folder = tmp_path_factory.mktemp("node")
    for file in CLIENTS.iterdir():
        (folder / file.name).write_text(file.read_text())
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("method", ["none", "client_secret_post", "client_secret_basic"])
def test_oauth4webapi_goes_through_every_step(server: Server, owner: Person, node: Path, method: str) -> None:
    with subprocess.Popen(
        ["node", "oauth4webapi.mjs", server.url, method],
        cwd=node,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdout
        url = client.stdout.readline().strip()
        out, err = client.communicate(owner.allow(url) if url else "", timeout=60)
    assert (out.strip(), client.returncode) == ("done", 0), err


@pytest.mark.filterwarnings("ignore:Using in-memory token storage")
@pytest.mark.anyio
async def test_fastmcp_calls_both_tools_the_second_after_a_step_up(
    server: Server, owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = browse(monkeypatch, owner)
    oauth = OAuth(token_storage=MemoryStore(), callback_timeout=30)
    async with Client(f"{server.url}/mcp", auth=oauth) as client:
        assert (await client.call_tool("list_notes")).data == []
        assert len(opened) == 1
        assert "owner" in (await client.call_tool("add_note", {"text": "Buy milk"})).data
        assert len(opened) == 2
        assert (await client.call_tool("list_notes")).data == ["owner: Buy milk"]
