"""People with an account, and the one-time links that make or recover one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from authserver.model.records import Invitation, User

OPERATOR = "operator"
"""Who disables and enables users, unless a login does."""


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential to store in place of the one whose counter is `counter` (0: there is none)."""

    kind: str
    value: bytes = field(repr=False)
    counter: int


@dataclass(frozen=True, slots=True)
class Ending:
    """How access to an account ends: on which conditions, and what changes in the same step."""

    epoch: int | None = None
    """Only if this is the user's epoch."""

    session: bytes | None = None
    """The digest of the session in whose name this is done: only if it is alive."""

    keep: bool = False
    """That session goes on."""

    put: NewCredential | None = None
    """Stored, only if the credential before it has the counter that it names."""

    delete: Sequence[str] = ()
    """The kinds of credentials that are deleted. One with a colon at its end stands for all that begin so."""

    beside: str | None = None
    """Only if one is deleted, and beside each another credential is left whose kind begins so."""

    grants: bool = False
    """All grants are revoked, too."""


class Users(ABC):
    """The accounts. Names are the same in whatever case they are written."""

    @abstractmethod
    async def get(self, name: str) -> User | None:
        """Return the user of that name, in whatever case it is written."""

    @abstractmethod
    async def get_by_subject(self, subject: str) -> User | None:
        """Return the user with that subject."""

    @abstractmethod
    async def all(self) -> list[User]:
        """Return all users, oldest first."""

    @abstractmethod
    async def add(self, name: str, *, scopes: Sequence[str] | None) -> User:
        """Return the user of that name; where there is none, make one that may grant `scopes`.

        For accounts that are kept elsewhere, such as in a directory.
        """

    @abstractmethod
    async def rename(self, name: str, new_name: str) -> bool:
        """Call a user otherwise; False if there is no such user, or another one has the new name."""

    @abstractmethod
    async def set_scopes(self, name: str, scopes: Sequence[str] | None) -> bool:
        """Set what the user may grant (None: the default scopes); False if there is no such user."""

    @abstractmethod
    async def disable(self, name: str, *, by: str = OPERATOR) -> bool:
        """Disable a user, move their epoch, end their sessions and one-time links, revoke their grants.

        Returns False if there is no such user.

        Who is disabled already stays as they are, but an operator's word stands over that of others.
        """

    @abstractmethod
    async def enable(self, name: str, *, by: str = OPERATOR) -> bool:
        """Let a disabled user sign in again; False if there is no such user.

        Others than an operator only undo what they did themselves: False where somebody else did it.
        """

    @abstractmethod
    async def delete(self, name: str) -> bool:
        """Delete a user with all that is theirs; False if there is no such user.

        The user is disabled first. What hangs off their grants goes in batches, so that nobody waits for it.
        """

    @abstractmethod
    async def end_access(self, subject: str, ending: Ending) -> int | None:
        """Move the user's epoch, and with it end whatever was begun before; return the new epoch.

        Ended are sessions and one-time links; half sign-ins, consent forms and known devices end by what they
        carry. None, and nothing is done: there is no such user, or `ending` sets a condition that is not met.
        """

    @abstractmethod
    async def add_invitation(
        self,
        digest: bytes,
        name: str | None,
        *,
        scopes: Sequence[str] | None,
        lifetime_seconds: float,
    ) -> bool:
        """Store a one-time link, in place of an older one for the same name.

        `scopes` is what the account may grant if it is the first one: whoever comes later may grant the
        default scopes. Without a name the link is good for the first account only: False if there is one.
        """

    @abstractmethod
    async def get_invitation(self, digest: bytes) -> Invitation | None:
        """Return what the link is good for, without consuming it."""

    @abstractmethod
    async def claim_invitation(
        self, digest: bytes, *, name: str, credential: tuple[str, bytes] | None, grants: bool = False
    ) -> User | None:
        """Consume the link: create the account or recover it, and set its credential (kind and value).

        `name` is used for the first account. Recovery ends the account's access, as `end_access` does.
        None: the link is gone, or its user is disabled.
        """
