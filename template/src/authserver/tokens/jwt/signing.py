"""Key pairs that sign tokens: what is published of them, and how their private halves are used."""

import asyncio
import shlex
import warnings
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from authserver import limits
from authserver.storage.errors import StorageUnavailable

AnyKey = ECKey | OKPKey | RSAKey


class UnusableKey(ValueError):
    """No key for one of our algorithms. The text holds nothing of the key."""


class CannotSign(StorageUnavailable):
    """The command that signs failed (HTTP 503): the client tries again."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key: its id (RFC 7638 thumbprint), its one algorithm, and its public half, or both."""

    kid: str
    algorithm: str
    key: AnyKey = field(repr=False)

    def jwk(self) -> dict[str, object]:
        """Return the public half as it is published (RFC 7517 section 4)."""
        return dict(self.key.as_dict(private=False, kid=self.kid, alg=self.algorithm, use="sig"))

    async def sign(self, message: bytes) -> bytes:
        """Return the signature (RFC 7515 section 5.1); the private half must be here."""
        return JWSRegistry(algorithms=[self.algorithm]).get_alg(self.algorithm).sign(message, self.key)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Say whether the private half made this signature."""
        algorithm = JWSRegistry(algorithms=[self.algorithm]).get_alg(self.algorithm)
        return algorithm.verify(message, signature, self.key)


class Signer(Protocol):
    """What signs with one key pair."""

    @property
    def kid(self) -> str:
        """The id of the key."""

    @property
    def algorithm(self) -> str:
        """Its algorithm."""

    async def sign(self, message: bytes) -> bytes:
        """Return the signature; may raise CannotSign."""


def make(algorithm: str) -> bytes:
    """Return a new private key for an algorithm, as PEM."""
    key: AnyKey
    match algorithm:
        case "Ed25519":
            key = OKPKey.generate_key("Ed25519")
        case "RS256":
            key = RSAKey.generate_key(3072)
        case _:
            key = ECKey.generate_key("P-256")
    return key.as_pem(private=True)


def read(pem: bytes) -> KeyPair:
    """Return a key from PEM; its kind says which algorithm it is for. Raises UnusableKey."""
    for kind, algorithm in ((ECKey, "ES256"), (OKPKey, "Ed25519"), (RSAKey, "RS256")):
        try:
            with warnings.catch_warnings(action="ignore", category=SecurityWarning):
                key: AnyKey = kind.import_key(pem)
            JWSRegistry(algorithms=[algorithm]).get_alg(algorithm).check_key(key)
        except (JoseError, ValueError, TypeError, UnsupportedAlgorithm):
            continue
        if not isinstance(key, RSAKey) or key.raw_value.key_size >= limits.MINIMUM_RSA_BITS:
            return KeyPair(key.thumbprint(), algorithm, key)
    raise UnusableKey("a PEM key is needed: EC P-256, Ed25519, or RSA of 2048 bits or more")


class CommandSigner:
    """Signs by a command, behind which an HSM or a KMS may be.

    It reads the message from its standard input and writes the bare signature to its standard output; for
    ES256 in DER, as OpenSSL and the KMSs give it.
    """

    def __init__(self, public: KeyPair, command: str) -> None:
        self.kid = public.kid
        self.algorithm = public.algorithm
        self._public = public
        self._command = shlex.split(command)
        self._at_once: asyncio.Semaphore | None = None

    async def sign(self, message: bytes) -> bytes:
        """Return the signature; raises CannotSign."""
        if self._at_once is None:
            self._at_once = asyncio.Semaphore(limits.SIGNING_COMMANDS_AT_ONCE)
        async with self._at_once:
            signature = await self._run(message)
        try:
            if self.algorithm == "ES256":
                r, s = decode_dss_signature(signature)
                signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
            right = self._public.verifies(message, signature)
        except (ValueError, OverflowError):
            right = False
        if not right:
            raise CannotSign("AUTH_SIGNING_KEY_COMMAND: what it gave is no signature of this key")
        return signature

    async def _run(self, message: bytes) -> bytes:
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
            )
        except OSError as error:
            raise CannotSign(f"AUTH_SIGNING_KEY_COMMAND: cannot be run ({error.strerror})") from None
        try:
            async with asyncio.timeout(limits.SIGNING_COMMAND_SECONDS):
                signature, _ = await process.communicate(message)
        except TimeoutError:
            seconds = limits.SIGNING_COMMAND_SECONDS
            raise CannotSign(f"AUTH_SIGNING_KEY_COMMAND: no answer in {seconds} seconds") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise CannotSign(f"AUTH_SIGNING_KEY_COMMAND: it ended with code {process.returncode}")
        return signature
