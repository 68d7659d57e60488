"""What is stored.

Times are seconds since the epoch (UTC) on the store's clock; lifetimes are seconds. A digest is the SHA-256
of a secret value with a label for its kind (`secret_values.digest`): no secret value is ever stored.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client (RFC 7591). `metadata` is what it was told it registered, without the secret."""

    client_id: str
    metadata: dict[str, Any]
    secret_digest: bytes | None
    address: str
    created_at: float
    approved_at: float | None
    completed_at: float | None

    @property
    def vouched_for(self) -> bool:
        """Whether an operator added or approved it.

        One that registers where all may is approved in the same moment, but not used yet.
        """
        if self.approved_at is None:
            return False
        return self.approved_at != self.created_at or self.completed_at == self.created_at


@dataclass(frozen=True, slots=True)
class User:
    """A person with an account. `scopes` is what they may grant: None for the default scopes.

    `disabled_by` is "operator" or whatever else keeps accounts, such as a directory. `epoch` is a number that
    grows with each new, changed or removed credential, each recovery, sign-out everywhere and disabling: what
    was begun under a lower one opens nothing.
    """

    subject: str
    name: str
    scopes: tuple[str, ...] | None
    created_at: float
    disabled_at: float | None
    disabled_by: str | None
    epoch: int


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A validated authorization request (RFC 6749 section 4.1.1) that waits for sign-in and consent."""

    client_id: str
    redirect_uri: str
    redirect_uri_explicit: bool
    state: str | None
    scopes: tuple[str, ...]
    code_challenge: str
    resource: str
    address: str


@dataclass(frozen=True, slots=True)
class Grant:
    """One user's consent to one client for scopes and a resource. Codes and tokens hang off it."""

    grant_id: str
    client_id: str
    subject: str
    user_name: str
    scopes: tuple[str, ...]
    resource: str
    redirect_uri: str
    created_at: float
    used_at: float
    expires_at: float
    revoked_at: float | None


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """An authorization code, spent or not, until its original expiry."""

    grant_id: str
    client_id: str
    subject: str
    scopes: tuple[str, ...]
    resource: str
    redirect_uri: str
    redirect_uri_explicit: bool
    code_challenge: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token, spent or not, until its original expiry. `entitlement` is the user's `scopes`."""

    grant_id: str
    client_id: str
    subject: str
    scopes: tuple[str, ...]
    entitlement: tuple[str, ...] | None
    resource: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A living access token: its grant, user and client are alive too."""

    grant_id: str
    client_id: str
    subject: str
    user_name: str
    scopes: tuple[str, ...]
    entitlement: tuple[str, ...] | None
    resource: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Revocation:
    """A grant that ended before its access tokens did; `until` is when the last of them runs out."""

    grant_id: str
    until: float


@dataclass(frozen=True, slots=True)
class Session:
    """A browser in which a user is signed in. `device` is what it says of itself; `epoch` is the user's."""

    digest: bytes
    device: str
    subject: str
    user_name: str
    entitlement: tuple[str, ...] | None
    epoch: int
    created_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Credential:
    """What a login keeps of a user: a sealed value, and a counter that moves with each change."""

    value: bytes
    counter: int


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a one-time link is good for: an account of that name, or (None) the first account.

    `subject` is that of the account, which may not be there yet.
    """

    name: str | None
    subject: str
