"""Certificates of an authority of the tests' own."""

import datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from authserver import clock

_DAY = datetime.timedelta(days=1)


class Authority:
    """Somebody who vouches for hosts."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("Authority of the tests")
        self.certificate = self._issue(self._key.public_key(), self._name, 0, 3650, ())

    def write(
        self, folder: Path, *hosts: str, begins: float = 0, days: float = 90, key: str = "key.pem"
    ) -> None:
        """Write `certificate.pem` for these hosts and its key, mode 0600; good from `begins` for `days`."""
        private = ec.generate_private_key(ec.SECP256R1())
        issued = self._issue(private.public_key(), _named("A server"), begins, days, hosts)
        (folder / "certificate.pem").write_bytes(issued.public_bytes(serialization.Encoding.PEM))
        (folder / key).touch(0o600)
        (folder / key).write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def pem(self) -> str:
        """Return the certificate that clients have to know."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def _issue(
        self,
        public: ec.EllipticCurvePublicKey,
        name: x509.Name,
        begins: float,
        days: float,
        hosts: tuple[str, ...],
    ) -> x509.Certificate:
        # An hour ago, since clocks differ.
        since = datetime.datetime.fromtimestamp(clock.now() - 3600, datetime.UTC) + begins * _DAY
        made = x509.CertificateBuilder(
            self._name, name, public, x509.random_serial_number(), since, since + days * _DAY
        ).add_extension(x509.BasicConstraints(ca=not hosts, path_length=None), critical=True)
        if hosts:
            made = made.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        return made.sign(self._key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
