"""The KeyRing protocol: which keys there are, and which of them signs."""

from collections.abc import Sequence
from typing import Any, Protocol

from authserver.crypto.sealing import Seal
from authserver.storage.facts import Facts
from authserver.tokens.jwt.signing import KeyPair, Signer


class KeyRing(Protocol):
    """The keys of one server."""

    def open(self, facts: Facts, seal: Seal) -> None:
        """Take the open store of facts, and what seals keys."""

    async def catch_up(self) -> None:
        """Learn of keys that other processes made or deleted. May raise StorageUnavailable."""

    @property
    def published(self) -> Sequence[KeyPair]:
        """The keys whose tokens are accepted, now or later, the oldest first."""

    def find(self, kid: str) -> KeyPair | None:
        """Return the published key with that id."""

    @property
    def signer(self) -> Signer:
        """What signs now. Raises StorageUnavailable where there is none."""

    async def rows(self) -> list[dict[str, Any]]:
        """Return the keys for the operator."""

    async def rotate(self, *, at_once: bool) -> str:
        """Make the next key and return its id; raises SettingsError."""

    async def rewrap(self) -> int:
        """Seal again what is sealed with the previous secret key; return how many keys that were."""
