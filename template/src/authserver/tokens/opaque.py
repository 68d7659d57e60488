"""Opaque access tokens: 256 random bits, looked up by their digest, revoked at once."""

from authserver import secret_values
from authserver.records import AccessToken
from authserver.secret_values import Kind
from authserver.settings import CoreSettings
from authserver.storage import Issued, Storage


class Settings(CoreSettings):
    """This format has no settings of its own."""


def create(settings: Settings, storage: Storage) -> "OpaqueTokens":
    """Return the format."""
    return OpaqueTokens(storage)


class OpaqueTokens:
    """The TokenFormat protocol with a lookup for each check."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def digest(self, seed: bytes) -> bytes:
        """Return the digest of the token."""
        return secret_values.digest(Kind.ACCESS_TOKEN, secret_values.encode(Kind.ACCESS_TOKEN, seed))

    def encode(self, seed: bytes, issued: Issued) -> str:
        """Return the token: its prefix and the seed; all else is looked up."""
        return secret_values.encode(Kind.ACCESS_TOKEN, seed)

    async def load(self, token: str) -> AccessToken | None:
        """Look the token up."""
        return await self._storage.get_access_token(secret_values.digest(Kind.ACCESS_TOKEN, token))
