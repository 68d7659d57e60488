"""The Storage protocol: the operations that must be atomic, and their verdicts.

Each method is one atomic step of the engine, whatever runs beside it, in this process or another. A business
outcome is a verdict that is returned, never an exception: an exception would roll back the revocation that
the verdict implies. Times are the store's clock, read once in each operation. An engine knows no HTTP and no
feature; it raises `StorageUnavailable` when it cannot say whether it did something, and nothing else.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from authserver.errors import OperatorError
from authserver.model.records import (
    AccessToken,
    AuthorizationCode,
    AuthorizationRequest,
    Client,
    Credential,
    Grant,
    Invitation,
    RefreshToken,
    Revocation,
    Session,
    User,
)


class StorageUnavailable(OperatorError):
    """The engine cannot answer now. Nothing was lost; the caller may try again (HTTP 503)."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long what is issued lives, in seconds."""

    access_token_seconds: float
    refresh_token_seconds: float


@dataclass(frozen=True, slots=True)
class NewTokens:
    """Digests of the tokens to store. `access` is None where the token format stores nothing."""

    access: bytes | None
    refresh: bytes | None


@dataclass(frozen=True, slots=True)
class Issued:
    """What the issued access token says."""

    grant_id: str
    client_id: str
    subject: str
    user_name: str
    scopes: tuple[str, ...]
    resource: str
    issued_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Redeemed:
    """The code was redeemed by this attempt."""

    issued: Issued


@dataclass(frozen=True, slots=True)
class Rotated:
    """The refresh token was spent: by this call, or before (`repeated`) inside the replay window.

    `salt` is the one stored first; the answer is derived from it.
    """

    issued: Issued
    salt: bytes
    repeated: bool


@dataclass(frozen=True, slots=True)
class Replayed:
    """A spent code came again; its grant is revoked by this call."""

    grant_id: str
    subject: str


@dataclass(frozen=True, slots=True)
class Reused:
    """A refresh token came again after the replay window; its grant is revoked by this call."""

    grant_id: str
    subject: str


@dataclass(frozen=True, slots=True)
class Gone:
    """There is nothing alive to redeem: unknown, expired, revoked, or its user or client is gone."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A limit on attempts: `burst` at once, then one each `interval_seconds`, shared by all processes."""

    key: bytes
    burst: int
    interval_seconds: float


Value = str | bytes | int | float | bool | None

Row = dict[str, Value]
"""A record as a backup holds it: each column of its table."""

TABLES: Mapping[str, Mapping[str, type]] = MappingProxyType(
    {
        "facts": {"name": str, "value": bytes},
        "clients": {
            "client_id": str,
            "metadata": str,
            "secret_digest": bytes,
            "address": str,
            "created_at": float,
            "approved_at": float,
            "completed_at": float,
        },
        "users": {
            "subject": str,
            "folded_name": str,
            "name": str,
            "scopes": str,
            "created_at": float,
            "disabled_at": float,
            "disabled_by": str,
        },
        "invitations": {
            "digest": bytes,
            "subject": str,
            "folded_name": str,
            "name": str,
            "scopes": str,
            "expires_at": float,
        },
        "credentials": {"subject": str, "kind": str, "value": bytes, "counter": int},
        "sessions": {
            "digest": bytes,
            "subject": str,
            "device": str,
            "created_at": float,
            "expires_at": float,
        },
        "tickets": {"digest": bytes, "value": bytes, "expires_at": float},
        "buckets": {"key": bytes, "full_at": float},
        "authorization_requests": {
            "digest": bytes,
            "client_id": str,
            "redirect_uri": str,
            "redirect_uri_explicit": bool,
            "state": str,
            "scopes": str,
            "code_challenge": str,
            "resource": str,
            "address": str,
            "expires_at": float,
        },
        "grants": {
            "grant_id": str,
            "client_id": str,
            "subject": str,
            "scopes": str,
            "resource": str,
            "redirect_uri": str,
            "created_at": float,
            "used_at": float,
            "expires_at": float,
            "revoked_at": float,
            "access_until": float,
            "remembered_until": float,
        },
        "revocations": {"grant_id": str, "revoked_at": float, "until": float},
        "codes": {
            "digest": bytes,
            "grant_id": str,
            "redirect_uri_explicit": bool,
            "code_challenge": str,
            "expires_at": float,
            "attempt": bytes,
            "spent_at": float,
            "access_expires_at": float,
        },
        "refresh_tokens": {
            "digest": bytes,
            "grant_id": str,
            "expires_at": float,
            "salt": bytes,
            "spent_at": float,
            "access_scopes": str,
            "access_expires_at": float,
        },
        "access_tokens": {"digest": bytes, "grant_id": str, "scopes": str, "expires_at": float},
    }
)
"""What a backup holds, in the order in which it can be restored. Any column but the first may be None."""


