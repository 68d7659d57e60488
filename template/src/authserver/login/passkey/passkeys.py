"""Making a passkey and signing in with one: the two ceremonies of WebAuthn (Level 3, section 7).

What an authenticator answers is checked by py_webauthn; what that leaves to the server is checked here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    base64url_to_bytes,
    bytes_to_base64url,
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    options_to_json_dict,
    parse_authentication_credential_json,
    parse_client_data_json,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import InvalidBackupFlags
from webauthn.helpers.parse_registration_credential_json import parse_registration_credential_json
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from authserver import limits
from authserver.requests import strict_json

KIND = "passkey:"
"""A passkey is stored as a credential of this kind and its id, base64url."""

ALGORITHMS = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]

T = TypeVar("T")


class Refused(Exception):
    """The browser's answer is not good; `reason` is a key of the strings."""

    def __init__(self, reason: str = "wrong") -> None:
        super().__init__(reason)
        self.reason = reason


class WentBack(Refused):
    """The counter of a passkey that stays on one device is not higher than it was: there may be a copy."""

    def __init__(self) -> None:
        super().__init__("copied")


class Changed(Refused):
    """Whether the passkey may be on several devices is not as it was made, or its flags are at odds."""

    def __init__(self) -> None:
        super().__init__("changed")


@dataclass(frozen=True, slots=True)
class Passkey:
    """What is kept of a passkey: WebAuthn's credential record (section 4), its name, its use.

    `backup_eligible` says that it may be on several devices, `backed_up` that it is. `public_key` is a COSE
    key, base64url; times are seconds since the epoch.
    """

    name: str
    public_key: str
    sign_count: int
    backup_eligible: bool
    backed_up: bool
    transports: tuple[str, ...]
    created_at: float
    used_at: float | None = None

    def dump(self) -> bytes:
        """Return the value of the credential."""
        return json.dumps(asdict(self)).encode()


def load(value: bytes) -> Passkey:
    """Return the passkey that `dump` made `value` of."""
    fields = json.loads(value)
    return Passkey(**fields | {"transports": tuple(fields["transports"])})


@dataclass(frozen=True, slots=True)
class Assertion:
    """A passkey's answer, not yet verified: whose it says it is, and the kind of its credential."""

    subject: str
    kind: str
    credential: AuthenticationCredential


