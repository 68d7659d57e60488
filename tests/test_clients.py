"""Clients that others wrote log in, call a tool, step up, refresh, and are revoked."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import effort
import httpx2
import pytest
from bearer_proxy import bearer_proxy
from counting import Count
from engines import Engine
from fastmcp import Client
from fastmcp.client.auth import OAuth
from fastmcp.client.transports import StdioTransport
from key_value.aio.stores.memory import MemoryStore
from mcp import Client as SDKClient
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.auth.oauth2 import OAuthContext
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from mcp_types import TextContent
from node import NODE, installed
from oauth_client import OAuthClient
from person import Person, browse, visit
from pydantic import AnyUrl
from rendering import choices
from servers import Server


def on(default: pytest.MarkDecorator, others: pytest.MarkDecorator) -> pytest.MarkDecorator:
    """Run a test at one effort on the default storage, at another on the others."""
    cases = effort.first(choices("storage"), default, others)
    return pytest.mark.parametrize("storage", cases, indirect=True)


@pytest.fixture(scope="module")
def server(stored_project: Path, engine: Engine) -> Iterator[Server]:
    with Server(stored_project, engine.settings(uuid4().hex)).running() as running:
        yield running


@pytest.fixture(scope="module")
def node(shared: Path) -> Path:
    return installed(shared)


@contextmanager
def started(folder: Path, *command: str) -> Iterator["subprocess.Popen[str]"]:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [NODE, *command], cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        yield process
        process.kill()


def goes_through(folder: Path, owner: Person, *command: str) -> None:
    """Run a script that prints authorization URLs and reads where the browser ended, until it is done.

    The owner allows what the page offers beside that, too.
    """
    with started(folder, *command) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        printed = ""
        for line in process.stdout:
            printed = line.strip()
            if printed.startswith("http"):
                process.stdin.write(owner.allow(printed, **{"also:notes:write": "on"}) + "\n")
                process.stdin.flush()
        assert (printed, process.wait(10)) == ("done", 0), process.stderr.read()


def revoke(server: Server, client_name: str) -> None:
    """Revoke all grants of a client, as the operator does."""
    grants = [json.loads(line) for line in server.command("grants", "list", "--json").splitlines()]
    clients = [json.loads(line) for line in server.command("clients", "list", "--json").splitlines()]
    names = {client["client_id"]: client["name"] for client in clients}
    mine = [grant["grant_id"] for grant in grants if names[grant["client_id"]] == client_name]
    assert mine
    for grant_id in mine:
        server.command("grants", "revoke", grant_id)


@on(effort.push, effort.release)
@pytest.mark.parametrize("method", ["none", "client_secret_post", "client_secret_basic"])
def test_oauth4webapi(server: Server, owner: Person, node: Path, method: str, record_property: Count) -> None:
    goes_through(node, owner, "oauth4webapi.mjs", server.url, method)
    record_property("clients", 1)


@on(effort.push, effort.release)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_typescript_sdk(
    server: Server, owner: Person, node: Path, version: str, record_property: Count
) -> None:
    goes_through(node, owner, "typescript.mjs", server.url, version)
    record_property("clients", 1)


@on(effort.commit, effort.push)
@pytest.mark.filterwarnings("ignore:Using in-memory token storage")
@pytest.mark.anyio
async def test_fastmcp(
    server: Server, owner: Person, monkeypatch: pytest.MonkeyPatch, record_property: Count
) -> None:
    opened = browse(monkeypatch, owner)
    oauth = OAuth(token_storage=MemoryStore(), callback_timeout=30, client_name="FastMCP's client")
    async with Client(f"{server.url}/mcp", auth=oauth) as client:
        await client.call_tool("list_notes")
        assert len(opened) == 1
        assert "owner" in (await client.call_tool("add_note", {"text": "Buy milk"})).data
        assert len(opened) == 2
        await refreshes(oauth.context, client)
        assert len(opened) == 2
        revoke(server, "FastMCP's client")
        await client.call_tool("list_notes")
        assert len(opened) == 3
    record_property("clients", 1)


async def refreshes(context: OAuthContext, client: "Client[StdioTransport] | SDKClient") -> None:
    """A client whose access token has run out renews it by itself."""
    before = context.current_tokens
    context.token_expiry_time = 1
    await client.call_tool("list_notes")
    after = context.current_tokens
    assert before
    assert after
    assert after.refresh_token != before.refresh_token


class Memory:
    """Keeps what the SDK's client wants kept."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