OPERATOR = "operator"
"""Who disables and enables users, unless a login does."""


class NotEmpty(Exception):
    """A backup is restored only into a store that holds no record but facts."""


class Storage(Protocol):
    """Where everything is kept. Every method may raise `StorageUnavailable`.

    An engine that lost the connection while an operation may or may not have happened asks again only where
    the operation itself can tell (by `attempt`, `salt` or an id that is stored); else it is unavailable.
    """

    async def open(self) -> None:
        """Connect, bring the schema up to date. Called once in each process, before anything else."""

    async def close(self) -> None:
        """Finish what was begun and let go of the engine."""

    async def ping(self) -> None:
        """Return if the engine can write now."""

    async def now(self) -> float:
        """Return the time by the clock that decides what has expired, in seconds since 1970."""

    async def recall(self, name: str) -> bytes | None:
        """Return what is stored under `name`."""

    async def remember(self, name: str, value: bytes) -> bytes:
        """Store `value` under `name` unless there is one already; return the stored one."""

    async def list_facts(self, prefix: str) -> dict[str, bytes]:
        """Return what is stored under names that begin so, by name."""

    async def forget(self, name: str) -> bool:
        """Delete what is stored under `name`; False if there is nothing."""

    # clients

    async def add_client(self, client: Client, *, unused_limit: int, unused_age_seconds: float) -> bool:
        """Store a client; the store sets its times, the optional ones only where they are given.

        A client that is stored already stays as it is, and the answer is True.

        At `unused_limit` clients that never redeemed a code, the oldest of the address with the most of them
        makes room if it is older than `unused_age_seconds`; else nothing is stored and the answer is False.
        """

    async def get_client(self, client_id: str) -> Client | None:
        """Return the client."""

    async def list_clients(self) -> list[Client]:
        """Return all clients, oldest first."""

    async def approve_client(self, client_id: str) -> bool:
        """Let a waiting client be used; False if there is none."""

    async def remove_client(self, client_id: str) -> bool:
        """Remove a client with its grants, codes and tokens; False if there is none."""

    # users

    async def get_user(self, name: str) -> User | None:
        """Return the user of that name, in whatever case it is written."""

    async def get_user_by_subject(self, subject: str) -> User | None:
        """Return the user with that subject."""

    async def list_users(self) -> list[User]:
        """Return all users, oldest first."""

    async def add_user(self, name: str, *, scopes: Sequence[str] | None) -> User:
        """Return the user of that name; where there is none, make one that may grant `scopes`.

        For accounts that are kept elsewhere, such as in a directory.
        """

    async def rename_user(self, name: str, new_name: str) -> bool:
        """Call a user otherwise; False if there is no such user, or another one has the new name."""

    async def set_user_scopes(self, name: str, scopes: Sequence[str] | None) -> bool:
        """Set what the user may grant (None: the default scopes); False if there is no such user."""

    async def disable_user(self, name: str, *, by: str = OPERATOR) -> bool:
        """Disable a user, end their sessions, revoke their grants; False if there is no such user.

        Who is disabled already stays as they are, but an operator's word stands over that of others.
        """

    async def enable_user(self, name: str, *, by: str = OPERATOR) -> bool:
        """Let a disabled user sign in again; False if there is no such user.

        Others than an operator only undo what they did themselves: False where somebody else did it.
        """

    async def delete_user(self, name: str) -> bool:
        """Delete a user with all that is theirs; False if there is no such user."""

    async def add_invitation(
        self,
        digest: bytes,
        name: str | None,
        *,
        scopes: Sequence[str] | None,
        lifetime_seconds: float,
    ) -> bool:
        """Store a one-time link, in place of an older one for the same name.

        `scopes` is what a new account may grant. Without a name it is good for the first account only:
        False if there is an account already.
        """

    async def get_invitation(self, digest: bytes) -> Invitation | None:
        """Return what the link is good for, without consuming it."""

    async def claim_invitation(
        self, digest: bytes, *, name: str, credential: tuple[str, bytes] | None
    ) -> User | None:
        """Consume the link: create the account or recover it, and set its credential (kind and value).

        `name` is used for the first account. Recovery ends the account's sessions.
        None: the link is gone, or its user is disabled.
        """

    # what logins need

    async def get_credential(self, subject: str, kind: str) -> Credential | None:
        """Return the user's credential of that kind."""

    async def put_credential(self, subject: str, kind: str, value: bytes, *, counter: int) -> bool:
        """Replace the credential if its counter is still `counter` (0: there is none)."""

    async def list_credentials(self, subject: str) -> dict[str, Credential]:
        """Return all credentials of the user, by kind."""

    async def delete_credential(self, subject: str, kind: str, *, beside: str | None = None) -> bool:
        """Delete the user's credential of that kind; False if there is none.

        With `beside`, only where the user has another one whose kind begins so: else False.
        """

    async def add_ticket(self, digest: bytes, value: bytes, *, lifetime_seconds: float) -> None:
        """Store something that can be taken once."""

    async def take_ticket(self, digest: bytes) -> bytes | None:
        """Consume a ticket; return its value, None where it is gone."""

    async def take_attempt(self, buckets: Sequence[Bucket]) -> float:
        """Count an attempt in all buckets, or in none; return the seconds to wait (0: go on)."""

    async def return_attempt(self, buckets: Sequence[Bucket]) -> None:
        """Take back one attempt from each bucket: it succeeded."""

    async def add_session(self, digest: bytes, subject: str, *, device: str, lifetime_seconds: float) -> None:
        """Store a session."""

    async def get_session(self, digest: bytes) -> Session | None:
        """Return the session if it and its user are alive."""

    async def end_session(self, digest: bytes) -> None:
        """End the session."""

    async def list_sessions(self, subject: str) -> list[Session]:
        """Return the living sessions of the user, oldest first."""

    async def end_sessions(self, subject: str, *, keep: bytes | None = None) -> None:
        """End all sessions of the user, but the one with the digest `keep`."""

    # authorization requests, grants, tokens

    async def add_authorization_request(
        self,
        digest: bytes,
        request: AuthorizationRequest,
        *,
        lifetime_seconds: float,
        limit: int,
    ) -> bool:
        """Store a request; False if its address has `limit` waiting already."""

    async def get_authorization_request(self, digest: bytes) -> AuthorizationRequest | None:
        """Return the request, without consuming it."""

    async def take_authorization_request(self, digest: bytes) -> AuthorizationRequest | None:
        """Consume the request: the user refused."""

    async def create_grant(
        self,
        request: bytes,
        *,
        subject: str,
        scopes: Sequence[str],
        grant_seconds: float,
        code: bytes,
        code_seconds: float,
        remember_seconds: float = 0,
    ) -> AuthorizationRequest | None:
        """Consume the request and store a grant and its code; None if request, user or client is gone."""

    async def recall_consent(self, request: AuthorizationRequest, *, subject: str) -> bool:
        """Say whether the user allowed this before and let it be remembered.

        There is a living grant to the same client, redirect URI and resource for at least these scopes, and
        its `remember_seconds` have not passed.
        """

    async def get_code(self, digest: bytes) -> AuthorizationCode | None:
        """Return the code, spent or not, until its original expiry."""

    async def redeem_code(
        self, digest: bytes, *, attempt: bytes, tokens: NewTokens, lifetimes: Lifetimes
    ) -> Redeemed | Replayed | Gone:
        """Spend the code and store the tokens.

        The same `attempt` again is told that it had won; any other finds the code spent, and its grant is
        revoked (RFC 9700 section 2.1.1).
        """

    async def get_refresh_token(self, digest: bytes) -> RefreshToken | None:
        """Return the refresh token, spent or not, until its original expiry."""

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

    async def add_access_token(
        self, digest: bytes, *, grant_id: str, scopes: Sequence[str], expires_at: float
    ) -> None:
        """Store one more access token of a grant; nothing happens if it is there already."""

    async def get_access_token(self, digest: bytes) -> AccessToken | None:
        """Return the access token if it, its grant, its user and its client are alive."""

    async def list_grants(self, subject: str | None = None) -> list[Grant]:
        """Return all grants that are alive, or those of a user, oldest first."""

    async def revoke_grant(self, grant_id: str) -> bool:
        """Revoke a grant with all its tokens; False if there was none alive."""

    async def list_revocations(self, within_seconds: float | None) -> list[Revocation]:
        """Return the grants that ended before their access tokens did, in that time (None: ever).

        However they ended: revoked, reused, replayed, their user disabled or deleted, their client removed.
        For token formats that are checked without the storage.
        """

    async def purge(
        self,
        *,
        limit: int,
        replay_seconds: float,
        unused_seconds: float,
        idle_seconds: float | None,
    ) -> int:
        """Delete up to about `limit` expired records of each sort; return how many.

        Clients that never redeemed a code go after `unused_seconds`, except those that wait for approval;
        others only after `idle_seconds` without a grant, where that is set. Salts go after `replay_seconds`.
        """

    # backup

    def dump(self) -> AsyncIterator[tuple[str, Row]]:
        """Return all records as they are at one moment: the name of a table of TABLES and a row of it."""

    async def fill(self, records: AsyncIterator[tuple[str, Row]]) -> None:
        """Store all records of a dump, or none; a fact that is there already stays.

        Raises NotEmpty, and whatever `records` raises.
        """
