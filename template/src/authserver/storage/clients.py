"""Registered clients (RFC 7591)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from authserver.model.records import Client


@dataclass(frozen=True, slots=True)
class Share:
    """How many unused clients may come from places that begin with these digits: '' is everywhere."""

    digits: str
    most: int


class Clients(ABC):
    """The clients, and what hangs off one when it goes."""

    @abstractmethod
    async def add(self, client: Client, *, place: str, shares: Sequence[Share]) -> None:
        """Store a client; the store sets its times, the optional ones only where they are given.

        A client that is stored already stays as it is.

        One that never redeemed a code counts in `shares`, the narrowest first. The first share that is used
        up loses one for it: of its heaviest network (`requests.networks.WIDTHS`; the new client counts), in
        that of the heaviest narrower one, and there the youngest. Where no network has more than one, the one
        goes that has had its place for longest. Who takes a place in its own network takes its age too: else
        whoever registers again and again would always be young.
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
        """Remove a client with its grants, codes and tokens; False if there is none.

        Its grants end first, all at once. What hangs off them goes in batches, so that nobody waits for it.
        """
