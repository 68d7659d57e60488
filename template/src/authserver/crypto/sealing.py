"""Sealing: how secrets that must be read again are stored (AES-256-GCM, NIST SP 800-38D).

A sealed value is the name of its key, a random nonce, and the ciphertext with its tag. What it is for is
authenticated with it, so that it opens nowhere else.
"""

import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from authserver.crypto.secret_values import derive

SIGNING_KEY = "signing key "
"""Facts whose names begin so are sealed, and no others."""

SECOND_FACTOR = "second-factor"
"""Credentials of this kind are sealed, and no others."""

NAME_LENGTH = 4
_NONCE_LENGTH = 12


class CannotUnseal(Exception):
    """The value was sealed with a key that is not here, for something else, or it was changed."""


def key_name(secret_key: bytes) -> bytes:
    """Return the 4 bytes by which what was made with a secret key names it."""
    return derive(secret_key, "name of the key")[:NAME_LENGTH]


class Seal:
    """Seals with the first of some secret keys; opens what was sealed with any of them."""

    def __init__(self, secret_keys: Sequence[bytes]) -> None:
        self._ciphers = {key_name(key): AESGCM(derive(key, "sealing")) for key in secret_keys}
        self._name = key_name(secret_keys[0])

    @property
    def name(self) -> str:
        """The name of the key that seals."""
        return self._name.hex()

    def is_current(self, sealed: bytes) -> bool:
        """Say whether the value is sealed with the key that seals now."""
        return sealed[:NAME_LENGTH] == self._name

    def seal(self, value: bytes, purpose: str) -> bytes:
        """Return the value, sealed for a purpose."""
        nonce = secrets.token_bytes(_NONCE_LENGTH)
        return self._name + nonce + self._ciphers[self._name].encrypt(nonce, value, purpose.encode())

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """Return what was sealed for that purpose; raises CannotUnseal."""
        name, rest = sealed[:NAME_LENGTH], sealed[NAME_LENGTH:]
        try:
            return self._ciphers[name].decrypt(rest[:_NONCE_LENGTH], rest[_NONCE_LENGTH:], purpose.encode())
        except (KeyError, InvalidTag, ValueError):
            raise CannotUnseal from None
