"""The secret key and what is derived from it.

On one node the key is made beside the data on the first start; where several nodes share a store, the
operator sets it. The store keeps a check value, so that a wrong key, or a lost key file, stops the start: a
new key is never made silently where data exists.
"""

import base64
import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from authserver.secret_values import derive, new_seed
from authserver.settings import CoreSettings, SettingsError
from authserver.storage import Storage

_MINIMUM_LENGTH = 32
_CHECK = "secret key check"


@dataclass(frozen=True, slots=True)
class Keys:
    """One key for each use, derived from the secret key, so that no two uses share one."""

    replay: bytes = field(repr=False)
    browser: bytes = field(repr=False)
    names: bytes = field(repr=False)


async def load_keys(settings: CoreSettings, storage: Storage) -> Keys:
    """Return the keys; on the first start make the secret key (mode 0600) where one may be made.

    Raises SettingsError when the key is too short, or is not the one the store was made with.
    """
    made = await storage.recall(_CHECK)
    key = _secret_key(settings, new_allowed=made is None)
    value = derive(key, _CHECK)
    if not hmac.compare_digest(await storage.remember(_CHECK, value), value):
        raise _wrong_key()
    return Keys(
        replay=derive(key, "refresh replay"),
        browser=derive(key, "browser binding"),
        names=derive(key, "names in counters"),
    )


async def check_value(storage: Storage) -> bytes:
    """Return what the store keeps of its secret key, to tell whether another one is it."""
    return await storage.recall(_CHECK) or b""


def verify_key(settings: CoreSettings, check: bytes) -> None:
    """Raise SettingsError unless the secret key is the one that `check` was made with."""
    key = _secret_key(settings, new_allowed=False)
    if not hmac.compare_digest(derive(key, _CHECK), check):
        raise _wrong_key()


def _wrong_key() -> SettingsError:
    return SettingsError(
        "AUTH_SECRET_KEY: this is not the key that the stored data was made with."
        " Example: set AUTH_SECRET_KEY, or restore the file secret.key from a backup"
    )


def _secret_key(settings: CoreSettings, *, new_allowed: bool) -> bytes:
    key = configured_key("AUTH_SECRET_KEY", settings.secret_key, settings.secret_key_file)
    return key or _made(settings.made_key_path, new_allowed=new_allowed)


def configured_key(variable: str, value: SecretStr | None, file: Path | None) -> bytes | None:
    """Return a key that is set, itself or as a file, None where it is not; raises SettingsError."""
    if value is not None:
        text = value.get_secret_value()
    elif file is not None:
        variable += "_FILE"
        try:
            text = file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(
                f"{variable}: cannot be read ({error.strerror}). Example: {variable}=/run/secrets/key"
            ) from None
    else:
        return None
    if len(text) < _MINIMUM_LENGTH:
        raise SettingsError(
            f"{variable}: at least {_MINIMUM_LENGTH} characters are needed."
            f" Example: {variable.removesuffix('_FILE')}=$(openssl rand -base64 32)"
        )
    return text.encode()


def _made(path: Path | None, *, new_allowed: bool) -> bytes:
    if path is None:
        raise SettingsError(
            "AUTH_SECRET_KEY: it must be set, the same on every node that shares the storage."
            " Example: AUTH_SECRET_KEY=$(openssl rand -base64 32)"
        )
    try:
        return path.read_bytes().strip()
    except FileNotFoundError:
        pass
    if not new_allowed:
        raise SettingsError(
            f"AUTH_SECRET_KEY: {path} is missing, but there is data made with it."
            " Example: restore the file from a backup, or set AUTH_SECRET_KEY to the key"
        )
    key = base64.b64encode(new_seed())
    # Written aside and linked into place: of several processes one wins, and none reads half a key.
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return path.read_bytes().strip()
    finally:
        draft.unlink()
    return key
