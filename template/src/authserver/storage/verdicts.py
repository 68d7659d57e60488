"""What an atomic operation answers: a business outcome is a value, never an exception.

An exception would roll back the revocation that the verdict implies.
"""

from dataclasses import dataclass


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
class Limited:
    """The grant was refreshed too often. Nothing changed: the token is good again in `wait_seconds`."""

    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Gone:
    """There is nothing alive to redeem: unknown, expired, revoked, or its user or client is gone."""
