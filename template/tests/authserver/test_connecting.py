"""What a new user is told to paste into an app."""

import html
import json
import shlex

import pytest
from conftest import Live
from person import Person

from authserver.pages.connecting import ways

URL = "https://mcp.example.com/mcp"


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("Notes", "notes"),
        ("Demo 🚀", "demo"),
        ("Ärzte & Co.; $(id) '", "rzte-co-id"),
        ("🚀", "mcp-server"),
        ("", "mcp-server"),
    ],
)
def test_each_command_is_one_whatever_the_server_is_called(called: str, name: str) -> None:
    for way in ways(called, URL):
        if way.file:
            assert json.loads(way.text) == {"mcpServers": {name: {"url": URL}}}
        elif way.app == "VS Code":
            *command, server = shlex.split(way.text)
            assert command == ["code", "--add-mcp"]
            assert json.loads(server) == {"name": name, "type": "http", "url": URL}
        else:
            assert {name, URL} < set(shlex.split(way.text))


def test_people_are_told_before_and_after_they_sign_in(live: Live, alice: Person) -> None:
    for page in (Person(live).browser.get("/", headers={"Accept": "text/html"}), alice.get("/account")):
        for way in ways("Sample", f"{live.url}/mcp"):
            assert f"<summary>{way.app}</summary>" in page.text
            assert way.text in html.unescape(page.text)
