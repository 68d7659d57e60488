"""Where everything is kept: five subjects, each a protocol of its own, that every engine keeps.

Each method is one atomic step of the engine, whatever runs beside it, in this process or another. A business
outcome is a verdict that is returned (`verdicts.py`). Times are the store's clock, read once in each
operation. An engine knows no HTTP and no feature; it raises `StorageUnavailable` when it cannot say whether
it did something, and nothing else. An engine that lacks an operation cannot be made: Python names what it
lacks.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

from authserver.storage.clients import Clients
from authserver.storage.facts import Facts
from authserver.storage.grants import Grants
from authserver.storage.sign_ins import SignIns
from authserver.storage.tables import Row
from authserver.storage.users import Users


class Storage(ABC):
    """The open store. Every method, of the five subjects too, may raise `StorageUnavailable`.

    An engine that lost the connection while an operation may or may not have happened asks again only where
    the operation itself can tell (by `attempt`, `salt` or an id that is stored); else it is unavailable.
    """

    def __init__(
        self, *, facts: Facts, clients: Clients, users: Users, sign_ins: SignIns, grants: Grants
    ) -> None:
        """Take the five subjects, which share the engine's connection."""
        self.facts = facts
        self.clients = clients
        self.users = users
        self.sign_ins = sign_ins
        self.grants = grants

    @abstractmethod
    async def open(self) -> None:
        """Connect, bring the schema up to date. Called once in each process, before anything else."""

    @abstractmethod
    async def pin(self) -> None:
        """From now on answer only while the store is the one that it is now, and has a check value.

        Called once the secret key is known to be that of the store. Every operation raises StorageLost then
        where the store was emptied or replaced.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish what was begun and let go of the engine."""

    @abstractmethod
    async def ping(self) -> None:
        """Return if the engine can write now."""

    @abstractmethod
    async def now(self) -> float:
        """Return the time by the clock that decides what has expired, in seconds since 1970."""

    @abstractmethod
    async def purge(
        self,
        *,
        limit: int,
        replay_seconds: float,
        unused_seconds: float,
        idle_seconds: float | None,
    ) -> int:
        """Delete up to about `limit` records of each sort that are over; return how many.

        Clients that never redeemed a code go after `unused_seconds`, those that wait for approval too; others
        only after `idle_seconds` without a grant, where that is set. Salts go after `replay_seconds`.
        A grant that ended goes after all that hangs off it, and a client after all its grants.
        """

    @abstractmethod
    def dump(self) -> AsyncIterator[tuple[str, Row]]:
        """Return all records as they are at one moment: the name of a table of TABLES and a row of it."""

    @abstractmethod
    async def fill(self, records: AsyncIterator[tuple[str, Row]]) -> None:
        """Store all records of a dump, or none; a fact that is there already stays.

        Raises NotEmpty, and whatever `records` raises.
        """
