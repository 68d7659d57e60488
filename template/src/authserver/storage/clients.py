"""Registered clients (RFC 7591)."""

from abc import ABC, abstractmethod

from authserver.model.records import Client


class Clients(ABC):
    """The clients, and what hangs off one when it goes."""

    @abstractmethod
    async def add(self, client: Client, *, unused_limit: int, unused_age_seconds: float) -> bool:
        """Store a client; the store sets its times, the optional ones only where they are given.

        A client that is stored already stays as it is, and the answer is True.

        At `unused_limit` clients that never redeemed a code, the oldest of the address with the most of them
        makes room if it is older than `unused_age_seconds`; else nothing is stored and the answer is False.
        """

    @abstractmethod
    async def get(self, client_id: str) -> Client | None:
        """Return the client."""

    @abstractmethod
    async def all(self) -> list[Client]:
        """Return all clients, oldest first."""

    @abstractmethod
    async def approve(self, client_id: str) -> bool:
        """Let a client be used, and note that the operator knows it; False if there is none."""

    @abstractmethod
    async def remove(self, client_id: str) -> bool:
        """Remove a client with its grants, codes and tokens; False if there is none."""
