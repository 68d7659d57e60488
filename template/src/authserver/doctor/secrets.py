"""What doctor says of keys, and of files with secrets or code: how old, and who can read or change them."""

import os
from collections.abc import Iterator
from pathlib import Path

from dotenv import dotenv_values

from authserver import clock
from authserver.findings import Finding, note, unsafe
from authserver.folders import ENV, FOLDERS, in_the_project
from authserver.private_files import open_to_all, open_to_others, written_by_all
from authserver.settings import CoreSettings, secrets_among

_DAY_SECONDS = 86_400
_OLD_KEY_DAYS = 730


def key_still_changing(settings: CoreSettings) -> Iterator[Finding]:
    """Find that the secret key was changed, and the last one still opens everything.

    Source: NIST SP 800-57 part 1, section 8.2.3.
    """
    if settings.secret_key_previous or settings.secret_key_previous_file:
        yield note(
            "AUTH_SECRET_KEY_PREVIOUS", "it is still set", "Run keys rewrap, and take it out a minute later"
        )


def old_key(settings: CoreSettings) -> Iterator[Finding]:
    """Find that the file with the secret key was written two years ago or more.

    Source: NIST SP 800-57 part 1, section 5.3.6.
    """
    file = settings.secret_key_file or (None if settings.secret_key else settings.made_key_path)
    if file is not None and file.exists():
        days = (clock.now() - file.stat().st_mtime) / _DAY_SECONDS
        if days > _OLD_KEY_DAYS:
            yield note(
                "AUTH_SECRET_KEY",
                f"{file} was written {days:.0f} days ago",
                "Set a new key, and this one as AUTH_SECRET_KEY_PREVIOUS, then run keys rewrap",
            )


def key_beside_data(settings: CoreSettings) -> Iterator[Finding]:
    """Find that whoever copies the data folder has the secret key, too.

    Source: NIST SP 800-57 part 1, section 6.2.2.
    """
    made = settings.made_key_path
    if made is not None and made.exists() and not settings.secret_key and not settings.secret_key_file:
        yield note("AUTH_SECRET_KEY", f"it lies beside the data, in {made}", "Keep backups of the two apart")


def open_env_file(settings: CoreSettings) -> Iterator[Finding]:
    """Find that other users of the machine can read secrets in `.env`, or change what it says.

    Source: CWE-732.
    """
    env = in_the_project(ENV)
    held = {f"AUTH_{name.upper()}" for name in secrets_among(settings)} & dotenv_values(env).keys()
    if held and open_to_others(env):
        yield unsafe(".env", f"others can read it, and it holds {min(held)}", "chmod 600 .env")
    elif written_by_all(env):
        yield unsafe(".env", "every user of this machine can change it", "chmod 600 .env")


def open_secret_file(settings: CoreSettings) -> Iterator[Finding]:
    """Find that other users of the machine can read a file with a secret.

    Source: CWE-732.
    """
    made = settings.made_key_path
    if made is not None and open_to_others(made):
        yield unsafe(str(made), "others can read the secret key", f"chmod 600 {made}")
    # A key of TLS is read as other secrets are, but there is no setting with the key itself.
    for name in (*secrets_among(settings), "tls_key"):
        file = getattr(settings, f"{name}_file", None)
        if file is not None and open_to_others(file):
            # A group may be meant, as in a container, where nobody else is there.
            judge = unsafe if open_to_all(file) else note
            yield judge(f"AUTH_{name.upper()}_FILE", f"others can read {file}", f"chmod 600 {file}")


def open_code(settings: CoreSettings) -> Iterator[Finding]:
    """Find that other users of the machine can change the code that the server runs.

    Source: CWE-732.
    """
    del settings
    packages = [FOLDERS.source / name for name in ("app", "authserver")]
    for place in [FOLDERS.source, *packages, *(file for each in packages for file in _code(each))]:
        if written_by_all(place):
            yield unsafe(
                str(place), "every user of this machine can change what the server runs", f"chmod o-w {place}"
            )


def _code(package: Path) -> Iterator[Path]:
    return (place for place in sorted(package.rglob("*")) if place.is_dir() or place.suffix == ".py")


def runs_as_root(settings: CoreSettings) -> Iterator[Finding]:
    """Find that the server may do everything on this machine.

    Source: CWE-250.
    """
    del settings
    if os.name == "posix" and os.geteuid() == 0:
        yield note("root", "this runs as root", "Run the server as a user of its own")


RULES = (
    key_still_changing,
    old_key,
    key_beside_data,
    open_env_file,
    open_secret_file,
    open_code,
    runs_as_root,
)
