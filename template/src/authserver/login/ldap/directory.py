"""The directory, asked through ldap3: the one module that knows LDAP (RFC 4511).

Everything blocks; the login runs it in threads. Each question takes a connection of its own. A password is
sent only where TLS with a checked certificate stands, or on loopback if the operator chose so. Referrals are
never followed: they lead to servers that nobody configured.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit

import ldap3
import structlog
from ldap3.core.exceptions import LDAPCommunicationError, LDAPStartTLSError
from ldap3.core.results import (
    RESULT_CODES,
    RESULT_CONSTRAINT_VIOLATION,
    RESULT_INAPPROPRIATE_AUTHENTICATION,
    RESULT_INVALID_CREDENTIALS,
    RESULT_NO_SUCH_OBJECT,
    RESULT_SIZE_LIMIT_EXCEEDED,
    RESULT_SUCCESS,
    RESULT_UNWILLING_TO_PERFORM,
)
from ldap3.utils.dn import escape_rdn

from authserver import clock, limits
from authserver.login.ldap.names import escaped, folded, is_dn, is_shown, normalised
from authserver.login.ldap.settings import Settings
from authserver.settings import SettingsError

T = TypeVar("T")

_log = structlog.get_logger("authserver")

# How directories say no to a password, in RFC 4511 appendix A's words. All else is trouble.
_REFUSALS = (
    RESULT_CONSTRAINT_VIOLATION,
    RESULT_INAPPROPRIATE_AUTHENTICATION,
    RESULT_INVALID_CREDENTIALS,
    RESULT_UNWILLING_TO_PERFORM,
)

_SOME = (RESULT_SIZE_LIMIT_EXCEEDED, RESULT_NO_SUCH_OBJECT)

# What tells whether an entry may sign in, by product.
_STATUS = ("userAccountControl", "accountExpires", "pwdAccountLockedTime", "nsAccountLock")
_ACCOUNTDISABLE = 0x2  # [MS-ADTS] section 2.2.16
_NEVER = 2**63 - 1  # [MS-ADTS] section 3.1.1.2.3.1, accountExpires; 0 means the same
_SECONDS_1601_TO_1970 = 11_644_473_600
_LOCKED_FOR_GOOD = b"000001010000Z"  # draft-behera-ldap-password-policy-11 section 5.3.3


class Unavailable(Exception):
    """No server of the directory gave an answer that can be used."""


class NotRight(Exception):
    """Name and password are not those of one active entry. The text is a reason for the audit alone."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A person in the directory. `name` is None where it cannot be shown; groups are normalised names."""

    id: bytes
    dn: str
    name: str | None
    active: bool
    groups: frozenset[str]


Find: TypeAlias = Callable[..., list[dict[str, Any]]]
"""Finds some of the entries below a base for which a condition holds; none where the base is not there."""


