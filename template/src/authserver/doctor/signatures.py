"""Who signed an advisory: without that, whoever hands it over can turn it round.

`allowed_signers` comes with the template and lists the maintainers' public keys, in the format of OpenSSH.
`ssh-keygen` verifies; it is on every machine that has SSH.
"""

from collections.abc import Iterator
from pathlib import Path

from authserver.doctor.advisories import AdvisoryError, read_file
from authserver.findings import Finding, Level, note
from authserver.install import is_signed, lists_somebody

SIGNERS = Path(__file__).parents[1] / "allowed_signers"

_ADVISORIES = "authserver-advisory"
_NEW_SIGNERS = "authserver-signers"
"""What a signature is for, so that one for something else does not count (`ssh-keygen -n`)."""


def signers_unknown() -> Iterator[Finding]:
    """Find that updates and advisories cannot be verified.

    Source: NIST SP 800-53, control SI-7(15).
    """
    if not lists_somebody(SIGNERS.read_bytes()):
        yield note(
            "src/authserver/allowed_signers",
            "no signer is known, so neither updates nor advisories are verified",
            "Put the maintainers' public key there; the file says how",
        )


def check_signature(path: Path, content: bytes) -> Iterator[Finding]:
    """Say what is doubtful of an advisory that was read from a file; nothing if a known signer signed it.

    The signature is beside it, in `FILE.sig`. Raises AdvisoryError where it is of another content, or by
    nobody who is known: then nothing in the file is to be believed.
    """
    known = SIGNERS.read_bytes()
    if not lists_somebody(known):
        yield Finding(
            Level.NOT_VERIFIED,
            "no signer is known",
            f"whoever gave you {path.name} may have turned it round",
            "Put the maintainers' public key into src/authserver/allowed_signers, which says how",
        )
        return
    signature = _beside(path, ".sig")
    if not signature.exists():
        yield Finding(
            Level.NOT_VERIFIED,
            "no signature",
            f"there is no {signature.name}, and whoever gave you {path.name} may have turned it round",
            "Get both files anew, from where the advisory is published",
        )
        return
    if not _is_signed(content, signature, known + _announced(path, known), _ADVISORIES):
        raise AdvisoryError(
            f"{path}: {signature.name} is not the signature of a signer that this project knows"
            " (src/authserver/allowed_signers): believe nothing of it, and get both files anew"
        )


def _announced(path: Path, known: bytes) -> bytes:
    """Return new signers, announced beside the advisory in a file that a known one signed."""
    new = path.parent / "allowed_signers"
    signature = _beside(new, ".sig")
    if not new.is_file() or not signature.is_file():
        return b""
    content = read_file(new)
    return b"\n" + content if _is_signed(content, signature, known, _NEW_SIGNERS) else b""


def _is_signed(content: bytes, signature: Path, known: bytes, purpose: str) -> bool:
    """Say whether one of the known signers signed this, for this purpose. Raises AdvisoryError."""
    written = read_file(signature)
    try:
        return is_signed(content, written, known, purpose)
    except OSError:
        raise AdvisoryError("ssh-keygen is not here, which verifies signatures: install OpenSSH") from None


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
