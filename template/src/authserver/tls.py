"""TLS without a proxy: a certificate and its key from two files, taken anew whenever they change.

For `serve`; other ASGI servers have options of their own. What is wrong with a pair stops the start. Later
the server goes on with the last good pair, says so in the log, and looks again.
"""

import hashlib
import ssl
import threading
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import structlog
from cryptography import x509

from authserver import clock, limits
from authserver.settings import CoreSettings, SettingsError

_CERTIFICATE = "AUTH_TLS_CERTIFICATE_FILE"
_KEY = "AUTH_TLS_KEY_FILE"

_log = structlog.get_logger("authserver")


class Pair:
    """The two files, and for which host the certificate has to be."""

    def __init__(self, certificate: Path, key: Path, host: str) -> None:
        self.certificate = certificate
        self.key = key
        self._host = host

    @classmethod
    def of(cls, settings: CoreSettings) -> Self | None:
        """Return the pair that is set, None where there is none; raises SettingsError for half of one."""
        certificate, key = settings.tls_certificate_file, settings.tls_key_file
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            lacking, other = (_KEY, _CERTIFICATE) if key is None else (_CERTIFICATE, _KEY)
            raise _wrong(lacking, f"it must be set together with {other}")
        if not settings.secure:
            raise SettingsError(
                f"AUTH_PUBLIC_URL: with {_CERTIFICATE} it is an https address."
                " Example: AUTH_PUBLIC_URL=https://mcp.example.com"
            )
        return cls(certificate, key, urlsplit(settings.public_url).hostname or "")

    def digest(self) -> bytes:
        """Return what tells these contents from others; raises SettingsError where one cannot be read."""
        contents = (_read(_CERTIFICATE, self.certificate), _read(_KEY, self.key))
        return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).digest()

    def leaf(self) -> x509.Certificate:
        """Return the certificate of the server itself, the first in the file; raises SettingsError."""
        try:
            return x509.load_pem_x509_certificate(_read(_CERTIFICATE, self.certificate))
        except ValueError:
            raise _wrong(_CERTIFICATE, f"{self.certificate} begins with no certificate in PEM") from None

    def context(self) -> ssl.SSLContext:
        """Return a context with this pair; raises SettingsError for what no client would accept."""
        leaf, now = self.leaf(), clock.now()
        if now >= leaf.not_valid_after_utc.timestamp():
            raise _wrong(_CERTIFICATE, f"{self.certificate} ran out at {_when(leaf.not_valid_after_utc)}")
        if now < leaf.not_valid_before_utc.timestamp():
            raise _wrong(_CERTIFICATE, f"{self.certificate} begins at {_when(leaf.not_valid_before_utc)}")
        if not is_for(leaf, self._host):
            raise _wrong(_CERTIFICATE, f"{self.certificate} is not for {self._host} of AUTH_PUBLIC_URL")
        # TLS 1.2 or newer, and the ciphers that Python takes for servers.
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A protocol of another server cannot be spoken to this one by mistake (ALPACA).
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.certificate, self.key, _ask_nobody)
        except ssl.SSLError as error:
            why = "does not belong to the certificate" if "MISMATCH" in str(error) else "cannot be used"
            raise _wrong(_KEY, f"{self.key} {why}: a PEM file without a password is needed") from None
        except OSError as error:
            raise _wrong(_KEY, f"{self.key} cannot be read ({error.strerror})") from None
        return context


class Certified:
    """The context of a listening socket: each new connection is shown the newest good pair."""

    def __init__(self, pair: Pair) -> None:
        """Take the pair as it is now; raises SettingsError."""
        self._pair = pair
        self._digest = pair.digest()
        self._problem = ""
        self.context = self._newest = pair.context()
        # It is called at each handshake, also where the client names no host. To load the new pair into the
        # context that is in use would leave it without a key where that does not fit.
        self.context.sni_callback = lambda connection, *_: setattr(connection, "context", self._newest)

    def look(self) -> None:
        """Take the pair anew if it has changed; connections that live keep what they have."""
        try:
            digest = self._pair.digest()
            if digest == self._digest:
                self._problem = ""
                return
            newest, until = self._pair.context(), _when(self._pair.leaf().not_valid_after_utc)
        except SettingsError as error:
            if str(error) != self._problem:
                self._problem = str(error)
                _log.warning("the new certificate is not taken, the last one goes on", reason=self._problem)
            return
        self._newest, self._digest, self._problem = newest, digest, ""
        _log.info("a new certificate is taken", until=until)

    def watch(self) -> None:
        """Look now and then, in a thread, since files may be slow to read."""
        threading.Thread(target=self._look_forever, daemon=True, name="certificate").start()

    def _look_forever(self) -> None:
        asleep = threading.Event()
        while not asleep.wait(limits.CERTIFICATE_SECONDS):
            self.look()


def watched(pair: Pair, *_: object) -> ssl.SSLContext:
    """Return the context for the socket of this process, kept current: uvicorn's `ssl_context_factory`."""
    certified = Certified(pair)
    certified.watch()
    return certified.context


def is_for(certificate: x509.Certificate, host: str) -> bool:
    """Say whether a certificate is for a host, in lower case (RFC 9525 section 6.3; no common names)."""
    try:
        given = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    try:
        return ip_address(host) in given.get_values_for_type(x509.IPAddress)
    except ValueError:
        _, _, parent = host.partition(".")
        dns = {name.lower() for name in given.get_values_for_type(x509.DNSName)}
        return host in dns or f"*.{parent}" in dns


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _read(variable: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _wrong(variable, f"{file} cannot be read ({error.strerror})") from None


def _ask_nobody() -> str:
    """Answer for OpenSSL, which would ask at the terminal for the password of a key."""
    return ""


def _wrong(variable: str, what: str) -> SettingsError:
    example = {_CERTIFICATE: "/etc/my-server/tls.pem", _KEY: "/etc/my-server/tls.key"}[variable]
    return SettingsError(f"{variable}: {what}. Example: {variable}={example}")