class Directory:
    """The servers of one directory, asked in their order."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; connects to nothing. Raises SettingsError."""
        self._settings = settings
        self._service = settings.ldap_bind_dn and (settings.ldap_bind_dn, settings.ldap_password())
        try:
            self._tls = _Tls(ssl.create_default_context(cafile=settings.ldap_ca_file))
        except OSError:
            raise SettingsError(
                "AUTH_LDAP_CA_FILE: no certificate can be read from it."
                " Example: AUTH_LDAP_CA_FILE=/etc/ssl/certs/company-ca.pem"
            ) from None
        self._failed: dict[str, clock.Moment] = {}

    @property
    def has_service_account(self) -> bool:
        """Whether entries can be looked up without the password of one."""
        return bool(self._service)

    def authenticate(self, name: str, password: str) -> Entry:
        """Return the entry with that name and password; raises NotRight and Unavailable."""
        if not password or not is_shown(name):
            # An empty password makes a bind anonymous, and so successful (RFC 4513 section 5.1.2).
            raise NotRight("unusable name or password")
        return self._ask(lambda connection: self._authenticate(connection, name, password))

    def look_up(self, ids: Sequence[bytes]) -> dict[bytes, Entry]:
        """Return those of the entries that there are, by id; raises Unavailable if any may be missing."""
        return self._ask(lambda connection: self._look_up(connection, ids))

    def survey(self, url: str, look: Callable[[Find], list[T]]) -> list[T]:
        """Return what is seen at one server, nothing without a service account; raises Unavailable."""

        def question(connection: ldap3.Connection) -> list[T]:
            if not self._service:
                return []
            self._bind_to_search(connection, "", "")
            return look(partial(self._results, connection, some=True))

        return self._ask(question, [url])

    # ----------------------------------------------------------------------------------- questions

    def _authenticate(self, connection: ldap3.Connection, name: str, password: str) -> Entry:
        self._bind_to_search(connection, name, password)
        found, reason = self._find(connection, name)
        if found is None:
            # An unknown name takes as long as a known one.
            with suppress(_Trouble):
                nobody = f"{self._settings.ldap_name_attribute}={escape_rdn(name)}"
                self._bind(connection, f"{nobody},{self._settings.ldap_base}", password)
            raise NotRight(reason)
        # Always to the entry that was found: a template may have led to another one.
        if refusal := self._bind(connection, found["dn"], password):
            raise NotRight(refusal)
        if self._settings.ldap_groups_base:
            self._bind_to_search(connection, name, password)
        entry = self._entry(connection, found)
        if not entry.active:
            raise NotRight("the entry is disabled")
        if entry.name is None:
            raise NotRight("the name of the entry cannot be used")
        return entry

    def _find(self, connection: ldap3.Connection, name: str) -> tuple[dict[str, Any] | None, str]:
        """Return the one entry with that name, or None and why."""
        attribute = self._settings.ldap_name_attribute
        found = self._search(connection, f"({attribute}={escaped(name.encode())})")
        if len(found) != 1:
            return None, "several entries have this name" if found else "no entry has this name"
        # Directories compare loosely (accents, width, ignored characters), and attempts are counted by name.
        if folded(name) not in map(folded, _texts(found[0], attribute)):
            return None, "the entry spells its name otherwise"
        return found[0], ""

    def _look_up(self, connection: ldap3.Connection, ids: Sequence[bytes]) -> dict[bytes, Entry]:
        self._bind_to_search(connection, "", "")
        attribute = self._settings.ldap_id_attribute
        wanted = "".join(f"({attribute}={escaped(id_)})" for id_ in ids)
        found = self._search(connection, f"(|{wanted})")
        return {entry.id: entry for entry in (self._entry(connection, each) for each in found)}

    def _search(self, connection: ldap3.Connection, condition: str) -> list[dict[str, Any]]:
        """Return the people for whom the condition holds."""
        settings = self._settings
        attributes = [
            settings.ldap_name_attribute,
            settings.ldap_id_attribute,
            settings.ldap_groups_attribute,
            *_STATUS,
        ]
        condition = f"(&{settings.ldap_filter}{condition})"
        return self._results(connection, settings.ldap_base, condition, attributes)

    def _entry(self, connection: ldap3.Connection, found: dict[str, Any]) -> Entry:
        settings = self._settings
        ids = _values(found, settings.ldap_id_attribute)
        if len(ids) != 1:
            raise _Trouble("AUTH_LDAP_ID_ATTRIBUTE: an entry has none, or several")
        names = [name for name in _texts(found, settings.ldap_name_attribute) if is_shown(name)]
        if settings.ldap_groups_base:
            condition = settings.ldap_groups_filter.replace("{dn}", escaped(found["dn"].encode()))
            if names:
                condition = condition.replace("{name}", escaped(min(names).encode()))
            wanted: list[str] = [ldap3.NO_ATTRIBUTES]
            found_groups = self._results(connection, settings.ldap_groups_base, condition, wanted)
            groups = [group["dn"] for group in found_groups]
        else:
            groups = _texts(found, settings.ldap_groups_attribute)
        return Entry(
            id=ids[0],
            dn=found["dn"],
            # Of several the same each time, whatever order they come in.
            name=min(names, default=None),
            active=_is_active(found),
            groups=frozenset(normalised(group) for group in groups if is_dn(group)),
        )

    # --------------------------------------------------------------------------------- connections

    def _ask(self, question: Callable[[ldap3.Connection], T], servers: Sequence[str] = ()) -> T:
        """Return the answer of the first server that gives one; raises NotRight and Unavailable."""
        for url in sorted(servers or self._settings.ldap_servers, key=self._failed_lately):
            try:
                with self._connection(url) as connection:
                    return question(connection)
            except NotRight:
                raise
            except Exception as error:  # noqa: BLE001  # whatever a server sends, ldap3 must not bring us down
                self._failed[url] = clock.moment()
                _log.warning(
                    "directory server failed", server=url, kind=type(error).__name__, reason=_told(error)
                )
        raise Unavailable

    def _failed_lately(self, url: str) -> bool:
        failed = self._failed.get(url)
        return failed is not None and failed.age() < limits.DIRECTORY_SERVER_AVOIDED_SECONDS

    @contextmanager
    def _connection(self, url: str) -> Iterator[ldap3.Connection]:
        settings, parts = self._settings, urlsplit(url)
        encrypted = parts.scheme == "ldaps"
        server = ldap3.Server(
            parts.hostname or "",
            port=parts.port,
            use_ssl=encrypted,
            tls=self._tls if encrypted or settings.ldap_start_tls else None,
            get_info=ldap3.NONE,
            allowed_referral_hosts=[],
            connect_timeout=settings.ldap_timeout_seconds,
        )
        connection = ldap3.Connection(
            server,
            authentication=ldap3.SIMPLE,
            auto_referrals=False,
            auto_escape=False,
            check_names=False,
            read_only=True,
            receive_timeout=settings.ldap_timeout_seconds,
            return_empty_attributes=False,
        )
        try:
            self._find_address(server)
            connection.open(read_server_info=False)
            if server.tls and not encrypted:
                with self._in_time(connection):
                    connection.start_tls(read_server_info=False)
            yield connection
        finally:
            if connection.socket is not None:
                connection.socket.close()

    def _find_address(self, server: ldap3.Server) -> None:
        """Have the name of a server looked up, in time; ldap3 then takes what was found. Raises _Trouble."""
        found: list[object] = []
        # A resolver that hangs lets go of the thread by itself, after half a minute or so.
        looking = threading.Thread(target=lambda: found.extend(server.address_info), daemon=True)
        looking.start()
        looking.join(self._settings.ldap_timeout_seconds)
        if not found:
            late = looking.is_alive()
            raise _Trouble(f"its name is not {'found in time' if late else 'known'}")

    @contextmanager
    def _in_time(self, connection: ldap3.Connection) -> Iterator[None]:
        """Cut the connection when time is up: ldap3 waits for ever for an answer that comes byte by byte."""
        # Of the descriptor, which stays the same when TLS begins on it.
        line = socket.socket(fileno=socket.dup(connection.socket.fileno()))
        timer = threading.Timer(self._settings.ldap_timeout_seconds, _cut, [line])
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            line.close()

    def _bind_to_search(self, connection: ldap3.Connection, name: str, password: str) -> None:
        """Become the service account, or the user by the template; raises NotRight and _Trouble."""
        if self._service:
            if refusal := self._bind(connection, *self._service):
                raise _Trouble(f"AUTH_LDAP_BIND_DN: the service account is refused ({refusal})")
            return
        template = self._settings.ldap_bind_template or ""
        # In a DN the name is escaped (RFC 4514 section 2.4); a user principal name has nothing to escape.
        user = template.replace("{name}", escape_rdn(name) if "=" in template else name)
        if refusal := self._bind(connection, user, password):
            raise NotRight(refusal)

    def _bind(self, connection: ldap3.Connection, dn: str, password: str) -> str:
        """Become somebody; return '' or, where the directory says no, why. Raises _Trouble."""
        if connection.server.tls and not isinstance(connection.socket, ssl.SSLSocket):
            raise _Trouble("the connection is not encrypted")
        # As bytes: a string would go through SASLprep (RFC 4013), which refuses some and changes others.
        # An empty name or password, with which a bind is anonymous, ldap3 refuses.
        connection.user, connection.password = dn, password.encode()
        with self._in_time(connection):
            connection.bind(read_server_info=False)
        code = connection.result["result"]
        if code not in (RESULT_SUCCESS, *_REFUSALS):
            raise _Trouble(f"the answer to a bind was {RESULT_CODES.get(code, code)}")
        return "" if code == RESULT_SUCCESS else RESULT_CODES[code]

    def _results(
        self,
        connection: ldap3.Connection,
        base: str,
        condition: str,
        attributes: Sequence[str],
        *,
        scope: Literal["BASE", "SUBTREE"] = "SUBTREE",
        some: bool = False,
    ) -> list[dict[str, Any]]:
        """Return what is found; raises _Trouble where something may be missing, unless `some` is enough."""
        with self._in_time(connection):
            connection.search(
                base,
                condition,
                search_scope=scope,
                dereference_aliases=ldap3.DEREF_NEVER,
                attributes=list(attributes),
                size_limit=limits.DIRECTORY_ENTRIES_AT_ONCE if some else 0,
                time_limit=self._settings.ldap_timeout_seconds,
            )
        code = connection.result["result"]
        if code != RESULT_SUCCESS and not (some and code in _SOME):
            raise _Trouble(f"the answer to a search was {RESULT_CODES.get(code, code)}")
        # References to other servers (searchResRef) come along, and are left alone.
        return [found for found in connection.response or [] if found["type"] == "searchResEntry"]


