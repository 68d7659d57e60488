"""What signing in needs: credentials, tickets to take once, limits on attempts, sessions of browsers."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from authserver.model.records import Credential, Session


@dataclass(frozen=True, slots=True)
class Bucket:
    """A limit on attempts: `burst` at once, then one each `interval_seconds`, shared by all processes."""

    key: bytes
    burst: int
    interval_seconds: float


class SignIns(ABC):
    """What logins keep, and who is signed in where."""

    @abstractmethod
    async def get_credential(self, subject: str, kind: str) -> Credential | None:
        """Return the user's credential of that kind."""

    @abstractmethod
    async def put_credential(self, subject: str, kind: str, value: bytes, *, counter: int) -> bool:
        """Replace the credential if its counter is still `counter` (0: there is none).

        For what is kept of its use; a credential that is another one now goes through `Users.end_access`.
        """

    @abstractmethod
    async def list_credentials(self, subject: str) -> dict[str, Credential]:
        """Return all credentials of the user, by kind."""

    @abstractmethod
    async def add_ticket(self, digest: bytes, value: bytes, *, lifetime_seconds: float) -> None:
        """Store something that can be taken once."""

    @abstractmethod
    async def take_ticket(self, digest: bytes) -> bytes | None:
        """Consume a ticket; return its value, None where it is gone."""

    @abstractmethod
    async def take_attempt(self, buckets: Sequence[Bucket]) -> float:
        """Count an attempt in all buckets, or in none; return the seconds to wait (0: go on)."""

    @abstractmethod
    async def used_buckets(self, keys: Collection[bytes]) -> set[bytes]:
        """Return the keys of those buckets that are not full (again): an attempt counts there."""

    @abstractmethod
    async def return_attempt(self, buckets: Sequence[Bucket]) -> None:
        """Take back one attempt from each bucket: it succeeded."""

    @abstractmethod
    async def add_session(
        self, digest: bytes, subject: str, *, epoch: int, device: str, lifetime_seconds: float, limit: int
    ) -> bool:
        """Store a session, and end the oldest of the user's beyond `limit`.

        False: there is no such user, they are disabled, or their epoch, read before whatever they showed was
        looked at, has moved.
        """

    @abstractmethod
    async def get_session(self, digest: bytes) -> Session | None:
        """Return the session if it and its user are alive, and their epoch is the same."""

    @abstractmethod
    async def end_session(self, digest: bytes) -> None:
        """End the session."""

    @abstractmethod
    async def list_sessions(self, subject: str) -> list[Session]:
        """Return the living sessions of the user, oldest first."""