class RelyingParty:
    """The site that asks for passkeys: its origin is the public URL, its id the host in it."""

    def __init__(self, public_url: str) -> None:
        self._origin = public_url
        self._id = urlsplit(public_url).hostname or ""

    def creation_options(
        self, challenge: str, *, subject: str, user_name: str, known: Mapping[str, Passkey]
    ) -> dict[str, Any]:
        """Return what the browser needs to make a passkey (section 5.4), but on a device with one of `known`.

        The user handle is the subject: it says nothing of the person (section 14.6.1).
        """
        return options_to_json_dict(
            generate_registration_options(
                rp_id=self._id,
                rp_name=self._id,
                user_id=subject.encode(),
                user_name=user_name,
                challenge=challenge.encode(),
                timeout=limits.PASSKEY_PROMPT_MILLISECONDS,
                attestation=AttestationConveyancePreference.NONE,
                authenticator_selection=AuthenticatorSelectionCriteria(
                    resident_key=ResidentKeyRequirement.REQUIRED,
                    user_verification=UserVerificationRequirement.REQUIRED,
                ),
                exclude_credentials=[
                    PublicKeyCredentialDescriptor(
                        id=base64url_to_bytes(kind.removeprefix(KIND)),
                        transports=[AuthenticatorTransport(name) for name in passkey.transports],
                    )
                    for kind, passkey in known.items()
                ],
                supported_pub_key_algs=ALGORITHMS,
            )
        )

    def request_options(self, challenge: str) -> dict[str, Any]:
        """Return what the browser needs to ask for a passkey, whosever it is (section 5.5)."""
        return options_to_json_dict(
            generate_authentication_options(
                rp_id=self._id,
                challenge=challenge.encode(),
                timeout=limits.PASSKEY_PROMPT_MILLISECONDS,
                user_verification=UserVerificationRequirement.REQUIRED,
            )
        )

    def created(self, answer: str, challenge: str, *, name: str, now: float) -> tuple[str, Passkey]:
        """Return the passkey that was made, and the kind of its credential; raises Refused (section 7.1)."""
        return _checked(self._created, answer, challenge, name, now)

    def _created(self, answer: str, challenge: str, name: str, now: float) -> tuple[str, Passkey]:
        credential = parse_registration_credential_json(strict_json.loads(answer))
        _refuse_frames(credential.response.client_data_json)
        made = verify_registration_response(
            credential=credential,
            expected_challenge=challenge.encode(),
            expected_rp_id=self._id,
            expected_origin=self._origin,
            require_user_verification=True,
            supported_pub_key_algs=ALGORITHMS,
        )
        if len(made.credential_id) > limits.MAXIMUM_PASSKEY_ID_BYTES:
            raise Refused
        # A key that cannot be used would be found out at the next sign-in, when it is too late.
        decoded_public_key_to_cryptography(decode_credential_public_key(made.credential_public_key))
        return KIND + bytes_to_base64url(made.credential_id), Passkey(
            name=name,
            public_key=bytes_to_base64url(made.credential_public_key),
            sign_count=made.sign_count,
            backup_eligible=made.credential_device_type == CredentialDeviceType.MULTI_DEVICE,
            backed_up=made.credential_backed_up,
            transports=tuple(transport.value for transport in credential.response.transports or ()),
            created_at=now,
        )

    def used(self, assertion: Assertion, challenge: str, passkey: Passkey, *, now: float) -> Passkey:
        """Return the passkey as it is after this use; raises Refused, WentBack, Changed (section 7.2).

        The counter of a passkey on several devices says nothing: each counts by itself (section 6.1.1).
        """
        return _checked(self._used, assertion.credential, challenge, passkey, now)

    def _used(
        self, credential: AuthenticationCredential, challenge: str, passkey: Passkey, now: float
    ) -> Passkey:
        _refuse_frames(credential.response.client_data_json)
        try:
            use = verify_authentication_response(
                credential=credential,
                expected_challenge=challenge.encode(),
                expected_rp_id=self._id,
                expected_origin=self._origin,
                credential_public_key=base64url_to_bytes(passkey.public_key),
                # Judged below, when the signature is known to be good: nobody else may raise that alarm.
                credential_current_sign_count=0,
                require_user_verification=True,
            )
        except InvalidBackupFlags:  # the last thing it looks at
            raise Changed from None
        if (use.credential_device_type == CredentialDeviceType.MULTI_DEVICE) != passkey.backup_eligible:
            raise Changed
        if not passkey.backup_eligible and is_stale(passkey, use.new_sign_count):
            raise WentBack
        return replace(
            passkey, sign_count=use.new_sign_count, backed_up=use.credential_backed_up, used_at=now
        )


def is_stale(passkey: Passkey, sign_count: int) -> bool:
    """Say whether a counter has not grown since the last use; a passkey that counts nothing stays at 0."""
    return max(sign_count, passkey.sign_count) > 0 and sign_count <= passkey.sign_count


def read_assertion(answer: str) -> Assertion:
    """Return what the browser sent to sign in; raises Refused."""
    return _checked(_read_assertion, answer)


def _read_assertion(answer: str) -> Assertion:
    credential = parse_authentication_credential_json(strict_json.loads(answer))
    subject = (credential.response.user_handle or b"").decode("ascii")
    if not subject.isprintable():
        raise Refused
    return Assertion(subject, KIND + bytes_to_base64url(credential.raw_id), credential)


def _refuse_frames(client_data: bytes) -> None:
    """Refuse what was made in a frame of another site (sections 7.1 step 10, 7.2 step 14)."""
    if parse_client_data_json(client_data).cross_origin:
        raise Refused


def _checked(check: Callable[..., T], *arguments: object) -> T:
    """Call `check`, whose library meets malformed input with whatever exception comes of it."""
    try:
        return check(*arguments)
    except Refused:
        raise
    except Exception as error:
        raise Refused from error
