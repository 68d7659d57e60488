"""With the name and password of a directory: a real OpenLDAP, started once for each test process."""

import atexit
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import ldap3
import pytest
import trustme
from ldap3.core.exceptions import LDAPSocketOpenError
from ldap3.utils.dn import escape_rdn
from ports import free_port

if TYPE_CHECKING:
    from person import Person

SUFFIX = "dc=example,dc=com"
PEOPLE = f"ou=people,{SUFFIX}"
GROUPS = f"ou=groups,{SUFFIX}"
SERVICE = f"cn=service,{SUFFIX}"
SERVICE_PASSWORD = "the service account's own"

# Debian's modules, and what other directories say about an account (with the numbers of Microsoft's schema).
# An empty password makes a bind anonymous here, as Active Directory has it.
_CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl'
    EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.159 NAME 'accountExpires'
    EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.2 NAME 'objectGUID'
    EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.1.610 NAME 'nsAccountLock'
    EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.32473.1 NAME 'account-of-others' SUP top AUXILIARY
    MAY ( userAccountControl $ accountExpires $ objectGUID $ nsAccountLock ) )
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
allow bind_anon_cred bind_anon_dn
TLSCertificateFile {folder}/certificate.pem
TLSCertificateKeyFile {folder}/key.pem
database mdb
suffix {suffix}
rootdn cn=root,{suffix}
rootpw root
directory {folder}
dbnosync
{more}
overlay memberof
overlay ppolicy
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
"""


class OpenLDAP:
    """A directory of people and groups. Its certificate is for `localhost` and no other name."""

    def __init__(self, program: str, folder: Path, more: str) -> None:
        self.folder = folder
        self.port, self.tls_port = free_port(), free_port()
        self.ca_file = folder / "ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca_file)
        certificate = authority.issue_cert("localhost")
        certificate.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        (folder / "slapd.conf").write_text(_CONFIGURATION.format(folder=folder, suffix=SUFFIX, more=more))
        # A copy of our own: Ubuntu lets the installed program read and write only where the package does.
        self._program = shutil.copy(program, folder / "slapd")

    def start(self) -> None:
        """Start it, also again on the same data; return when it answers."""
        listen = f"ldap://localhost:{self.port} ldaps://localhost:{self.tls_port}"
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-f", self.folder / "slapd.conf", "-h", listen, "-d", "0"],
                stdout=log,
                stderr=log,
            )
        while True:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            try:
                self._root = self._as_root()
            except LDAPSocketOpenError:
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(15)

    def fill(self) -> None:
        """Make what every directory has."""
        self.add(SUFFIX, ["dcObject", "organization"], o="Example")
        for branch in (PEOPLE, GROUPS):
            self.add(branch, ["organizationalUnit"])
        self.add(SERVICE, ["person"], sn="service", userPassword=SERVICE_PASSWORD)

    def settings(self) -> dict[str, str]:
        """Return the settings that lead here."""
        return {
            "ldap_servers": f"ldaps://localhost:{self.tls_port}",
            "ldap_ca_file": str(self.ca_file),
            "ldap_bind_dn": SERVICE,
            "ldap_bind_password": SERVICE_PASSWORD,
            "ldap_base": PEOPLE,
        }

    def person(self, name: str, password: str, **attributes: Any) -> str:
        """Add a person, or change the password of one; return their distinguished name."""
        dn = named(name)
        if self._root.search(dn, "(objectClass=*)", ldap3.BASE):
            self.change(dn, userPassword=password)
        else:
            classes = ["inetOrgPerson", "account-of-others"]
            self.add(dn, classes, cn=name, sn=name, userPassword=password, **attributes)
        return dn

    def group(self, name: str, *members: str) -> str:
        """Add a group of these distinguished names; return its own."""
        dn = f"cn={name},{GROUPS}"
        self.add(dn, ["groupOfNames"], member=list(members))
        return dn

    def add(self, dn: str, classes: Sequence[str], **attributes: Any) -> None:
        """Add an entry."""
        self._do(self._root.add(dn, list(classes), attributes))

    def change(self, dn: str, **attributes: Any) -> None:
        """Replace attributes of an entry; None takes one away."""
        changes = {
            name: [(ldap3.MODIFY_REPLACE, [] if value is None else [value])]
            for name, value in attributes.items()
        }
        self._do(self._root.modify(dn, changes))

    def rename(self, dn: str, name: str) -> str:
        """Give a person another name; return the new distinguished name."""
        self._do(self._root.modify_dn(dn, named(name).partition(",")[0]))
        return named(name)

    def remove(self, dn: str) -> None:
        """Delete an entry."""
        self._do(self._root.delete(dn))

    def _do(self, done: bool) -> None:
        assert done, self._root.result

    def _as_root(self) -> Any:
        server = ldap3.Server("localhost", port=self.port, get_info=ldap3.NONE)
        return ldap3.Connection(server, f"cn=root,{SUFFIX}", "root", auto_bind=True, check_names=False)


def named(name: str) -> str:
    """Return the distinguished name of a person."""
    return f"uid={escape_rdn(name)},{PEOPLE}"


def another(folder: Path, more: str = "") -> OpenLDAP:
    """Return a directory, not started yet, with more configuration.

    Skips the test where OpenLDAP is not installed; under CI it fails.
    """
    program = shutil.which("slapd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        why = "OpenLDAP is not installed: apt-get install slapd"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    return OpenLDAP(program, folder, more)


@cache
def directory() -> OpenLDAP:
    """Return the directory of this test process."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    running = another(Path(folder.name))
    running.start()
    atexit.register(running.stop)
    running.fill()
    return running


class DirectoryWay:
    """The Way protocol with one form."""

    def settings(self) -> dict[str, str]:
        """Lead to the directory."""
        return directory().settings()

    def join(self, person: "Person", link: str) -> httpx2.Response:
        """Be in the directory, and come: the first sign-in makes the account."""
        directory().person(person.name, person.password)
        return self.sign_in(person, person.get("/login"))

    def asks(self, page: httpx2.Response) -> bool:
        """Look for the field."""
        return "current-password" in page.text

    def sign_in(self, person: "Person", page: httpx2.Response) -> httpx2.Response:
        """Fill the form."""
        return person.submit(page, "password", username=person.name, password=person.password)


WAY = DirectoryWay()