class _Trouble(Exception):
    """A server answers, but not so that it can be used. The text holds nothing that it said."""


def _told(error: Exception) -> str | None:
    """Return the text of an error of ours; other texts may hold what the server said."""
    ours = isinstance(error, _Trouble | OSError | LDAPCommunicationError | LDAPStartTLSError)
    return str(error) if ours else None


class _Tls(ldap3.Tls):
    """TLS as the standard library does it: certificate and host name are checked in the handshake."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = context

    def wrap_socket(self, connection: ldap3.Connection, do_handshake: bool = False) -> None:
        connection.socket = self._context.wrap_socket(
            connection.socket, server_hostname=connection.server.host
        )


def _cut(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def _values(found: dict[str, Any], attribute: str) -> list[bytes]:
    return list(found["raw_attributes"].get(attribute) or [])


def _texts(found: dict[str, Any], attribute: str) -> list[str]:
    return [value.decode(errors="replace") for value in _values(found, attribute)]


def _is_active(found: dict[str, Any]) -> bool:
    """Say whether the entry may sign in, as far as it tells.

    A lock that guesses brought about stops sign-ins and no more: else guessing would end somebody's grants.
    """
    control, expires = (int(next(iter(_values(found, name)), 0)) for name in _STATUS[:2])
    return (
        not control & _ACCOUNTDISABLE
        and (expires in (0, _NEVER) or expires / 10_000_000 - _SECONDS_1601_TO_1970 > clock.now())
        and _LOCKED_FOR_GOOD not in _values(found, "pwdAccountLockedTime")
        and b"true" not in (value.lower() for value in _values(found, "nsAccountLock"))
    )
