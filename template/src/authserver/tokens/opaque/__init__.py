"""Opaque access tokens: 256 random bits, looked up by their digest, revoked at once."""

from collections.abc import Mapping
from typing import Any

from starlette.routing import Route

from authserver.crypto import secret_values
from authserver.crypto.sealing import Seal
from authserver.crypto.secret_values import Kind
from authserver.model.records import AccessToken
from authserver.settings import CoreSettings, SettingsError
from authserver.storage import Storage
from authserver.storage.verdicts import Issued


class Settings(CoreSettings):
    """This format has no settings of its own."""


def create(settings: Settings) -> "OpaqueTokens":
    """Return the format."""
    return OpaqueTokens()


class OpaqueTokens:
    """The TokenFormat protocol with a lookup for each check."""

    revoked_within_seconds: float = 0
    routes: list[Route] = []  # noqa: RUF012  # nobody adds to it
    metadata: Mapping[str, Any] = {}

    def open(self, storage: Storage, seal: Seal) -> None:
        """Take the storage."""
        self._grants = storage.grants

    async def close(self) -> None:
        """There is nothing to let go of."""

    async def catch_up(self) -> None:
        """There is nothing to learn: each check looks."""

    def digest(self, seed: bytes) -> bytes:
        """Return the digest of the token."""
        return secret_values.digest(Kind.ACCESS_TOKEN, secret_values.encode(Kind.ACCESS_TOKEN, seed))

    async def encode(self, seed: bytes, issued: Issued) -> str:
        """Return the token: its prefix and the seed; all else is looked up."""
        return secret_values.encode(Kind.ACCESS_TOKEN, seed)

    async def load(self, token: str) -> AccessToken | None:
        """Look the token up."""
        return await self._grants.get_access_token(secret_values.digest(Kind.ACCESS_TOKEN, token))

    async def list_keys(self) -> list[dict[str, Any]]:
        """There are none."""
        return []

    async def rotate_keys(self, *, at_once: bool) -> str:
        """Refuse."""
        raise SettingsError("opaque tokens are not signed: there is no key to rotate")

    async def rewrap(self) -> int:
        """Nothing of this format is sealed."""
        return 0
