"""The secret key and what is derived from it.

On one node the key is made in the data folder on the first start. The store keeps a check value, so that a
wrong key, or a lost key file, stops the start: a new key is never made silently where data exists.
"""

import base64
import hmac
import os
from dataclasses import dataclass, field

from authserver.secret_values import derive, new_seed
from authserver.settings import Settings, SettingsError
from authserver.storage import Storage

_MINIMUM_LENGTH = 32
_CHECK = "secret key check"


@dataclass(frozen=True, slots=True)
class Keys:
    """One key for each use, derived from the secret key, so that no two uses share one."""

    replay: bytes = field(repr=False)
    browser: bytes = field(repr=False)
    names: bytes = field(repr=False)


async def load_keys(settings: Settings, storage: Storage) -> Keys:
    """Return the keys; on the first start make the secret key in the data folder (mode 0600).

    Raises SettingsError when the key is too short, or is not the one the store was made with.
    """
    made = await storage.recall(_CHECK)
    key = _configured(settings) or _from_data_dir(settings, new_allowed=made is None)
    value = derive(key, _CHECK)
    if not hmac.compare_digest(await storage.remember(_CHECK, value), value):
        raise SettingsError(
            "AUTH_SECRET_KEY: this is not the key that the stored data was made with."
            " Example: restore the file secret.key from a backup of AUTH_DATA_DIR"
        )
    return Keys(
        replay=derive(key, "refresh replay"),
        browser=derive(key, "browser binding"),
        names=derive(key, "names in counters"),
    )


def _configured(settings: Settings) -> bytes | None:
    if settings.secret_key is not None:
        text = settings.secret_key.get_secret_value()
        variable = "AUTH_SECRET_KEY"
    elif settings.secret_key_file is not None:
        variable = "AUTH_SECRET_KEY_FILE"
        try:
            text = settings.secret_key_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(
                f"{variable}: cannot be read ({error.strerror}). Example: {variable}=/run/secrets/key"
            ) from None
    else:
        return None
    if len(text) < _MINIMUM_LENGTH:
        raise SettingsError(
            f"{variable}: at least {_MINIMUM_LENGTH} characters are needed."
            " Example: AUTH_SECRET_KEY=$(openssl rand -base64 32)"
        )
    return text.encode()


def _from_data_dir(settings: Settings, *, new_allowed: bool) -> bytes:
    path = settings.data_dir / "secret.key"
    try:
        return path.read_bytes().strip()
    except FileNotFoundError:
        pass
    if not new_allowed:
        raise SettingsError(
            f"AUTH_SECRET_KEY: {path} is missing, but there is data made with it. Example: restore secret.key"
            " from a backup of AUTH_DATA_DIR, or set AUTH_SECRET_KEY to the key"
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
