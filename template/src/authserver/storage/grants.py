"""The life of a grant: the request, the consent, the code, the tokens, the end (RFC 6749, RFC 9700)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from authserver.model.records import (
    AccessToken,
    AuthorizationCode,
    AuthorizationRequest,
    Grant,
    RefreshToken,
    Revocation,
)
from authserver.storage.verdicts import Gone, Lifetimes, NewTokens, Redeemed, Replayed, Reused, Rotated


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
        """Store a request; False if its address has `limit` waiting already."""

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
        """Return the refresh token, spent or not, until its original expiry."""

    @abstractmethod
    async def rotate_refresh_token(
        self,
        digest: bytes,
        *,
        scopes: Sequence[str],
        salt: bytes,
        replay_seconds: float,
        tokens: NewTokens,
        lifetimes: Lifetimes,
    ) -> Rotated | Reused | Gone:
        """Spend the refresh token with `salt` and store its successors.

        Spent with the same `salt`: the answer is the same. Spent no longer than `replay_seconds` ago: nothing
        is stored, and the first salt is returned. Spent earlier: the grant is revoked (RFC 9700 section
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
    async def list_revocations(self, within_seconds: float | None) -> list[Revocation]:
        """Return the grants that ended before their access tokens did, in that time (None: ever).

        However they ended: revoked, reused, replayed, their user disabled or deleted, their client removed.
        For token formats that are checked without the storage.
        """
