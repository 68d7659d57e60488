"""Sign-in against a directory: who gets in, what they may, when that ends, and attacks on the way there."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import ldap3
import pytest
import structlog
import trustme
from conftest import SCOPES, Command, Live, ended, new_person
from ldap3.utils.dn import escape_rdn
from logins.ldap import GROUPS, PEOPLE, SERVICE_PASSWORD, OpenLDAP, another, directory, named
from oauth_client import OAuthClient, alive
from operators import Operator
from person import PASSWORD, Person

from authserver import AuthorizationServer, limits
from authserver.all_settings import Settings, load_settings
from authserver.login import ldap as login
from authserver.login.ldap.directory import Directory, NotRight, Unavailable
from authserver.login.ldap.survey import survey
from authserver.settings import SettingsError
from authserver.storage.users import Ending

Start = Callable[..., Live]


def sign_in(server: Live, name: str, password: str = PASSWORD) -> Any:
    """Sign in with a new browser; return the page that comes then."""
    person = Person(server, name, password)
    return person.sign_in(person.get("/login"))


def get_in(server: Live, name: str, **attributes: Any) -> Person:
    """Be in the directory and sign in."""
    directory().person(name, PASSWORD, **attributes)
    person = Person(server, name)
    assert person.sign_in(person.get("/login")).url.path == "/account"
    return person


def accounts(server: Live) -> dict[str, Any]:
    """Return all accounts by name."""
    users = anyio.run(server.on_storage, lambda storage: storage.users.all())
    return {user.name: user for user in users}


def check(server: Live) -> None:
    """Compare all accounts with the directory, as another node of the server."""

    async def run() -> None:
        node: Any = AuthorizationServer(SCOPES, server.settings)
        await node.open()
        try:
            await node.login.check()
        finally:
            await node.close()

    anyio.run(run)


Answer = Callable[[bytes], Iterable[bytes]]


def nothing(_: bytes) -> Iterable[bytes]:
    return ()


class Listener:
    """A server that keeps what it is sent, and answers with what `answer` makes of it."""

    def __init__(self, answer: Answer = nothing) -> None:
        self.received: list[bytes] = []
        self.connections = 0
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(30)
            while data := connection.recv(65536):
                self.received.append(data)
                for piece in self._answer(data):
                    connection.sendall(piece)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """Start listeners."""
    started: list[Listener] = []

    def start_one(answer: Answer = nothing) -> Listener:
        started.append(Listener(answer))
        return started[-1]

    yield start_one
    for listener in started:
        listener.close()


@pytest.fixture
def other(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OpenLDAP]:
    """A directory of this test's own, which it may stop; its parameter is more configuration."""
    server = another(tmp_path, getattr(request, "param", ""))
    server.start()
    server.fill()
    yield server
    server.stop()


def at(directory: OpenLDAP) -> dict[str, str]:
    """Return the settings that lead to a directory of the test's own."""
    return {"ldap_servers": f"ldap://localhost:{directory.port}", "ldap_start_tls": "False"}


# ---------------------------------------------------------------------------------------- who gets in


def test_the_first_sign_in_makes_the_account_with_the_name_that_the_directory_spells(live: Live) -> None:
    directory().person("Ada", PASSWORD)
    person = Person(live, "aDA")
    assert person.sign_in(person.get("/login")).url.path == "/account"
    assert "Ada" in person.get("/account").text
    assert accounts(live)["Ada"].scopes is None
    assert OAuthClient(live).tokens(person, scope="read write")["scope"] == "read"


def test_many_first_sign_ins_at_once_make_one_account(live: Live) -> None:
    directory().person("crowd", PASSWORD)
    with ThreadPoolExecutor(5) as pool:
        pages = list(pool.map(lambda _: sign_in(live, "crowd"), range(5)))
    assert {page.url.path for page in pages} == {"/account"}
    assert len([name for name in accounts(live) if name == "crowd"]) == 1


NASTY = 'a, b+c="d" <e>; #(f*g)\\h zoë 楽'

WAYS: dict[str, dict[str, Any]] = {
    "ldaps": {},
    "StartTLS": {"ldap_servers": "ldap://localhost:{port}"},
    "loopback": {"ldap_servers": "ldap://127.0.0.1:{port}", "ldap_start_tls": "False"},
    "direct bind": {
        "ldap_bind_template": f"uid={{{{name}}}},{PEOPLE}",
        "ldap_bind_dn": None,
        "ldap_bind_password": None,
    },
    "binary id": {"ldap_id_attribute": "objectGUID"},
}


@pytest.mark.parametrize("way", WAYS)
def test_it_works_in_each_way_and_with_every_name(start: Start, way: str) -> None:
    port = directory().port
    server = start(**{key: value and value.format(port=port) for key, value in WAYS[way].items()})
    dn = directory().person(NASTY, PASSWORD)
    directory().change(dn, objectGUID=b"\x00*()\\\xff")
    assert sign_in(server, NASTY).url.path == "/account"
    assert sign_in(server, NASTY, "a wrong password").status_code == 401
    assert list(accounts(server)) == [NASTY]


