"""An air-gapped server: with outbound connections forbidden, all works, and none is even tried."""

import os
import subprocess
import sys
from pathlib import Path

import effort
import pytest
from engines import Engine
from fastmcp import Client
from fastmcp.client.auth import OAuth
from key_value.aio.stores.memory import MemoryStore
from oauth_client import OAuthClient
from person import Person, browse
from servers import Server

OFFLINE = Path(__file__).parent / "offline"


@effort.push
@pytest.mark.filterwarnings("ignore:Using in-memory token storage")
@pytest.mark.anyio
async def test_the_whole_flow_opens_no_outbound_connection(
    stored_project: Path, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 8, 29: a server that tells somebody outside, or fetches what a client names.
    Source: threat model, outbound connections forbidden.
    """
    log = tmp_path / "outbound"
    store = engine.settings("offline")
    server = Server(stored_project, store, PYTHONPATH=str(OFFLINE), OUTBOUND_LOG=str(log))
    with server.running():
        owner = Person(server, "owner")
        assert owner.join(server.first_account_link).status_code == 200
        browse(monkeypatch, owner)
        oauth = OAuth(token_storage=MemoryStore(), callback_timeout=30)
        async with Client(f"{server.url}/mcp", auth=oauth) as client:
            assert (await client.call_tool("list_notes")).data == []
            assert "owner" in (await client.call_tool("add_note", {"text": "Buy milk"})).data
        # What a client sends may name other hosts; the server asks none of them.
        app = OAuthClient(
            server,
            client_uri="https://app.example/",
            logo_uri="https://app.example/logo.png",
            jwks_uri="https://app.example/keys",
            redirect_uris=["https://app.example/callback"],
        )
        tokens = app.tokens(owner)
        assert app.refresh(tokens["refresh_token"]).status_code == 200
        assert app.post("/revoke", token=tokens["access_token"]).status_code == 200
        server.command("users", "list")
    # The server's processes and the command watched, and had nothing to say.
    assert set(log.read_text().splitlines()) == {"watching"}
    assert log.read_text().count("watching") >= 2


def test_the_watch_would_see_a_connection(tmp_path: Path) -> None:
    log = tmp_path / "outbound"
    program = "import socket; socket.create_connection(('192.0.2.1', 9), 1)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(OFFLINE), "OUTBOUND_LOG": str(log)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PermissionError" in done.stderr
    assert "192.0.2.1" in log.read_text()
