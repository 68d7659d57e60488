"""The secret key, the one before it, and what is derived from them.

On one node the key is made beside the data on the first start; where several nodes share a store, the
operator sets it. The store keeps a check value, so that a wrong key, or a lost key file, stops the start: a
new key is never made silently where data exists.

A new key is set beside the previous one; `keys rewrap` then makes the previous one unnecessary. Refresh
tokens, codes and sessions are digests and outlive that. What ends with the previous key: sign-ins that are
half-way, forms that are open, the recognition of browsers that signed in before, counters of attempts.
"""

import base64
import hmac
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from pydantic import SecretStr

from authserver import limits
from authserver.crypto.sealing import NAME_LENGTH, Seal, key_name
from authserver.crypto.secret_values import derive, new_seed
from authserver.settings import CoreSettings, SettingsError, secret_in
from authserver.storage import Storage
from authserver.storage.errors import StorageUnavailable
from authserver.storage.facts import CHECK, IDENTITY

_log = structlog.get_logger("authserver")


@dataclass(frozen=True, slots=True)
class Keys:
    """One key for each use, derived from the secret key, so that no two uses share one."""

    browser: bytes = field(repr=False)
    names: bytes = field(repr=False)
    check: bytes = field(repr=False)
    seal: Seal = field(repr=False, compare=False)
    replay_keys: Mapping[bytes, bytes] = field(repr=False)
    """By what salts begin with, the current one first."""
    mark_keys: Mapping[bytes, bytes] = field(repr=False)
    """What marks refresh tokens, by the same; none for salts of nodes of 0.2.0, whose tokens have no mark."""

    def new_salt(self) -> bytes:
        """Return the 32 bytes that are stored of a spent refresh token: the name of its key, then random."""
        return next(iter(self.replay_keys)) + secrets.token_bytes(32 - NAME_LENGTH)

    def replay(self, salt: bytes) -> bytes:
        """Return the key from which the successors of a refresh token with that salt come.

        Raises StorageUnavailable where another node has a key that this one does not have: the client tries
        again, and nobody is logged out.
        """
        try:
            return self.replay_keys[salt[:NAME_LENGTH]]
        except KeyError:
            raise StorageUnavailable("the answer was made with a secret key that is not here") from None

    def mark(self, salt: bytes) -> bytes | None:
        """Return the key that marks the successor of a refresh token with that salt; None: it has none."""
        return self.mark_keys.get(salt[:NAME_LENGTH])


async def load_keys(settings: CoreSettings, storage: Storage) -> Keys:
    """Return the keys; on the first start make the secret key (mode 0600) where one may be made.

    From then on the storage answers only while it is this one. Raises SettingsError when a key is too short,
    or none is the one the store was made with, or the store is empty and must not be.
    """
    check = await check_value(storage)
    if not check and await storage.facts.recall(IDENTITY):
        raise SettingsError(
            "AUTH_SECRET_KEY: the store has lost the value by which it knows its key: it may be another one."
            " Example: restore the latest backup into an empty store"
        )
    if not check and not settings.new_store:
        raise SettingsError(
            "AUTH_NEW_STORE: it is false, and the store is empty: it was emptied, or is another one."
            " Example: restore the latest backup; only to begin anew: AUTH_NEW_STORE=true"
        )
    keys = _secret_keys(settings, new_allowed=not check)
    value = derive(keys[0], CHECK)
    _verify(keys, check or await storage.facts.remember(f"{CHECK}1", value))
    await storage.pin()
    salted = {derive(key, "name of the key in salts")[:NAME_LENGTH]: key for key in keys}
    salted_before = {key_name(key): key for key in keys}
    return Keys(
        browser=derive(keys[0], "browser binding"),
        names=derive(keys[0], "names in counters"),
        check=value,
        seal=Seal(keys),
        replay_keys={name: derive(key, "refresh replay") for name, key in (salted | salted_before).items()},
        mark_keys={name: derive(key, "grants in refresh tokens") for name, key in salted.items()},
    )


async def check_value(storage: Storage) -> bytes:
    """Return what the store keeps of its secret key, by which another key is told from it."""
    checks = await storage.facts.all(CHECK)
    return checks[max(checks, key=_number)] if checks else b""


