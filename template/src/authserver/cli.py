"""The command: `serve`, and what an operator does with users, clients and grants."""

import json
import sys
from pathlib import Path

from cyclopts import App

from authserver.commands import shown
from authserver.commands.backups import back_up, purge, restore
from authserver.commands.clients import clients
from authserver.commands.components import list_components
from authserver.commands.doctor import doctor
from authserver.commands.grants import grants
from authserver.commands.keys import keys
from authserver.commands.serve import serve
from authserver.commands.users import users
from authserver.errors import OperatorError


def _release() -> str:
    """Return which release of authserver this is."""
    manifest = Path(__file__).with_name("manifest.json").read_text(encoding="utf-8")
    return f"authserver {json.loads(manifest)['release']}"


app = App(
    name=Path(sys.argv[0]).name,
    help="Run the server, and manage its users, clients and grants.",
    version=_release,
)
app.default(serve)
app.command(back_up, name="backup")
app.command(list_components, name="components")
for command in (serve, users, clients, grants, keys, purge, restore, doctor):
    app.command(command)


def main() -> None:
    """Run the command; a mistake is one line on standard error and exit code 1."""
    try:
        app(sys.argv[1:])
    except OperatorError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {shown(error)}")
