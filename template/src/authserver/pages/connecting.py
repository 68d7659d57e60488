"""How the most used apps are told of this server: ready to paste, for the first start and for pages."""

import json
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """What one app is given: a command, or what its file of settings must hold."""

    app: str
    text: str
    file: str | None = None
    """The file, where it is no command."""


def ways(server_name: str, url: str) -> list[Way]:
    """Return the ways for a server of that name, whose MCP endpoint has that address: a URL as we make it."""
    name = re.sub(r"[^a-z0-9]+", "-", server_name.lower()).strip("-") or "mcp-server"
    return [
        Way("Claude Code", f"claude mcp add --transport http {name} {url}"),
        Way("Codex", f"codex mcp add {name} --url {url}"),
        Way("VS Code", f"code --add-mcp '{json.dumps({'name': name, 'type': 'http', 'url': url})}'"),
        Way("Gemini CLI", f"gemini mcp add --transport http {name} {url}"),
        Way("Cursor", json.dumps({"mcpServers": {name: {"url": url}}}, indent=2), "~/.cursor/mcp.json"),
    ]
