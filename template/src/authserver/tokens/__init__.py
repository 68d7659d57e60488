"""The TokenFormat protocol: how an access token looks, what is stored of it, how it is checked.

Refresh tokens and codes are opaque in every format.
"""

from typing import Protocol

from authserver.records import AccessToken
from authserver.storage import Issued


class TokenFormat(Protocol):
    """One format of access tokens, each made from a 32-byte seed: the same seed, the same token."""

    def digest(self, seed: bytes) -> bytes | None:
        """Return what storage keeps of the token made from `seed`; None where it keeps nothing."""

    def encode(self, seed: bytes, issued: Issued) -> str:
        """Return the token made from `seed`."""

    async def load(self, token: str) -> AccessToken | None:
        """Return what the token stands for if it is alive. May raise StorageUnavailable."""
