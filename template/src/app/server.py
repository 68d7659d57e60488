"""Your MCP server: its scopes and its tools. Change all of it."""

from fastmcp import FastMCP
from fastmcp.server.dependencies import get_access_token

from authserver import AuthorizationServer, Scope, requires

SCOPES = [
    Scope("notes:read", "Read the notes.", default=True),
    Scope("notes:write", "Read the notes and add new ones.", includes=("notes:read",)),
]

mcp = FastMCP("Notes", auth=AuthorizationServer(scopes=SCOPES))

_notes: list[str] = []


def _caller() -> str:
    """Return the name of the user on whose behalf the client calls."""
    token = get_access_token()
    return str(token.claims["preferred_username"]) if token else "nobody"


@mcp.tool
@requires("notes:read")
def list_notes() -> list[str]:
    """List all notes."""
    return _notes


@mcp.tool
@requires("notes:write")
def add_note(text: str) -> str:
    """Add a note."""
    _notes.append(f"{_caller()}: {text}")
    return f"Thank you, {_caller()}. There are {len(_notes)} notes now."
