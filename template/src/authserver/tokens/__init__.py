"""The TokenFormat protocol: how an access token looks, what is stored of it, how it is checked.

Refresh tokens and codes are opaque in every format.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from starlette.routing import Route

from authserver.crypto.sealing import Seal
from authserver.model.records import AccessToken
from authserver.storage import Storage
from authserver.storage.verdicts import Issued


class TokenFormat(Protocol):
    """One format of access tokens, each made from a 32-byte seed: the same seed, the same token.

    The module offers `Settings` and `create(settings)`, which raises SettingsError.
    """

    revoked_within_seconds: float
    """How long it may take until a token is refused whose grant, user or client has ended: 0 is at once."""

    @property
    def routes(self) -> list[Route]:
        """The endpoints of this format."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What this format adds to the authorization server metadata (RFC 8414)."""

    def open(self, storage: Storage, seal: Seal) -> None:
        """Take the open storage, and what seals keys."""

    async def close(self) -> None:
        """Let go of the storage."""

    async def catch_up(self) -> None:
        """Learn what was stored by other processes; a server does so before it answers, and each second."""

    def digest(self, seed: bytes) -> bytes | None:
        """Return what storage keeps of the token made from `seed`; None where it keeps nothing."""

    async def encode(self, seed: bytes, issued: Issued) -> str:
        """Return the token made from `seed`."""

    async def load(self, token: str) -> AccessToken | None:
        """Return what the token stands for if it is alive. May raise StorageUnavailable."""

    async def list_keys(self) -> list[dict[str, Any]]:
        """Return the keys that sign tokens, for the operator, the oldest first."""

    async def rotate_keys(self, *, at_once: bool) -> str:
        """Make the next key that signs, and return its id; raises SettingsError where there is nothing to.

        `at_once`: it signs now, and what was signed before is refused.
        """

    async def rewrap(self) -> int:
        """Seal again what is sealed with the previous secret key; return how many keys that were."""
