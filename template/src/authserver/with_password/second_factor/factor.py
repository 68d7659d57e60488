"""An authenticator app (TOTP, RFC 6238) and recovery codes, as they are kept of one user.

Each code works once: a time-based one moves `step`, a recovery code goes. Whoever stores the outcome by
compare-and-set has used the code; nobody else can.
"""

import json
import re
import secrets
from dataclasses import asdict, dataclass, field, replace

import pyotp

from authserver import limits
from authserver.crypto.secret_values import Kind, digest

# RFC 4648 section 6, in lower case: no 0 and 1, which look like letters. 24 of them are 120 bits:
# more than the 112 from which on a digest is enough (NIST SP 800-63B section 3.1.2.2).
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_RECOVERY_CODE_LENGTH = 24


@dataclass(frozen=True, slots=True)
class Factor:
    """The seed, the last time step whose code was used, and digests of the recovery codes that are left."""

    seed: str = field(repr=False)
    step: int
    recovery: list[str] = field(repr=False)

    @classmethod
    def from_bytes(cls, value: bytes) -> "Factor":
        """Return what `to_bytes` was called on."""
        return cls(**json.loads(value))

    def to_bytes(self) -> bytes:
        """Return what is sealed and stored."""
        return json.dumps(asdict(self)).encode()

    def used(self, code: str) -> "Factor | None":
        """Return the factor after the use of a code of either sort; None where the code is not good."""
        code = re.sub(r"[\s-]", "", code).lower()
        if not re.fullmatch("[0-9]{6}", code):
            name = _digest(code)
            left = [other for other in self.recovery if not secrets.compare_digest(other, name)]
            return replace(self, recovery=left) if len(left) < len(self.recovery) else None
        try:
            step = pyotp.TOTP(self.seed).verify_and_get_timecode(
                code, valid_window=limits.ONE_TIME_PASSWORD_STEPS
            )
        except pyotp.OTPVerificationError:
            return None
        return replace(self, step=step) if step > self.step else None

    def with_recovery_codes(self) -> "tuple[Factor, list[str]]":
        """Return the factor with new recovery codes in place of all others, and the codes."""
        letters = [
            [secrets.choice(_ALPHABET) for _ in range(_RECOVERY_CODE_LENGTH)]
            for _ in range(limits.RECOVERY_CODES)
        ]
        codes = ["".join(word) for word in letters]
        return replace(self, recovery=[_digest(code) for code in codes]), [_in_groups(code) for code in codes]


def new_seed() -> str:
    """Return a seed of 160 random bits, as authenticator apps take it."""
    return pyotp.random_base32()


def enrolled(seed: str, code: str) -> tuple[Factor, list[str]] | None:
    """Return a new factor and its recovery codes, if the code shows that an app has the seed."""
    factor = Factor(seed=seed, step=0, recovery=[]).used(code)
    return None if factor is None else factor.with_recovery_codes()


def _digest(code: str) -> str:
    return digest(Kind.RECOVERY_CODE, code).hex()


def _in_groups(code: str) -> str:
    return "-".join(re.findall("....", code))
