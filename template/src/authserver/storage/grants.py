"""The life of a grant: the request, the consent, the code, the tokens, the end (RFC 6749, RFC 9700)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from authserver.model.records import (
    AccessToken,
    AuthorizationCode,
    AuthorizationRequest,
    Grant,
    RefreshToken,
    Revocation,
)
from authserver.storage.sign_ins import Bucket
from authserver.storage.verdicts import (
    Gone,
    Lifetimes,
    Limited,
    NewTokens,
    Redeemed,
    Replayed,
    Reused,
    Rotated,
)


@dataclass(frozen=True, slots=True)
class Rotation:
    """What follows a refresh token, if it is not spent yet."""

    scopes: Sequence[str]
    salt: bytes = field(repr=False)
    tokens: NewTokens
    lifetimes: Lifetimes

    replay_seconds: float
    """How long after the first use the same answer is given again."""

    bucket: Bucket | None
    """What limits how often the grant is refreshed; None: nothing does."""

    kept: int
    """Of the spent tokens of the grant, so many stay beside those of the replay window: the last."""


class Grants(ABC):
    """Authorization requests, grants, and what hangs off a grant: codes, tokens, its revocation."""

    @abstractmethod
    async def add_request(
        self,
        digest: bytes,
        request: AuthorizationRequest,
        *,
        lifetime_seconds: float,
        limit: int,
    ) -> bool:
        """Store a request; False if its client is gone.

        If its address has `limit` waiting already, the youngest of the client that has the most of them there
        makes room (the new one counts).
        """

    @abstractmethod
    async def get_request(self, digest: bytes) -> AuthorizationRequest | None:
        """Return the request, without consuming it."""

    @abstractmethod
    async def take_request(self, digest: bytes) -> AuthorizationRequest | None:
        """Consume the request: the user refused."""

    @abstractmethod
    async def create(
        self,
        request: bytes,
        *,
        session: bytes,
        scopes: Sequence[str],
        grant_seconds: float,
        code: bytes,
        code_seconds: float,
        remember_seconds: float = 0,
    ) -> AuthorizationRequest | None:
        """Consume the request and store a grant of the session's user, and its code.

        None: request or client is gone, or the session is not alive, as `SignIns.get_session` judges it.
        """

    @abstractmethod
    async def recall_consent(self, request: AuthorizationRequest, *, subject: str) -> bool:
        """Say whether the user allowed this before and let it be remembered.

        There is a living grant to the same client, redirect URI and resource for at least these scopes, and
        its `remember_seconds` have not passed.
        """

    @abstractmethod
    async def get_code(self, digest: bytes) -> AuthorizationCode | None:
        """Return the code, spent or not, until its original expiry."""

    @abstractmethod
    async def redeem_code(
        self, digest: bytes, *, attempt: bytes, tokens: NewTokens, lifetimes: Lifetimes
    ) -> Redeemed | Replayed | Gone:
        """Spend the code and store the tokens.

        The same `attempt` again is told that it had won; any other finds the code spent, and its grant is
        revoked (RFC 9700 section 2.1.1).
        """

    @abstractmethod
    async def get_refresh_token(self, digest: bytes) -> RefreshToken | None:
        """Return the refresh token, spent or not, until its original expiry, unless it is forgotten."""

    @abstractmethod
    async def get_forgotten(self, grant_id: str) -> RefreshToken | None:
        """Return what a spent refresh token of that grant was, whose digest is not kept any more.

        None unless the grant is alive and has another refresh token, which is not spent: the tokens of a
        grant are a chain with one end, so whatever else was issued for it was spent.
        """

    @abstractmethod
    async def revoke_forgotten(self, digest: bytes, grant_id: str) -> bool:
        """Revoke a grant since a spent refresh token of it came again, of which nothing is stored any more.

        False, and nothing happens, if it is stored, or if `get_forgotten` finds nothing: the caller may have
        looked into a copy of the storage that lags behind.
        """

    @abstractmethod
    async def rotate_refresh_token(
        self, digest: bytes, rotation: Rotation
    ) -> Rotated | Reused | Limited | Gone:
        """Spend the refresh token with a salt, store its successors, count that in the grant's bucket.

        Spent with the same salt: the answer is the same. Spent inside the replay window: nothing is stored or
        counted, and the first salt is returned. Spent earlier: the grant is revoked (RFC 9700 section
        4.14.2).
        """

    @abstractmethod
    async def add_access_token(
        self, digest: bytes, *, grant_id: str, scopes: Sequence[str], expires_at: float
    ) -> None:
        """Store one more access token of a grant; nothing happens if it is there already."""

    @abstractmethod
    async def get_access_token(self, digest: bytes) -> AccessToken | None:
        """Return the access token if it, its grant, its user and its client are alive."""

    @abstractmethod
    async def all(self, subject: str | None = None) -> list[Grant]:
        """Return all grants that are alive, or those of a user, oldest first."""

    @abstractmethod
    async def revoke(self, grant_id: str) -> bool:
        """Revoke a grant with all its tokens; False if there was none alive."""

    @abstractmethod
    async def list_revocations(self, since: float | None) -> tuple[float, list[Revocation]]:
        """Return the store's time, and the grants that ended before their access tokens did.

        Those that ended since a point in the store's time, in seconds since 1970 (None: ever). Whoever asks
        again from a point that the store told misses nothing, however long their own clocks stood still.

        However they ended: revoked, reused, replayed, their user disabled or deleted, their client removed.
        For token formats that are checked without the storage.
        """
