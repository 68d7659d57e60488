"""The command: `serve`, and what an operator does with users, clients and grants."""

import difflib
import json
import sys
from pathlib import Path

from cyclopts import App

from authserver.commands import CommandError, quoted, shown
from authserver.commands.backups import back_up, purge, restore
from authserver.commands.clients import clients
from authserver.commands.components import list_components
from authserver.commands.doctor import doctor
from authserver.commands.grants import grants
from authserver.commands.keys import keys
from authserver.commands.known_flaws import known_flaws
from authserver.commands.serve import serve
from authserver.commands.users import users
from authserver.errors import OperatorError


def _release() -> str:
    """Return which release of authserver this is."""
    manifest = Path(__file__).with_name("manifest.json").read_text(encoding="utf-8")
    return f"authserver {json.loads(manifest)['release']}"


def _check_name(words: list[str]) -> None:
    """Raise CommandError where the first word is no command: `serve`, the default one, would not take it."""
    names = [name for name in app if not name.startswith("-")]
    if words and not words[0].startswith("-") and words[0] not in names:
        alike = difflib.get_close_matches(words[0], names, n=1)
        advice = f"Did you mean {alike[0]}?" if alike else f"There are: {', '.join(names)}"
        raise CommandError(f"there is no command {quoted(words[0])}. {advice}")


app = App(
    name=Path(sys.argv[0]).name,
    help="Run the server, and manage its users, clients and grants.",
    version=_release,
)
app.default(serve)
app.command(back_up, name="backup")
app.command(list_components, name="components")
app.command(known_flaws, name="known-flaws")
for command in (serve, users, clients, grants, keys, purge, restore, doctor):
    app.command(command)


def main() -> None:
    """Run the command; a mistake is one line on standard error and exit code 1."""
    try:
        _check_name(sys.argv[1:2])
        app(sys.argv[1:])
    except (OperatorError, ValueError) as error:
        text = str(error) if isinstance(error, OperatorError) else _wrong_setting_of_fastmcp(error)
        if not text:
            raise
        sys.exit(f"{Path(sys.argv[0]).name}: {shown(text)}")


def _wrong_setting_of_fastmcp(error: ValueError) -> str:
    """Return what is wrong with a setting that FastMCP reads when it is imported, '' for another error."""
    # Ours are SettingsErrors; to import pydantic for this would make each command slower.
    if getattr(error, "title", None) != "Settings":
        return ""
    first = error.errors(include_input=False)[0]  # type: ignore[attr-defined]
    variable = f"FASTMCP_{first['loc'][0]}".upper()
    return f"{variable}: {first['msg']}. Example: unset {variable}"