@on(effort.commit, effort.push)
@pytest.mark.anyio
async def test_python_sdk(server: Server, owner: Person, record_property: Count) -> None:
    opened: list[str] = []

    async def redirect(url: str) -> None:
        opened.append(url)

    async def callback() -> AuthorizationCodeResult:
        answer = parse_qs(urlsplit(owner.allow(opened[-1])).query)
        return AuthorizationCodeResult(
            **{name: answer[name][0] for name in ("code", "state", "iss") if name in answer}
        )

    metadata = OAuthClientMetadata(
        client_name="Python SDK", redirect_uris=[AnyUrl("http://localhost:1/callback")]
    )
    provider = OAuthClientProvider(f"{server.url}/mcp", metadata, Memory(), redirect, callback)
    async with httpx2.AsyncClient(auth=provider) as http:
        transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
        async with SDKClient(transport) as client:
            await client.call_tool("list_notes")
            assert len(opened) == 1
            [said] = (await client.call_tool("add_note", {"text": "Buy milk"})).content
            assert isinstance(said, TextContent)
            assert "owner" in said.text
            assert len(opened) == 2
            await refreshes(provider.context, client)
            assert len(opened) == 2
            revoke(server, "Python SDK")
            await client.call_tool("list_notes")
            assert len(opened) == 3
    record_property("clients", 1)


@contextmanager
def browser(folder: Path, owner: Person) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Yield an environment whose BROWSER is `owner`, and the addresses that were opened in it."""
    opened: list[str] = []
    pipe = folder / "browser"
    os.mkfifo(pipe)

    def serve() -> None:
        while (url := pipe.read_text().strip()) != "stop":
            opened.append(url)
            visit(owner, url)

    thread = threading.Thread(target=serve)
    thread.start()
    script = str(Path(__file__).parent / "clients" / "browser.sh")
    yield os.environ | {"BROWSER": script, "BROWSER_PIPE": str(pipe)}, opened
    pipe.write_text("stop\n")
    thread.join(10)


@on(effort.push, effort.release)
@pytest.mark.anyio
async def test_mcp_remote(
    server: Server, owner: Person, node: Path, tmp_path: Path, record_property: Count
) -> None:
    saved = tmp_path / "mcp-remote"
    command = [str(node / "node_modules/mcp-remote/dist/proxy.js"), f"{server.url}/mcp", "--allow-http"]
    with browser(tmp_path, owner) as (environment, opened):

        def connect() -> Client[StdioTransport]:
            settings = environment | {"MCP_REMOTE_CONFIG_DIR": str(saved)}
            transport = StdioTransport(NODE, command, env=settings, keep_alive=False)
            return Client(transport, timeout=40, init_timeout=40)

        async with connect() as client:
            await client.call_tool("list_notes")
            assert len(opened) == 1
            assert "owner" in (await client.call_tool("add_note", {"text": "Buy milk"})).data
            assert len(opened) == 2
        [file] = saved.rglob("*_tokens.json")
        tokens = json.loads(file.read_text())
        file.write_text(json.dumps(tokens | {"access_token": "mcpat_lost"}))
        async with connect() as client:
            await client.call_tool("list_notes")
        assert json.loads(file.read_text())["refresh_token"] != tokens["refresh_token"]
        assert len(opened) == 2
        [registered] = saved.rglob("*_client_info.json")
        revoke(server, json.loads(registered.read_text())["client_name"])
        async with connect() as client:
            await client.call_tool("list_notes")
        assert len(opened) == 3
    record_property("clients", 1)


# --------------------------------------------------------------------------- the conformance suite of MCP

CONFORMANCE = "node_modules/@modelcontextprotocol/conformance/dist/index.js"


@on(effort.push, effort.release)
def test_conformance_as_an_authorization_server(
    server: Server, owner: Person, node: Path, record_property: Count
) -> None:
    """A public client, and an issuer without a slash at its end."""
    port = "3555"
    client = OAuthClient(server, redirect_uris=[f"http://127.0.0.1:{port}/callback"])
    passed: list[str] = []
    with started(
        node,
        *(CONFORMANCE, "authorization", "--url", server.url, "--client-id", client.id),
        *("--resource", f"{server.url}/mcp", "-p", port, "--spec-version", "2026-07-28"),
    ) as suite:
        assert suite.stdout
        for line in suite.stdout:
            passed.append(line)
            if line.startswith(f"{server.url}/authorize"):
                visit(owner, line.strip())
        assert suite.wait(10) == 0, passed
    assert passed[-1] == "Total: 2 passed, 0 failed\n", passed
    record_property("clients", 1)


# Those that need no tools or resources of a test server.
SCENARIOS = [
    *[("2025-11-25", name) for name in ("server-initialize", "ping", "logging-set-level", "tools-list")],
    *[("2025-11-25", name) for name in ("resources-list", "prompts-list", "dns-rebinding-protection")],
    *[("2026-07-28", name) for name in ("caching", "http-header-validation", "tools-list")],
    *[("2026-07-28", name) for name in ("sep-2164-resource-not-found", "dns-rebinding-protection")],
]


@on(effort.push, effort.release)
def test_conformance_as_a_server(server: Server, owner: Person, node: Path) -> None:
    tokens = OAuthClient(server).tokens(owner)
    with bearer_proxy(server.url, tokens["access_token"]) as proxy:
        for version, scenario in SCENARIOS:
            arguments = ["--url", f"{proxy}/mcp", "--scenario", scenario, "--spec-version", version]
            done = subprocess.run(
                [NODE, CONFORMANCE, "server", *arguments],
                cwd=node,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (scenario, done.stdout)
            assert " 0 failed" in done.stdout, (scenario, done.stdout)