async def store_check_value(storage: Storage, keys: Keys) -> None:
    """Store the check value of the new secret key: the store does not open with the previous one alone."""
    checks = await storage.facts.all(CHECK)
    last = max(checks, key=_number)
    if checks[last] != keys.check:
        last = f"{CHECK}{_number(last) + 1}"
        await storage.facts.remember(last, keys.check)
    for name in checks.keys() - {last}:
        await storage.facts.forget(name)


def verify_key(settings: CoreSettings, check: bytes) -> None:
    """Raise SettingsError unless a secret key is the one that `check` was made with."""
    _verify(_secret_keys(settings, new_allowed=False), check)


def _number(name: str) -> int:
    return int(name.removeprefix(CHECK))


def _verify(keys: list[bytes], check: bytes) -> None:
    if not any(hmac.compare_digest(derive(key, CHECK), check) for key in keys):
        raise _wrong_key()


def _secret_keys(settings: CoreSettings, *, new_allowed: bool) -> list[bytes]:
    """Return the secret key, and the previous one where it is set."""
    current = configured_key("AUTH_SECRET_KEY", settings.secret_key, settings.secret_key_file)
    previous = configured_key(
        "AUTH_SECRET_KEY_PREVIOUS", settings.secret_key_previous, settings.secret_key_previous_file
    )
    key = current or _made(settings.made_key_path, new_allowed=new_allowed)
    return [key] if previous is None else [key, previous]


def _wrong_key() -> SettingsError:
    return SettingsError(
        "AUTH_SECRET_KEY: this is not the key that the stored data was made with."
        " Example: set AUTH_SECRET_KEY, or restore the file secret.key from a backup"
    )


def configured_key(variable: str, value: SecretStr | None, file: Path | None) -> bytes | None:
    """Return a key that is set, itself or in a file; None where it is not. Raises SettingsError."""
    if value is not None:
        text = value.get_secret_value()
    elif file is not None:
        variable += "_FILE"
        text = secret_in(variable, file)
    else:
        return None
    if problem := _problem(text):
        raise SettingsError(
            f"{variable}: {problem}. Example: {variable.removesuffix('_FILE')}=$(openssl rand -base64 32)"
        )
    return text.encode()


def _problem(text: str) -> str:
    """Return why a text is no key, '' where it can be one."""
    if len(text) < limits.MINIMUM_SECRET_KEY_CHARACTERS:
        return f"at least {limits.MINIMUM_SECRET_KEY_CHARACTERS} characters are needed"
    # What a crash or a failed mount leaves of a file may be as long as it was, and empty.
    return "" if text.isprintable() else "it holds control characters"


def _made(path: Path | None, *, new_allowed: bool) -> bytes:
    if path is None:
        raise SettingsError(
            "AUTH_SECRET_KEY: it must be set, the same on every node that shares the storage."
            " Example: AUTH_SECRET_KEY=$(openssl rand -base64 32)"
        )
    if (key := _read(path)) is not None:
        return key
    if not new_allowed:
        raise SettingsError(
            f"AUTH_SECRET_KEY: {path} is missing, but there is data made with it."
            " Example: restore the file from a backup, or set AUTH_SECRET_KEY to the key"
        )
    key = base64.b64encode(new_seed())
    try:
        # Written aside and linked into place: of several processes one wins, and none reads half a key.
        descriptor, draft = tempfile.mkstemp(prefix="secret.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(key)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        finally:
            Path(draft).unlink()
    except FileExistsError:
        return _made(path, new_allowed=False)
    except OSError as error:
        raise SettingsError(
            f"AUTH_SECRET_KEY: {path} cannot be made ({error.strerror})."
            " Example: AUTH_SECRET_KEY=$(openssl rand -base64 32)"
        ) from None
    _log.warning("a new secret key is made, since no data was there", file=str(path))
    return key


def _read(path: Path) -> bytes | None:
    """Return the key in the file that was made; None where there is no file. Raises SettingsError."""
    try:
        key = path.read_bytes().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(
            f"AUTH_SECRET_KEY: {path} cannot be read ({error.strerror})."
            f" Example: let the user that runs the server own {path}"
        ) from None
    if _problem(key.decode(errors="replace")):
        raise SettingsError(
            f"AUTH_SECRET_KEY: {path} holds no whole key."
            " Example: restore the file from a backup, or delete it if nothing was stored yet"
        )
    return key
