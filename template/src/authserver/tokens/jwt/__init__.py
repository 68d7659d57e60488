"""JWT access tokens (RFC 9068): signed, checked without the storage, and revoked within two seconds."""

import shlex
import shutil
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from authserver import clock
from authserver.findings import Finding, judged, note, unsafe
from authserver.private_files import open_to_all, open_to_others
from authserver.settings import MAXIMUM_SECONDS, CoreSettings, ProjectPath, SettingsError, split
from authserver.tokens.jwt.access_tokens import JWTAccessTokens
from authserver.tokens.jwt.given_keys import GivenKeys
from authserver.tokens.jwt.stored_keys import StoredKeys

_LONG_SECONDS = 3600
_OLD_DAYS = 366


class Settings(CoreSettings):
    """Which keys sign: those that the server makes and keeps, or those that the operator gives."""

    token_algorithm: Literal["ES256", "Ed25519", "RS256"] = Field(default="ES256", examples=["ES256"])
    """Which keys the server makes to sign access tokens: ES256, Ed25519 or RS256. A change takes effect with
    the next `keys rotate`.
    """

    # Less would be shorter than nodes take to hear of a key.
    signing_key_lead_seconds: int = Field(default=600, ge=5, le=MAXIMUM_SECONDS, examples=["600"])
    """For how long a new key is published before it signs: others may keep the list of keys half as long."""

    signing_key_file: ProjectPath | None = Field(default=None, examples=["/run/secrets/signing_key.pem"])
    """A key of your own instead, as a PEM file (EC P-256, Ed25519 or RSA): the private key that signs."""

    signing_key_command: str | None = Field(default=None, examples=["/usr/local/bin/sign-with-hsm"])
    """A command that signs in its place, such as the tool of an HSM or a KMS: it gets the message on standard
    input and writes the bare signature (ES256: DER). The file above then holds the public key.
    """

    published_key_files: Annotated[tuple[ProjectPath, ...], NoDecode] = Field(
        default=(), examples=["/etc/my-server/next.pem,/etc/my-server/last.pem"]
    )
    """To change a key of your own, publish the next public key, and later the last one: PEM files, separated
    by commas.
    """

    @field_validator("published_key_files", mode="before")
    @classmethod
    def _files(cls, value: Any) -> Any:
        return tuple(split(value))

    @field_validator("signing_key_command")
    @classmethod
    def _command(cls, value: str | None) -> str | None:
        shlex.split(value or "")  # ValueError for quotes that nobody closes
        return value

    @model_validator(mode="after")
    def _keys_together(self) -> "Settings":
        for name in ("signing_key_command", "published_key_files"):
            if getattr(self, name) and self.signing_key_file is None:
                raise ValueError(
                    f"AUTH_SIGNING_KEY_FILE: AUTH_{name.upper()} needs it."
                    " Example: AUTH_SIGNING_KEY_FILE=/run/secrets/signing_key.pem"
                )
        return self


def checks(settings: Settings) -> Iterator[Finding]:
    """Judge who can read the key, and how long other services accept a token that was revoked."""
    return judged(RULES, settings)


def open_signing_key(settings: Settings) -> Iterator[Finding]:
    """Find that other users of the machine can read the key that signs.

    Source: CWE-732.
    """
    key = settings.signing_key_file
    if key is not None and settings.signing_key_command is None and open_to_others(key):
        judge = unsafe if open_to_all(key) else note
        yield judge("AUTH_SIGNING_KEY_FILE", f"others can read {key}", f"chmod 600 {key}")


def old_key_of_your_own(settings: Settings) -> Iterator[Finding]:
    """Find that the file with the key that signs was written a year ago or more.

    Source: NIST SP 800-57 part 1, section 5.3.6.
    """
    key = settings.signing_key_file
    if key is not None and (days := (clock.now() - key.stat().st_mtime) / 86_400) > _OLD_DAYS:
        yield note(
            "AUTH_SIGNING_KEY_FILE",
            f"{key} was written {days:.0f} days ago",
            "Publish the next one by AUTH_PUBLISHED_KEY_FILES, then set it",
        )


def revoked_elsewhere_later(settings: Settings) -> Iterator[Finding]:
    """Find that services that ask nobody take a revoked token for more than an hour.

    Source: RFC 9700 section 4.10, RFC 9068 section 7.
    """
    if settings.access_token_seconds > _LONG_SECONDS:
        yield note(
            "AUTH_ACCESS_TOKEN_SECONDS",
            "services that verify tokens by themselves take a revoked one as long as it lasts",
            "Set an hour or less, or let them ask /introspect",
        )


RULES = (open_signing_key, old_key_of_your_own, revoked_elsewhere_later)


def create(settings: Settings) -> JWTAccessTokens:
    """Return the format; raises SettingsError for keys that cannot be used."""
    keys = (
        StoredKeys(
            algorithm=settings.token_algorithm,
            lead_seconds=settings.signing_key_lead_seconds,
            token_seconds=settings.access_token_seconds,
        )
        if settings.signing_key_file is None
        else GivenKeys(settings.signing_key_file, settings.signing_key_command, settings.published_key_files)
    )
    command = shlex.split(settings.signing_key_command or "")
    if command and shutil.which(command[0]) is None:
        raise SettingsError(
            "AUTH_SIGNING_KEY_COMMAND: there is no such program, or it may not be run."
            " Example: AUTH_SIGNING_KEY_COMMAND=/usr/local/bin/sign-with-hsm"
        )
    signing = "token_algorithm" in settings.model_fields_set and settings.signing_key_file is not None
    if signing and keys.signer.algorithm != settings.token_algorithm:
        raise SettingsError(
            f"AUTH_TOKEN_ALGORITHM: the key of AUTH_SIGNING_KEY_FILE signs by {keys.signer.algorithm}, and"
            f" decides. Example: AUTH_TOKEN_ALGORITHM={keys.signer.algorithm}"
        )
    return JWTAccessTokens(
        issuer=settings.public_url, keys=keys, key_seconds=settings.signing_key_lead_seconds // 2
    )