def test_wrong_and_unknown_answer_alike_and_ask_the_directory_as_much(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 10: find out, by text or time, who is there. Source: OWASP ASVS 5.0 6.3.8, CWE-208."""
    get_in(live, "known")
    asked: list[str] = []
    for name in ("bind", "search"):
        real = getattr(ldap3.Connection, name)

        def spy(*words: Any, _name: str = name, _real: Any = real, **more: Any) -> Any:
            asked.append(_name)
            return _real(*words, **more)

        monkeypatch.setattr(ldap3.Connection, name, spy)
    pages = []
    for name in ("known", "nobody"):
        page = sign_in(live, name, "a wrong password")
        assert page.status_code == 401
        pages.append(page.text.replace(name, ""))
        asked.append("")
    assert without_tokens(pages[0]) == without_tokens(pages[1])
    assert asked == ["bind", "search", "bind", ""] * 2


def without_tokens(page: str) -> str:
    return re.sub(r'value="[^"]*"', "", page)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "*",
            "victi*",
            "*)(uid=*",
            "victim)(|(uid=*",
            "victim)(objectClass=*))(|(a=b",
            "\\76ictim",
            ")(",
            "(",
        ),
        *(f"victim,{PEOPLE}", f"uid=victim,{PEOPLE}", "victim+cn=victim", "victim\\", "#04", "victim\u00ad"),
        *(
            "vic\ntim",
            "\u202evictim",
            "\uff56ictim",
            "victim\u0301",
            "x" * 300,
            "x" * 30_000,
            "\U000e0076ictim",
        ),
    ],
)
def test_a_name_is_only_a_name(live: Live, name: str) -> None:
    """Attack 11c: put a filter, a distinguished name or odd Unicode into the user name.
    Source: CWE-90, RFC 4515 3, RFC 4514 2.4.
    """
    directory().person("victim", PASSWORD)
    assert sign_in(live, name).status_code == 401
    assert sign_in(live, "victim").url.path == "/account"
    assert name not in accounts(live)


@pytest.mark.parametrize("name", ["", "x" * 257, "\0", "\u202evictim", "victim\n", "\u00advictim"])
def test_what_can_be_no_name_is_not_asked_for(start: Start, other: OpenLDAP, name: str) -> None:
    """Attack 11c: send odd names on to the directory, and have it fail. Source: CWE-20."""
    other.stop()
    settings: Any = start(**at(other)).settings
    with pytest.raises(NotRight):
        Directory(settings).authenticate(name, PASSWORD)
    with pytest.raises(Unavailable):
        Directory(settings).authenticate("victim", PASSWORD)
    other.start()


def test_a_nul_in_the_name_is_no_name(live: Live) -> None:
    """Attack 11c: cut the name in two for one of two parsers. Source: CWE-158."""
    directory().person("victim", PASSWORD)
    assert sign_in(live, "victim\0").status_code == 400


@pytest.mark.parametrize("password", ["", " ", "\u00ad", "\u200b\ufeff"])
@pytest.mark.parametrize("way", ["ldaps", "direct bind"])
def test_no_password_is_no_way_in(start: Start, way: str, password: str) -> None:
    """Attack 11c: bind without a password, which makes the bind anonymous and successful.
    Source: RFC 4513 5.1.2, 6.3.1.
    """
    server = start(**{key: value and value.format() for key, value in WAYS[way].items()})
    directory().person("victim", PASSWORD)
    assert sign_in(server, "victim", password).status_code in (400, 401)
    settings: Any = server.settings
    with pytest.raises(NotRight):
        Directory(settings).authenticate("victim", password)
    assert accounts(server) == {}


def test_a_name_that_finds_more_than_one_entry_finds_none(live: Live) -> None:
    """Attack 11c: get an entry of one's own found by another's name. Source: CWE-694."""
    directory().person("twin", PASSWORD)
    below = f"ou=below,{PEOPLE}"
    directory().add(below, ["organizationalUnit"])
    directory().add(f"uid=twin,{below}", ["inetOrgPerson"], cn="twin", sn="twin", userPassword="another")
    with structlog.testing.capture_logs() as logged:
        assert sign_in(live, "twin").status_code == 401
        assert sign_in(live, "twin", "another").status_code == 401
    reasons = [entry["reason"] for entry in logged if entry["event"] == "sign-in failed"]
    assert reasons == ["several entries have this name"] * 2


def test_a_template_that_leads_to_another_entry_is_not_enough(start: Start) -> None:
    """Attack 11c: be known to a bind by the name that another entry is found by. Source: CWE-287."""
    server = start(**WAYS["direct bind"] | {"ldap_bind_template": f"cn={{name}},{GROUPS}"})
    directory().person("boss", "the password of the boss")
    mallory = f"cn=boss,{GROUPS}"
    directory().add(mallory, ["person"], sn="mallory", userPassword=PASSWORD)
    assert sign_in(server, "boss").status_code == 401
    directory().change(mallory, userPassword="the password of the boss")
    assert sign_in(server, "boss", "the password of the boss").url.path == "/account"


def test_two_entries_whose_names_read_alike_do_not_share_an_account(live: Live) -> None:
    """Attack 11c: have a name that folds to another's. Source: Unicode TR36 2.10.2, CVE-2019-19844."""
    get_in(live, "strasse")
    directory().person("straße", PASSWORD)
    page = sign_in(live, "straße")
    assert page.status_code == 403
    assert "users delete" in page.text
    assert accounts(live)["strasse"]


def test_guesses_are_slowed_before_the_directory_is_asked(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 10: guess passwords, or have the directory lock its owner out. Source: NIST SP 800-63B 5.2.2."""
    server = start()
    directory().person("zoë", PASSWORD)
    asked: list[str] = []
    real = Directory.authenticate

    def authenticate(self: Directory, name: str, password: str) -> Any:
        asked.append(name)
        return real(self, name, password)

    monkeypatch.setattr(Directory, "authenticate", authenticate)
    spellings = ("zoë", "ZOË", "zoe\u0308") * 3
    statuses = [sign_in(server, name, "wrong").status_code for name in spellings]
    assert statuses == [401] * 5 + [429] * 4
    assert len(asked) == 5


def test_a_storm_of_sign_ins_is_turned_away_and_stops_no_token(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 10: sign in while the directory is slow, until nothing else gets its turn. Source: CWE-400."""
    monkeypatch.setattr(limits, "DIRECTORY_QUESTIONS_AT_ONCE", 1)
    monkeypatch.setattr(limits, "DIRECTORY_QUESTIONS_WAITING", 1)
    server = start()
    client = OAuthClient(server)
    tokens = client.tokens(new_person(server, "alice"))
    asking, go_on = threading.Event(), threading.Event()

    def authenticate(*_: object) -> None:
        asking.set()
        go_on.wait(300)
        raise NotRight

    monkeypatch.setattr(Directory, "authenticate", authenticate)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(sign_in, server, "one")
        assert asking.wait(300)
        others = [pool.submit(sign_in, server, name) for name in ("two", "three")]
        done, waiting = wait(others, return_when=FIRST_COMPLETED)
        refreshed = client.refresh(tokens["refresh_token"])
        go_on.set()
        assert refreshed.status_code == 200
        [busy] = [attempt.result() for attempt in done]
        assert [attempt.result().status_code for attempt in (first, *waiting)] == [401, 401]
    assert busy.status_code == 503
    assert int(busy.headers["retry-after"]) > 0


# --------------------------------------------------------------------------------- on the way there


def is_refused_for_the_directory(page: Any) -> None:
    assert page.status_code == 503
    assert int(page.headers["retry-after"]) > 0
    assert "directory does not answer" in page.text


@pytest.mark.parametrize("authority", ["another", "the system's"])
@pytest.mark.parametrize("url", ["ldaps://localhost:{tls_port}", "ldap://localhost:{port}"])
def test_a_certificate_of_a_stranger_is_refused(
    start: Start, tmp_path: Path, url: str, authority: str
) -> None:
    """Attack 11c: answer in place of the directory, with a certificate of one's own. Source: CWE-295."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "another.pem")
    here = directory()
    server = start(
        ldap_servers=url.format(port=here.port, tls_port=here.tls_port),
        ldap_ca_file=tmp_path / "another.pem" if authority == "another" else None,
    )
    directory().person("victim", PASSWORD)
    is_refused_for_the_directory(sign_in(server, "victim"))


@pytest.mark.parametrize("url", ["ldaps://127.0.0.1:{tls_port}", "ldap://127.0.0.1:{port}"])
def test_a_certificate_for_another_host_is_refused(start: Start, url: str) -> None:
    """Attack 11c: answer with a certificate that the company gave to another machine.
    Source: RFC 4513 3.1.3, CWE-297.
    """
    here = directory()
    server = start(ldap_servers=url.format(port=here.port, tls_port=here.tls_port))
    directory().person("victim", PASSWORD)
    is_refused_for_the_directory(sign_in(server, "victim"))


# RFC 4511 section 4: how messages and their parts begin.
BIND_REQUEST, BIND_RESPONSE, EXTENDED_RESPONSE = b"\x02\x01\x03\x04", 0x61, 0x78


def response(request: bytes, code: int, kind: int = EXTENDED_RESPONSE) -> bytes:
    """Answer a short request with this result code (RFC 4511 section 4.1.9)."""
    message_id = request[2 : 4 + request[3]]
    operation = bytes([kind, 7, 0x0A, 1, code, 4, 0, 4, 0])
    return bytes([0x30, len(message_id) + len(operation)]) + message_id + operation


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: response(request, 2),  # protocolError: no StartTLS here
        lambda request: response(request, 53),  # unwillingToPerform
        lambda request: response(request, 0) + response(request, 0),
        lambda request: b"\x30\x84\xff\xff\xff\xff",
        lambda request: b"HTTP/1.1 400 Bad Request\r\n\r\n",
        lambda request: b"\x30\x00",
    ],
    ids=["no", "unwilling", "twice", "endless", "http", "empty"],
)
def test_where_tls_is_stripped_no_password_is_sent(
    start: Start, listen: Callable[..., Listener], answer: Callable[[bytes], bytes]
) -> None:
    """Attack 11c: stand between, and strip StartTLS. Source: RFC 4513 3.1.5, 5.1.1; CVE-2011-0411."""
    between = listen(lambda request: [answer(request)])
    server = start(ldap_servers=f"ldap://127.0.0.1:{between.port}", ldap_timeout_seconds=1)
    is_refused_for_the_directory(sign_in(server, "victim"))
    assert between.connections == 1
    sent = b"".join(between.received)
    assert b"1.3.6.1.4.1.1466.20037" in sent
    for secret in (PASSWORD, SERVICE_PASSWORD, "victim", "cn=service"):
        assert secret.encode() not in sent


def test_no_bind_goes_without_tls(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 11c: have the library take a failed StartTLS for a success. Source: RFC 4513 5.1.1, CWE-319."""
    monkeypatch.setattr(ldap3.Connection, "start_tls", lambda *_, **__: True)
    server = start(ldap_servers=f"ldap://localhost:{directory().port}")
    directory().person("victim", PASSWORD)
    is_refused_for_the_directory(sign_in(server, "victim"))


def test_a_server_that_hangs_is_left_and_asked_last(start: Start, listen: Callable[..., Listener]) -> None:
    """Attack 11c: take connections and never answer. Source: CWE-400."""
    hanging, ready = listen(), f"ldaps://localhost:{directory().tls_port}"
    server = start(ldap_servers=f"ldap://127.0.0.1:{hanging.port}, {ready}", ldap_timeout_seconds=1)
    directory().person("patient", PASSWORD)
    for _ in range(3):
        assert sign_in(server, "patient").url.path == "/account"
    assert hanging.connections == 1


@pytest.mark.parametrize("at", ["TLS", "StartTLS", "bind", "search"])
def test_a_server_that_drips_is_cut_off(start: Start, listen: Callable[..., Listener], at: str) -> None:
    """Attack 11c: answer byte by byte, each in time, and hold the threads of sign-ins. Source: CWE-400."""
    ran_dry: list[bool] = []

    def drip(request: bytes) -> Iterator[bytes]:
        if at == "search" and BIND_REQUEST in request:
            yield response(request, 0, BIND_RESPONSE)
            return
        # As much is to follow as a record of TLS holds, or a megabyte.
        yield b"\x16\x03\x03\x40\x00" if at == "TLS" else b"\x30\x84\x00\x0f\xff\xff"
        for _ in range(200):
            time.sleep(0.1)
            yield b"\x00"
        ran_dry.append(True)

    server = start(
        ldap_servers=f"{'ldaps' if at == 'TLS' else 'ldap'}://127.0.0.1:{listen(drip).port}",
        ldap_start_tls=at == "StartTLS",
        ldap_timeout_seconds=1,
    )
    is_refused_for_the_directory(sign_in(server, "victim"))
    assert not ran_dry


def test_an_entry_without_a_name_is_nobodys(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 11c: have an empty name found, with which a bind is anonymous. Source: RFC 4513 5.1.1."""
    server = start()
    find = Directory._find

    def find_nameless(*words: Any) -> Any:
        found, reason = find(*words)
        return found and found | {"dn": ""}, reason

    directory().person("nameless", PASSWORD)
    monkeypatch.setattr(Directory, "_find", find_nameless)
    is_refused_for_the_directory(sign_in(server, "nameless", "a wrong password"))


def test_the_next_server_takes_over_and_a_dead_directory_is_no_wrong_password(
    start: Start, other: OpenLDAP
) -> None:
    here = directory()
    both = f"ldap://localhost:{other.port},ldap://localhost:{here.port}"
    server, only_other = start(**at(other) | {"ldap_servers": both}), start(**at(other))
    for each in (here, other):
        each.person("patient", PASSWORD)
    other.person("impatient", PASSWORD)
    other.stop()
    assert sign_in(server, "patient").url.path == "/account"
    for _ in range(7):  # these are no attempts at a password
        is_refused_for_the_directory(sign_in(only_other, "impatient", "a wrong password"))
    other.start()
    assert sign_in(only_other, "impatient").url.path == "/account"


def test_referrals_lead_nowhere(start: Start, listen: Callable[..., Listener], other: OpenLDAP) -> None:
    """Attack 11c: have an entry refer to a server of the attacker, who then vouches for anybody.
    Source: RFC 4511 4.1.10, 4.5.3.
    """
    attacker = listen()
    for name in ("mallory", "ou=branch"):
        dn = f"{name if '=' in name else f'uid={name}'},{PEOPLE}"
        other.add(dn, ["referral", "extensibleObject"], ref=f"ldap://127.0.0.1:{attacker.port}/{dn}??sub")
    other.person("honest", PASSWORD)
    server = start(**at(other))
    assert sign_in(server, "mallory").status_code == 401
    assert sign_in(server, "honest").url.path == "/account"
    moved = start(**at(other) | {"ldap_base": f"ou=branch,{PEOPLE}"})
    is_refused_for_the_directory(sign_in(moved, "mallory"))
    assert attacker.connections == 0


def test_what_the_directory_says_reaches_neither_page_nor_log(start: Start) -> None:
    """Attack 26: read in page or log what the directory, or the settings, hold. Source: CWE-209."""
    server = start(ldap_servers=f"ldap://localhost:{directory().port}", ldap_base="dc=elsewhere,dc=com")
    wrong = start(ldap_bind_password="not the service account's")
    with structlog.testing.capture_logs() as logged:
        pages = [sign_in(server, "victim"), sign_in(wrong, "victim")]
    for page in pages:
        is_refused_for_the_directory(page)
        assert "noSuchObject" not in page.text
    failures = [entry for entry in logged if entry["event"] == "directory server failed"]
    assert [entry["reason"] for entry in failures] == [
        "the answer to a search was noSuchObject",
        "AUTH_LDAP_BIND_DN: the service account is refused (invalidCredentials)",
    ]
    for secret in (PASSWORD, SERVICE_PASSWORD, "not the service account's"):
        assert secret not in str(logged)
        assert secret not in repr(wrong.settings) + repr(server.settings)


# -------------------------------------------------------------------------------------------- groups


@pytest.mark.parametrize(("called", "answers"), [("Zoe", 1), ("zoe-alias", 2)])
def test_a_sign_in_that_is_under_way_ends_with_all_access(
    start: Start, monkeypatch: pytest.MonkeyPatch, called: str, answers: int
) -> None:
    """Attack 12: show the old password while an operator ends access. Source: OWASP ASVS 5.0 7.4.5, CWE-367.

    By another name than the account's, its epoch is known only afterwards: the directory is asked again.
    """
    server = start()
    get_in(server, "Zoe", uid=["Zoe", "zoe-alias"])
    authenticate = Directory.authenticate

    async def end(storage: Any) -> None:
        assert await storage.users.end_access((await storage.users.get("Zoe")).subject, Ending())

    anyio.run(server.on_storage, end)
    asked: list[str] = []

    def then_end(directory: Directory, name: str, password: str) -> Any:
        entry = authenticate(directory, name, password)
        asked.append(name)
        if len(asked) == answers:
            anyio.run(server.on_storage, end)
        return entry

    monkeypatch.setattr(Directory, "authenticate", then_end)
    person = Person(server, called)
    assert person.sign_in(person.get("/login")).url.path == "/login"
    assert person.get("/account").url.path == "/login"
    assert asked == [called] * answers
    assert person.sign_in(person.get("/login")).url.path == "/account"
    assert list(accounts(server)) == ["Zoe"]


def test_groups_map_to_scopes_at_each_sign_in(start: Start) -> None:
    dn = directory().person("member", PASSWORD)
    editors, admins = directory().group("editors", dn), directory().group("Admins", dn)
    spaced = admins.upper().replace(",", ", ")
    server = start(ldap_group_scopes=f'{{"{editors}": "write", "{spaced}": "*", "cn=x,{GROUPS}": "admin"}}')
    person = Person(server, "member")
    person.sign_in(person.get("/login"))
    client = OAuthClient(server)
    tokens = client.tokens(person, scope="write admin")
    assert tokens["scope"].split() == ["read", "write", "admin"]
    directory().remove(admins)
    sign_in(server, "member")
    assert accounts(server)["member"].scopes == ("read", "write")
    assert client.refresh(tokens["refresh_token"]).json()["scope"] == "read write"
    directory().remove(editors)
    check(server)
    assert accounts(server)["member"].scopes is None
    assert client.refresh(tokens["refresh_token"]).json()["scope"] == "read"


@pytest.mark.parametrize(
    "groups_filter", ["(member={dn})", "(&(objectClass=groupOfNames)(description={name}))"]
)
def test_groups_can_be_searched_for(start: Start, groups_filter: str) -> None:
    dn = directory().person(NASTY, PASSWORD)
    group = f"cn=searched,{GROUPS}"
    directory().add(group, ["groupOfNames"], member=dn, description=NASTY)
    for more in ({}, WAYS["direct bind"]):
        server = start(
            ldap_groups_attribute="none",
            ldap_groups_base=GROUPS,
            ldap_groups_filter=groups_filter,
            ldap_group_scopes={group: "write"},
            **{key: value and value.format() for key, value in more.items()},
        )
        assert sign_in(server, NASTY).url.path == "/account"
        assert accounts(server)[NASTY].scopes == ("read", "write")
    directory().remove(group)


@pytest.mark.parametrize(
    "written",
    [
        r"CN=GRÜSSE\2c \+ \3d, ",
        "cn=Gru\u0308ße\\, \\2b \\=,",  # as a Mac writes it
        r"cn=Grüße\,   \2b \=,",
    ],
    ids=["escapes", "accents", "spaces"],
)
def test_a_group_is_the_same_however_its_name_is_written(start: Start, written: str) -> None:
    """RFC 4514 section 2.4, RFC 4518 sections 2.3 and 2.6.1."""
    dn = directory().person("escaped", PASSWORD)
    group = directory().group(r"Grüße\, \2b \=", dn)
    server = start(ldap_group_scopes={f"{written}{GROUPS}": "write"})
    assert sign_in(server, "escaped").url.path == "/account"
    assert accounts(server)["escaped"].scopes == ("read", "write")
    directory().remove(group)


def test_a_group_whose_name_reads_like_anothers_is_not_that_one(start: Start) -> None:
    """Attack 11c: be in a group whose name holds the whole name of another. Source: RFC 4514 2.4."""
    dn = directory().person("climber", PASSWORD)
    group = directory().group(escape_rdn(f"admins,{GROUPS}"), dn)
    server = start(ldap_group_scopes={f"cn=admins,{GROUPS},{GROUPS}": "admin"})
    assert sign_in(server, "climber").url.path == "/account"
    assert accounts(server)["climber"].scopes is None
    directory().remove(group)


def test_without_mapped_groups_scopes_are_the_operators(live: Live) -> None:
    get_in(live, "kept")
    anyio.run(live.on_storage, lambda storage: storage.users.set_scopes("kept", ["admin"]))
    sign_in(live, "kept")
    check(live)
    assert accounts(live)["kept"].scopes == ("admin",)


# ------------------------------------------------------------------------------- when access ends


NOW = datetime.now(UTC).strftime("%Y%m%d%H%M%SZ")
LONG_AGO, FAR = (str((int(seconds) + 11_644_473_600) * 10**7) for seconds in (1e9, 1e10))


@pytest.mark.parametrize(
    "change",
    [
        {"userAccountControl": "514"},
        {"accountExpires": LONG_AGO},
        {"nsAccountLock": "TRUE"},
        {"pwdAccountLockedTime": "000001010000Z"},
        {"employeeType": "left"},
        {},
    ],
    ids=lambda change: next(iter(change), "removed"),
)
def test_who_is_disabled_in_the_directory_loses_everything_until_they_are_back(
    start: Start, change: dict[str, str]
) -> None:
    """Attack 12: go on after the directory closed the account. Source: OWASP ASVS 5.0 7.4.2."""
    server = start(ldap_filter="(&(objectClass=person)(!(employeeType=left)))")
    name = f"leaver-{next(iter(change), 'removed')}"
    person, stays = get_in(server, name), get_in(server, "stays")
    client = OAuthClient(server)
    tokens, others = client.tokens(person), client.tokens(stays)
    subject = accounts(server)[name].subject
    if change:
        directory().change(named(name), **change)
    else:
        directory().remove(named(name))
    assert alive(server, tokens["access_token"])  # nobody looked yet
    assert sign_in(server, name).status_code == 401
    check(server)
    assert ended(server, tokens["access_token"])
    assert client.refresh(tokens["refresh_token"]).status_code == 400
    assert person.get("/account").url.path == "/login"
    assert alive(server, others["access_token"])
    if change:
        directory().change(named(name), **dict.fromkeys(change))
        check(server)
        assert accounts(server)[name].disabled_at is None
        assert client.refresh(tokens["refresh_token"]).status_code == 400  # what ended stays so
        assert sign_in(server, name).url.path == "/account"
        assert accounts(server)[name].subject == subject


@pytest.mark.parametrize(
    "change",
    [
        {"pwdAccountLockedTime": NOW},
        {"userAccountControl": "512", "accountExpires": FAR},
        {"accountExpires": "0"},
    ],
    ids=["locked by guesses", "later", "never"],
)
def test_a_lock_by_guesses_and_an_end_to_come_end_no_grant(start: Start, change: dict[str, str]) -> None:
    """Attack 12: guess until the directory locks somebody, to end their grants. Source: CWE-645."""
    server = start()
    person = get_in(server, "locked")
    tokens = OAuthClient(server).tokens(person)
    directory().change(named("locked"), **change)
    check(server)
    assert alive(server, tokens["access_token"])
    directory().change(named("locked"), **dict.fromkeys(change))


def test_who_comes_back_may_sign_in_before_the_next_check(start: Start) -> None:
    server = start()
    get_in(server, "back")
    directory().change(named("back"), userAccountControl="514")
    check(server)
    directory().change(named("back"), userAccountControl="512")
    assert sign_in(server, "back").url.path == "/account"
    assert accounts(server)["back"].disabled_at is None


def test_who_an_operator_disabled_stays_so(start: Start) -> None:
    server = start()
    get_in(server, "banned")
    anyio.run(server.on_storage, lambda storage: storage.users.disable("banned"))
    check(server)
    assert sign_in(server, "banned").status_code == 401
    assert accounts(server)["banned"].disabled_at is not None


def test_who_an_operator_disabled_after_the_directory_stays_so(start: Start) -> None:
    """Attack 12: come back when the directory enables whom an operator disabled. Source: CWE-863."""
    server = start()
    get_in(server, "twice")
    directory().change(named("twice"), userAccountControl="514")
    check(server)
    anyio.run(server.on_storage, lambda storage: storage.users.disable("twice"))
    directory().change(named("twice"), userAccountControl="512")
    check(server)
    assert sign_in(server, "twice").status_code == 401
    assert accounts(server)["twice"].disabled_by == "operator"


@pytest.mark.parametrize(
    ("other", "down"), [("", True), ("sizelimit 1", False)], indirect=["other"], ids=["down", "partly"]
)
def test_a_directory_that_is_down_or_answers_partly_disables_nobody(
    start: Start, other: OpenLDAP, down: bool
) -> None:
    server = start(**at(other))
    for name in ("one", "two"):
        other.person(name, PASSWORD)
        assert sign_in(server, name).url.path == "/account"
    if down:
        other.stop()
    with pytest.raises(Unavailable):
        check(server)
    assert [user.disabled_at for user in accounts(server).values()] == [None, None]


@pytest.mark.parametrize("seen_by", ["check", "sign-in"])
def test_a_renamed_person_keeps_their_account(start: Start, seen_by: str) -> None:
    server = start()
    old, new = f"old-{seen_by}", f"new-{seen_by}"
    tokens = OAuthClient(server).tokens(get_in(server, old))
    subject = accounts(server)[old].subject
    directory().rename(named(old), new)
    if seen_by == "check":
        check(server)
    else:
        sign_in(server, new)
    assert list(accounts(server)) == [new]
    assert accounts(server)[new].subject == subject
    assert alive(server, tokens["access_token"])
    get_in(server, old)  # somebody else, who is given the name
    assert accounts(server)[old].subject != subject


def test_who_is_given_the_name_of_somebody_who_left_gets_nothing_of_theirs(start: Start) -> None:
    """Attack 11c: be given the name of an account that still has grants. Source: RFC 4530 1, CWE-672."""
    server = start()
    person = get_in(server, "reused")
    subject = accounts(server)["reused"].subject
    directory().remove(named("reused"))
    directory().person("reused", PASSWORD)
    assert sign_in(server, "reused").status_code == 403
    check(server)
    assert person.get("/account").url.path == "/login"
    assert sign_in(server, "reused").status_code == 403
    anyio.run(server.on_storage, lambda storage: storage.users.delete("reused"))
    get_in(server, "reused")
    assert accounts(server)["reused"].subject != subject


def test_a_new_name_that_somebody_else_has_changes_nobodys_scopes(start: Start) -> None:
    """Attack 11c: be renamed to what another account is still called. Source: CWE-694."""
    one, two = directory().person("swap1", PASSWORD), directory().person("swap2", PASSWORD)
    group = directory().group("swappers", two)
    server = start(ldap_group_scopes={group: "admin"})
    for name in ("swap1", "swap2"):
        assert sign_in(server, name).url.path == "/account"
    directory().remove(one)
    directory().rename(two, "swap1")
    check(server)
    assert accounts(server)["swap1"].scopes is None
    assert accounts(server)["swap2"].scopes == ("admin", "read")
    assert sign_in(server, "swap1").status_code == 403
    directory().remove(group)


def test_large_numbers_are_looked_at_in_batches(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIRECTORY_ENTRIES_AT_ONCE", 2)
    server = start()
    for number in range(5):
        get_in(server, f"many{number}")
    for number in (0, 3):
        directory().remove(named(f"many{number}"))
    check(server)
    disabled = {name for name, user in accounts(server).items() if user.disabled_at is not None}
    assert disabled == {"many0", "many3"}


def many(server: Live, other: OpenLDAP, number: int) -> None:
    """Let so many people sign in, once each."""
    for one in range(number):
        other.person(f"many{one}", PASSWORD)
        assert sign_in(server, f"many{one}").url.path == "/account"


def disabled(server: Live) -> set[str]:
    return {name for name, user in accounts(server).items() if user.disabled_at is not None}


@pytest.mark.parametrize("other", [""], indirect=True)
def test_a_directory_that_shows_nobody_disables_nobody_before_a_second_look(
    start: Start, other: OpenLDAP
) -> None:
    """Attack 18: have the directory answered by an empty copy. Source: CWE-754."""
    server = start(**at(other))
    many(server, other, 7)
    for number in range(6):
        other.remove(named(f"many{number}"))
    with structlog.testing.capture_logs() as logged:
        check(server)
    assert disabled(server) == set()
    [line] = [entry for entry in logged if entry["log_level"] == "error"]
    assert (line["gone"], line["accounts"]) == (6, 7)
    assert "AUTH_LDAP_MANY_GONE=agree" in line["event"]
    other.person("many0", PASSWORD)  # a new entry; the account is of the one that is gone
    other.remove(named("many6"))
    check(server)
    # Those who were gone twice, and not who is gone since.
    assert disabled(server) == {f"many{number}" for number in range(6)}
    check(server)
    assert len(disabled(server)) == 7


@pytest.mark.parametrize("other", [""], indirect=True)
@pytest.mark.parametrize(("answer", "gone"), [("agree", {0, 1, 2, 3, 4, 5}), ("hold", set[int]())])
def test_the_operator_may_agree_or_hold(start: Start, other: OpenLDAP, answer: str, gone: set[int]) -> None:
    server = start(**at(other), ldap_many_gone=answer)
    many(server, other, 6)
    for number in range(6):
        other.remove(named(f"many{number}"))
    check(server)
    if not gone:
        check(server)
    assert disabled(server) == {f"many{number}" for number in gone}


@pytest.mark.anyio
async def test_of_several_nodes_one_checks_and_again_later(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "_MINUTE_SECONDS", 0.02)
    nodes: list[Any] = []
    checks: list[int] = []
    for number in range(2):
        node: Any = AuthorizationServer(SCOPES, Settings.model_validate(store))
        await node.open()

        async def note(number: int = number) -> None:
            checks.append(number)
            raise Unavailable  # which the next one must survive

        monkeypatch.setattr(node.login, "check", note)
        nodes.append(node)
    for minutes, times in ((1_000_000, 1), (1, 4)):
        async with anyio.create_task_group() as tasks:
            for node in nodes:
                node.login._minutes = minutes
                tasks.start_soon(node.login.watch)
            await anyio.sleep(0.2)
            while len(checks) < times:  # noqa: ASYNC110  # the watches tell nobody
                await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
        assert times > 1 or len(checks) == 1
    for node in nodes:
        await node.close()


def test_the_server_checks_by_itself(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "_MINUTE_SECONDS", 0.02)
    server = start()
    tokens = OAuthClient(server).tokens(get_in(server, "watched"))
    directory().change(named("watched"), userAccountControl="514")
    while alive(server, tokens["access_token"]):
        time.sleep(0.05)


def test_without_a_service_account_nothing_is_looked_at_and_the_log_says_so(start: Start) -> None:
    with structlog.testing.capture_logs() as logged:
        start(**{key: value and value.format() for key, value in WAYS["direct bind"].items()})
    assert any("AUTH_LDAP_BIND_DN is not set" in entry["event"] for entry in logged)


# ------------------------------------------------------------------------------ commands and settings


def test_there_are_no_one_time_links(live: Live, operator: Operator) -> None:
    line = operator.fails("users", "invite", "alice")
    assert line.startswith("my-server: Accounts come from the directory")
    assert "\n" not in line
    page = Person(live).get("/invite/mcpiv_unknown")
    assert page.status_code == 404
    assert "<h1" in page.text


def test_the_first_start_says_where_accounts_come_from(store: dict[str, str], tmp_path: Path) -> None:
    server = Command(store, tmp_path / "output").start()
    server.stop()
    text = server.output.read_text()
    assert "Accounts come from the directory: whoever AUTH_LDAP_FILTER finds" in text
    assert f"{server.url}/login" in text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AUTH_LDAP_SERVERS", None),
        ("AUTH_LDAP_SERVERS", ""),
        ("AUTH_LDAP_SERVERS", "dc1.example.com"),
        ("AUTH_LDAP_SERVERS", "https://dc1.example.com"),
        ("AUTH_LDAP_SERVERS", "ldaps://dc1.example.com/dc=x"),
        ("AUTH_LDAP_SERVERS", "ldaps://user@dc1.example.com"),
        ("AUTH_LDAP_SERVERS", "ldaps://dc1.example.com:99999"),
        ("AUTH_LDAP_SERVERS", "ldaps://dc1.example.com,ldap://"),
        ("AUTH_LDAP_START_TLS", "perhaps"),
        ("AUTH_LDAP_CA_FILE", "/nowhere"),
        ("AUTH_LDAP_TIMEOUT_SECONDS", "0"),
        ("AUTH_LDAP_BASE", None),
        ("AUTH_LDAP_BASE", ""),
        ("AUTH_LDAP_BASE", "people"),
        ("AUTH_LDAP_FILTER", "objectClass=person"),
        ("AUTH_LDAP_FILTER", "(objectClass=person)(cn=x)"),
        ("AUTH_LDAP_NAME_ATTRIBUTE", "uid)(cn=*"),
        ("AUTH_LDAP_GROUPS_ATTRIBUTE", "member of"),
        ("AUTH_LDAP_GROUPS_BASE", "groups"),
        ("AUTH_LDAP_GROUPS_FILTER", "member={dn}"),
        ("AUTH_LDAP_GROUPS_FILTER", "(objectClass=groupOfNames)"),
        ("AUTH_LDAP_MANY_GONE", "perhaps"),
        ("AUTH_LDAP_SERVERS", "ldaps://bücher.example"),
        ("AUTH_LDAP_GROUP_SCOPES", "editors=write"),
        ("AUTH_LDAP_GROUP_SCOPES", '{"cn=x,dc=x": "read", "cn=x,dc=x": "admin"}'),
        ("AUTH_LDAP_GROUP_SCOPES", '{"editors": "write"}'),
        ("AUTH_LDAP_GROUP_SCOPES", '{"cn=editors,dc=x": ["write"]}'),
        ("AUTH_LDAP_GROUP_SCOPES", '{"cn=editors,dc=x": "no-such-scope"}'),
        ("AUTH_LDAP_CHECK_MINUTES", "0"),
        ("AUTH_LDAP_BIND_TEMPLATE", "uid=name,dc=x"),
        ("AUTH_LDAP_BIND_TEMPLATE", "uid={name},dc=x"),  # beside AUTH_LDAP_BIND_DN
        ("AUTH_LDAP_BIND_PASSWORD", ""),
        ("AUTH_LDAP_BIND_PASSWORD", None),
        ("AUTH_LDAP_BIND_PASSWORD_FILE", "/nowhere"),
        ("AUTH_LDAP_BIND_DN", None),
    ],
)
def test_a_wrong_setting_is_named_with_an_example(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None
) -> None:
    for name, given in store.items():
        monkeypatch.setenv(f"AUTH_{name.upper()}", given)
    if variable == "AUTH_LDAP_BIND_PASSWORD_FILE":
        monkeypatch.delenv("AUTH_LDAP_BIND_PASSWORD")
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refusal:
        assert AuthorizationServer(SCOPES, load_settings()).login
    line = str(refusal.value)
    assert line.startswith(f"{variable}: ")
    assert f"Example: {variable.removesuffix('_FILE')}" in line
    assert "\n" not in line


def test_passwords_never_go_to_another_machine_in_clear(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 11c: listen on the way to the directory. Source: RFC 4513 6.3.1, CWE-319."""
    monkeypatch.setenv("AUTH_LDAP_START_TLS", "False")
    for name, given in store.items():
        monkeypatch.setenv(f"AUTH_{name.upper()}", given)
    for url, fine in (
        ("ldap://dc1.example.com", False),
        ("ldap://127.0.0.1.example.com", False),
        ("ldaps://dc1.example.com,ldap://dc2.example.com", False),
        ("ldaps://dc1.example.com", True),
        ("ldap://localhost:1389,ldap://[::1],ldap://127.0.0.1", True),
    ):
        monkeypatch.setenv("AUTH_LDAP_SERVERS", url)
        load_settings.cache_clear()
        if fine:
            assert load_settings()
        else:
            with pytest.raises(SettingsError, match=r"^AUTH_LDAP_START_TLS: .* in clear"):
                load_settings()


def test_the_service_accounts_password_may_come_from_a_file(
    start: Start, store: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text(SERVICE_PASSWORD + "\n")
    server = start(ldap_bind_password=None, ldap_bind_password_file=file)
    directory().person("filed", PASSWORD)
    assert sign_in(server, "filed").url.path == "/account"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ["AUTH_LDAP_FILTER"]),
        ({"ldap_filter": "(memberOf=cn=mcp,dc=example,dc=com)"}, []),
        (
            {"ldap_bind_dn": None, "ldap_bind_template": "{name}@example.com"},
            ["AUTH_LDAP_BIND_TEMPLATE", "AUTH_LDAP_FILTER"],
        ),
        ({"ldap_check_minutes": 600}, ["AUTH_LDAP_CHECK_MINUTES", "AUTH_LDAP_FILTER"]),
    ],
)
def test_doctor_says_who_gets_in_and_how_late_they_are_shut_out(
    changes: dict[str, Any], said: list[str]
) -> None:
    settings = {**directory().settings(), "second_factor": "required", **changes}
    assert [finding.about for finding in login.checks(login.Settings.model_validate(settings))] == said


# ------------------------------------------------------------------------------ what the directory shows


def shown(**settings: Any) -> list[str]:
    """Return what doctor says of the directory with these settings."""
    judged = login.Settings.model_validate(directory().settings() | settings)
    return [finding.about + ": " + finding.what for finding in survey(judged, Directory(judged))]


@pytest.mark.parametrize("other", [""], indirect=True)
def test_a_status_that_the_service_account_may_not_read_is_told(
    store: dict[str, str], other: OpenLDAP, tmp_path: Path
) -> None:
    """Attack 11c: keep access by an account that is closed where nobody looks. Source: CWE-636."""
    settings = at(other) | {"ldap_id_attribute": "objectGUID"}
    other.person("ann", PASSWORD, objectGUID=b"0123456789abcdef")
    [said] = shown(**settings)
    assert said.startswith("AUTH_LDAP_BIND_DN: the service account sees no userAccountControl")
    server = Command(store | settings, tmp_path / "printed").start()
    server.stop()
    assert "unsafe: AUTH_LDAP_BIND_DN: the service account sees no" in (tmp_path / "printed").read_text()
    other.change(named("ann"), userAccountControl="512")
    assert shown(**settings) == []


@pytest.mark.parametrize("other", [""], indirect=True)
def test_groups_that_match_nobody_are_told(other: OpenLDAP) -> None:
    inner = other.group("inner", other.person("ann", PASSWORD))
    outer = other.group("outer", inner)
    scopes = {inner: "read", outer: "read", f"cn=nowhere,{GROUPS}": "read"}
    said = shown(**at(other), ldap_group_scopes=scopes)
    assert said == [
        f"AUTH_LDAP_GROUP_SCOPES: {outer} holds the group {inner}, whose members are not its own here",
        f"AUTH_LDAP_GROUP_SCOPES: there is no cn=nowhere,{GROUPS}",
    ]
    nested = f"(|(uid=*)(memberOf:1.2.840.113556.1.4.1941:={outer}))"
    [told] = shown(**at(other), ldap_filter=nested)
    assert told.startswith("AUTH_LDAP_FILTER: only Active Directory knows 1.2.840.113556.1.4.1941")


@pytest.mark.parametrize("other", [""], indirect=True)
def test_each_server_that_cannot_be_reached_is_told(other: OpenLDAP) -> None:
    other.person("ann", PASSWORD)
    settings = at(other)
    both = settings | {"ldap_servers": f"{settings['ldap_servers']},ldaps://localhost:1"}
    assert shown(**both) == ["AUTH_LDAP_SERVERS: ldaps://localhost:1 gave no answer that can be used"]
    other.stop()
    assert len(shown(**both)) == 2
    other.start()


def test_a_name_that_nobody_resolves_is_waited_for_as_long_as_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver is the one thing here that a test cannot let hang for real."""
    settings = directory().settings() | {"ldap_timeout_seconds": "1"}
    let_go = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: let_go.wait(20) and [])
    asked = Directory(login.Settings.model_validate(settings))
    with structlog.testing.capture_logs() as logged, pytest.raises(Unavailable):
        asked.look_up([b"x"])
    assert not let_go.is_set()
    assert [entry["reason"] for entry in logged] == ["its name is not found in time"]
    let_go.set()
