"""What the installation knows of itself, by name: signing keys, check values, accounts of a directory."""

import secrets
from abc import ABC, abstractmethod

CHECK = "secret key check "
"""What tells the secret key, with the number of the key: each rotation adds the next and forgets the last."""

IDENTITY = "identity"
"""Random bytes by which a store is told from any other, also from itself before it was emptied."""


async def identify(facts: "Facts") -> bytes:
    """Return what the store is told from others by; it gets that when it is asked first."""
    return await facts.remember(IDENTITY, secrets.token_bytes(16))


class Facts(ABC):
    """Named values. One that is there stays, until it is forgotten."""

    @abstractmethod
    async def recall(self, name: str) -> bytes | None:
        """Return what is stored under `name`."""

    @abstractmethod
    async def remember(self, name: str, value: bytes) -> bytes:
        """Store `value` under `name` unless there is one already; return the stored one."""

    @abstractmethod
    async def all(self, prefix: str) -> dict[str, bytes]:
        """Return what is stored under names that begin so, by name."""

    @abstractmethod
    async def forget(self, name: str) -> bool:
        """Delete what is stored under `name`; False if there is nothing."""
