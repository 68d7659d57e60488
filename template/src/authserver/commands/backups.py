"""`purge`, `backup` and `restore`: what concerns all that is stored."""
# ruff: noqa: PLC0415

import os
import re
from datetime import UTC, datetime
from pathlib import Path

from authserver import clock, limits
from authserver.commands import CommandError, opened, operating, quoted, say, when

_NAME = r"backup-\d{8}T\d{6}Z"


async def purge() -> None:
    """Delete what has expired; the running server does so by itself every few minutes."""
    from authserver import background
    from authserver.audit import Event, audit

    async with opened() as server:
        count = await background.purge(server)
        audit(Event.EXPIRED_DELETED, count=count)
    say(f"{count} records deleted")


async def back_up(file: Path, /, *, keep: int | None = None) -> None:
    """Write all that is stored to a new file, also while the server runs. The secret key is not in it.

    Parameters
    ----------
    file
        The new file; with --keep, a folder.
    keep
        Name the file by the time, and keep the newest so many of those in the folder.
    """
    from authserver import backup
    from authserver.audit import Event, audit
    from authserver.crypto.keys import check_value

    if keep is not None and keep < 1:
        raise CommandError("--keep: at least the new backup is kept. Example: --keep 14")
    name = _named(clock.now())
    draft = file if keep is None else file / f".{name}"
    if keep is not None:
        _forget_drafts(file)
    async with opened() as server:
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise CommandError(f"{quoted(draft)}: {error.strerror}") from None
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as lines:
                count = await backup.write(server.storage, await check_value(server.storage), lines)
                lines.flush()
                os.fsync(descriptor)
        except BaseException:
            draft.unlink()
            raise
        if keep is not None:
            draft = draft.rename(file / name)
            _forget(file, keep, newest=name)
        audit(Event.BACKUP_WRITTEN, count=count)
    say(f"{count} records written to {quoted(draft)}. Keep the secret key too, in another place.")


def _named(time: float) -> str:
    return f"backup-{datetime.fromtimestamp(time, UTC):%Y%m%dT%H%M%SZ}"


def _forget_drafts(folder: Path) -> None:
    """Delete what runs left behind that were killed; a younger draft may be somebody's who still writes."""
    newest = f".{_named(clock.now() - limits.BACKUP_SECONDS)}"
    for draft in folder.glob(".backup-*"):
        if re.fullmatch(rf"\.{_NAME}", draft.name) and draft.name < newest:
            draft.unlink(missing_ok=True)


def _forget(folder: Path, keep: int, *, newest: str) -> None:
    """Delete the oldest backups; never the new one, even where a clock was ahead when others were made."""
    named = (path.name for path in folder.iterdir())
    others = sorted(name for name in named if re.fullmatch(_NAME, name) and name != newest)
    for name in others[: max(0, len(others) - keep + 1)]:
        (folder / name).unlink()


async def restore(file: Path, /, *, revoke_all: bool = False, discard_encrypted: bool = False) -> None:
    """Fill an empty store from a backup, whatever storage it was made with.

    Parameters
    ----------
    file
        A backup.
    revoke_all
        Restore accounts and clients, but no session, grant or token.
    discard_encrypted
        The secret key is lost: restore under a new one, without signing keys and second factors.
    """
    from authserver import backup, choices
    from authserver.all_settings import load_settings
    from authserver.audit import Event, audit
    from authserver.crypto.keys import verify_key
    from authserver.storage import Storage
    from authserver.storage.errors import NotEmpty

    with operating():
        settings = load_settings()
        storage: Storage = choices.storage.create(settings)
        await storage.open()
        try:
            with file.open(encoding="ascii") as lines:
                source = backup.Backup(lines)
                records = source.records()
                if discard_encrypted:
                    records = backup.without_sealed(records)
                else:
                    verify_key(settings, source.check)
                await storage.fill(backup.without_access(records) if revoke_all else records)
            audit(Event.BACKUP_RESTORED, count=source.count)
        except NotEmpty:
            raise CommandError("the store is not empty: restore into a new one") from None
        except OSError as error:
            raise CommandError(f"{quoted(file)}: {error.strerror or 'it cannot be read'}") from None
        except backup.BackupError as error:
            raise CommandError(f"{quoted(file)}: {error}") from None
        finally:
            await storage.close()
    hours = (clock.now() - source.made_at) / 3600
    say(f"{source.count} records restored, of {when(source.made_at)}, {hours:.1f} hours ago.")
    if discard_encrypted:
        say("Signing keys and second factors were left out: whoever had one signs in without it now.")
    if not revoke_all:
        say("What was revoked since then is valid again. If that matters: restore with --revoke-all.")
