"""The audit trail: one structured log line for each event of consequence.

Who (subject, client), what, from where; never a code, token, secret or link. From where stands in every line:
an `address`, and for commands the `operator`, as the machine knows them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum

import structlog

_log = structlog.get_logger("authserver.audit")
_origin: ContextVar[dict[str, str] | None] = ContextVar("origin", default=None)


class Event(StrEnum):
    """What is written down: when, and with which facts. The names are an interface, and do not change."""

    # clients

    CLIENT_REGISTERED = "client registered"
    """An app registered itself, or the operator added it. Facts: client."""

    CLIENT_APPROVED = "client approved"
    """The operator lets an app be used that registered itself. Facts: client."""

    CLIENT_REMOVED = "client removed"
    """By the operator, with all that it was allowed. Facts: client."""

    REDIRECT_URIS_DROPPED = "redirect URIs dropped"
    """It was registered without those of its redirect URIs that are unsafe. Facts: client, count."""

    # sign-in

    SIGNED_IN = "signed in"
    """Somebody has shown all that is asked for, and has a session now. Facts: subject."""

    SIGNED_IN_WITHOUT_THE_PROXY = "signed in without the proxy"
    """Somebody used an operator's link; no proxy confirmed who it was. Facts: subject, invitation."""

    SIGN_IN_FAILED = "sign-in failed"
    """It was not right, or could not be checked; at a change of the password, too. Facts: reason."""

    SIGN_IN_SLOWED = "sign-in slowed"
    """It was not looked at: too many attempts for this account or from this address."""

    SIGN_IN_REFUSED_DISABLED = "sign-in refused: disabled"
    """The proxy named somebody whose account is disabled. Facts: subject."""

    SECOND_FACTOR_FAILED = "second factor failed"
    """The password was right, the code was not, or was used before. Facts: subject."""

    RECOVERY_CODE_USED = "recovery code used"
    """It stood in for the second factor, and is gone. Facts: subject."""

    PASSKEY_COUNTER_WENT_BACK = "passkey counter went back"
    """It was refused, since there may be a copy: the passkey stays on one device.
    Facts: subject, credential.
    """

    PASSKEY_COUNTER_IGNORED = "passkey counter ignored"
    """It did not grow, and was accepted: the passkey is on several devices, which count by themselves.
    Facts: subject, credential.
    """

    PASSKEY_FLAGS_CHANGED = "passkey flags changed"
    """It was refused: whether it may be on several devices is decided when it is made.
    Facts: subject, credential.
    """

    SESSIONS_ENDED = "sessions ended"
    """Somebody signed out another device, all others, or everywhere; or the operator did. Facts: subject."""

    ACCOUNT_SECURED = "account secured"
    """Its owner or an operator ended sessions, sign-ins, links, known devices and grants. Facts: subject."""

    # accounts

    LINK_MADE = "link made"
    """The operator asked for a one-time link; without subject, for a new account.
    Facts: invitation, subject.
    """

    ACCOUNT_CLAIMED = "account claimed"
    """Somebody used a one-time link: the account is new, or has a new password or passkey.
    Facts: subject, invitation.
    """

    SCOPES_SET = "scopes set"
    """The operator said what an account may grant; without scope, the default ones. Facts: subject, scope."""

    ACCOUNT_DISABLED = "account disabled"
    """By the operator: its sessions and grants ended. Facts: subject."""

    ACCOUNT_ENABLED = "account enabled"
    """By the operator, whoever had disabled it. Facts: subject."""

    ACCOUNT_DELETED = "account deleted"
    """By the operator, with its sessions and grants. Facts: subject."""

    CREDENTIAL_REMOVED = "credential removed"
    """By the operator: a password, passkey or second factor. All sessions ended.
    Facts: subject, credential.
    """

    ACCOUNT_MADE = "account made"
    """Somebody of the directory signed in for the first time. Facts: subject."""

    ACCOUNT_DISABLED_BY_THE_DIRECTORY = "account disabled by the directory"
    """Its entry is gone, disabled or expired, or the filter does not find it any more. Facts: subject."""

    ACCOUNT_ENABLED_BY_THE_DIRECTORY = "account enabled by the directory"
    """Its entry, which had disabled it, is active again. Facts: subject."""

    PASSWORD_CHANGED = "password changed"  # noqa: S105  # its name
    """By its owner, who knew the one before; all sessions end. Facts: subject."""

    PASSKEY_ADDED = "passkey added"
    """By its owner, to those of the account. Facts: subject."""

    PASSKEY_REMOVED = "passkey removed"
    """By its owner; another one is left. Facts: subject."""

    SECOND_FACTOR_SET_UP = "second factor set up"
    """An authenticator app is needed from now on. Facts: subject."""

    SECOND_FACTOR_REMOVED = "second factor removed"
    """By its owner: the password is enough again. Facts: subject."""

    RECOVERY_CODES_RENEWED = "recovery codes renewed"
    """By their owner; those before are good no more. Facts: subject."""

    # grants and tokens

    CONSENT_GIVEN = "consent given"
    """Somebody allowed an app these scopes: there is a grant, and a code. Facts: client, subject, scope."""

    CONSENT_REMEMBERED = "consent remembered"
    """So again, without being asked: it was remembered. Facts: client, subject, scope."""

    CONSENT_REFUSED = "consent refused"
    """Somebody did not allow an app what it asked for. Facts: client, subject."""

    CODE_REDEEMED = "code redeemed"
    """The app got its first tokens. Facts: client, subject."""

    CODE_REPLAYED = "code replayed"
    """A code came again, with all that belongs to it: its grant ends. Facts: client, subject, grant."""

    CODE_OF_ANOTHER_CLIENT = "code of another client"
    """A client showed the code of another one, and got nothing. Facts: client, owner."""

    REFRESH_TOKEN_REUSED = "refresh token reused"  # noqa: S105  # its name
    """A spent one came again, too late for a lost answer: its grant ends. Facts: client, subject, grant."""

    REFRESH_TOKEN_OF_ANOTHER_CLIENT = "refresh token of another client"  # noqa: S105  # its name
    """A client showed the refresh token of another one, and got nothing. Facts: client, owner."""

    GRANT_REVOKED = "grant revoked"
    """The app gave back a token, and so all of the grant; or the operator revoked it.
    Facts: client, subject, grant.
    """

    APP_DISCONNECTED = "app disconnected"
    """Somebody took back what an app was allowed; without client, what all were. Facts: client, subject."""

    # keys

    SIGNING_KEY_MADE = "signing key made"
    """The operator asked for the next one. Facts: kid."""

    SIGNING_KEY_DELETED = "signing key deleted"
    """The last token that it signed has run out, or the operator wanted it gone at once. Facts: kid."""

    SECRETS_SEALED_AGAIN = "secrets sealed again"
    """By the operator: what the previous secret key had sealed. Facts: count."""

    # the store

    EXPIRED_DELETED = "expired records deleted"
    """The operator asked for it; what the server does by itself is not written. Facts: count."""

    BACKUP_WRITTEN = "backup written"
    """The operator has all that is stored in a file. Facts: count."""

    BACKUP_RESTORED = "backup restored"
    """The operator filled an empty store. Facts: count."""


@contextmanager
def coming_from(**facts: str) -> Iterator[None]:
    """Let every event in here say where it comes from; what the server does by itself says `server`."""
    token = _origin.set(facts)
    try:
        yield
    finally:
        _origin.reset(token)


def audit(event: Event, **facts: str | int | None) -> None:
    """Record `event` with where it comes from and its facts, those that are None left out."""
    told = {name: value for name, value in facts.items() if value is not None}
    _log.info(event.value, **(_origin.get() or {"address": "server"}), **told)
