"""Numbered SQL files, applied in order, once each, recorded in the database as `user_version`."""

import sqlite3
from importlib.resources import files

from authserver.storage.errors import StorageUnavailable


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date, in one transaction, whatever other process tries the same.

    Raises StorageUnavailable where the database was written by a newer release.
    """
    scripts = sorted(
        (entry for entry in files(__name__).iterdir() if entry.name.endswith(".sql")),
        key=lambda entry: entry.name,
    )
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(scripts):
            raise StorageUnavailable(
                f"the database has schema {version}, this release knows {len(scripts)}:"
                " run the newer release, or restore the backup that was made before the update"
            )
        for script in scripts[version:]:
            for statement in _statements(script.read_text(encoding="utf-8")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(scripts)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already, and is what to tell
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    """Split at semicolons: `executescript` would commit first. Our files hold none inside a statement."""
    lines = (line.partition("--")[0] for line in script.splitlines())
    return [text for text in "\n".join(lines).split(";") if text.strip()]
