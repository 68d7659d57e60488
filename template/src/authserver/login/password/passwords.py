"""Hashing passwords with Argon2id, off the event loop."""

import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from authserver import limits
from authserver.with_password.pool import Pool, Visitor


class Passwords:
    """Makes and checks Argon2id hashes (RFC 9106, second recommended option)."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._pool = Pool(at_once=limits.PASSWORDS_HASHED_AT_ONCE, waiting=limits.PASSWORDS_WAITING)
        self._nobody: str | None = None

    async def hash(self, password: str, visitor: Visitor) -> bytes:
        """Return the hash of a password; raises Busy."""
        return (await self._pool.run(visitor, self._hash, password)).encode()

    async def verify(self, hashed: bytes | None, password: str, visitor: Visitor) -> bool:
        """Say whether the password is right; without a hash it takes as long, and is wrong. Raises Busy."""
        return await self._pool.run(visitor, self._verify, hashed and hashed.decode(), password)

    def is_outdated(self, hashed: bytes) -> bool:
        """Say whether the hash was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(hashed.decode())

    def _hash(self, password: str) -> str:
        return self._hasher.hash(_normal(password))

    def _verify(self, hashed: str | None, password: str) -> bool:
        if self._nobody is None:
            self._nobody = self._hasher.hash("nobody")
        try:
            right = self._hasher.verify(hashed or self._nobody, _normal(password))
        except (VerificationError, InvalidHashError):
            return False
        return right and hashed is not None


def _normal(password: str) -> str:
    """NIST SP 800-63B section 5.1.1.2: the same characters, however the keyboard composed them."""
    return unicodedata.normalize("NFKC", password)[: limits.MAXIMUM_PASSWORD_CHARACTERS]
