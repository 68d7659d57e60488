"""The README's commands, as they are written, on a fresh clone."""

import os
import re
import socket
import sys
from pathlib import Path

import pytest
from fastmcp import Client
from person import Person, browse
from rendering import REPOSITORY, git, questions
from servers import Server

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
[START] = re.findall(r"^    (pip install uv && uvx .*)$", README, re.MULTILINE)


@pytest.mark.filterwarnings("ignore:Using in-memory token storage")
@pytest.mark.anyio
async def test_the_first_command_leads_to_a_tool_that_names_the_user(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as port:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port.bind(("127.0.0.1", 8000))  # else something else is running there
    clone = tmp_path / "copier-fastmcp-oauth"
    git(tmp_path, "clone", "--quiet", str(template), str(clone))
    server = Server(tmp_path / "my-server", {}, port=8000)
    server.environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AUTH_", "PYTEST_"))
    }
    # What the command starts from is a machine's own Python, not the environment of these tests.
    server.environment["PATH"] = server.environment["PATH"].replace(f"{Path(sys.executable).parent}:", "")
    with server.running(command=("sh", "-c", START), folder=clone):
        owner = Person(server, "owner")
        assert owner.join(server.first_account_link).status_code == 200
        opened = browse(monkeypatch, owner)
        async with Client("http://127.0.0.1:8000/mcp", auth="oauth") as client:
            assert (await client.call_tool("list_notes")).data == []
            assert len(opened) == 1
            assert "owner" in (await client.call_tool("add_note", {"text": "Buy milk"})).data
            assert len(opened) == 2
    assert git(clone, "status", "--porcelain") == ""
    assert f"_src_path: {clone}\n" in (tmp_path / "my-server" / ".copier-answers.yml").read_text()


def test_it_is_short_and_what_it_points_to_exists() -> None:
    assert len(README.splitlines()) < 150
    for target in re.findall(r'(?:src="|\]\()(?!http)([^")]+)', README):
        assert (REPOSITORY / target).exists(), target


def test_it_names_every_question_with_its_choices() -> None:
    for name, question in questions().items():
        if question.get("when") is not False:
            [row] = re.findall(rf"^\| `{name}` \|(.*)$", README, re.MULTILINE)
            for choice in question.get("choices", {}).values():
                assert f"`{choice}`" in row
