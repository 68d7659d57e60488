"""TLS without a proxy: real handshakes with certificates of an authority that the tests make."""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from certificates import Authority
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from operators import Operator
from ports import free_port

from authserver import clock
from authserver.tls import Certified, Pair, is_for

HOST = "localhost"


@pytest.fixture(autouse=True)
def _nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that should have been refused ends the test, and does not go on for ever."""
    monkeypatch.setattr("authserver.upstream.run", lambda *_: pytest.fail("it was not refused"))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> Pair:
    """A good pair of files."""
    authority.write(tmp_path, HOST)
    return Pair(tmp_path / "certificate.pem", tmp_path / "key.pem", HOST)


def serial(pair: Pair) -> int:
    """Return which certificate is in the file."""
    return pair.leaf().serial_number


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem())


class Listener:
    """A socket that shows a certificate, and answers what it is sent."""

    def __init__(self, certified: Certified) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._certified = certified
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with self._certified.context.wrap_socket(connection, server_side=True) as wrapped:
                while data := wrapped.recv(100):
                    wrapped.sendall(data)
        except OSError:
            connection.close()

    def connected(self, context: ssl.SSLContext, host: str | None = HOST) -> ssl.SSLSocket:
        return context.wrap_socket(socket.create_connection(self._server.getsockname()), server_hostname=host)

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def listen() -> Iterator[Callable[[Certified], Listener]]:
    listeners: list[Listener] = []

    def one(certified: Certified) -> Listener:
        listeners.append(Listener(certified))
        return listeners[-1]

    yield one
    for listener in listeners:
        listener.close()


def shown(connection: ssl.SSLSocket) -> int:
    """Return which certificate a connection was shown."""
    return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"").serial_number


# ---------------------------------------------------------------------------------------------- a new pair


@pytest.mark.parametrize("named", [True, False], ids=["the host is named", "no host is named"])
def test_a_new_pair_is_shown_to_new_connections_and_old_ones_live(
    authority: Authority, pair: Pair, listen: Callable[[Certified], Listener], named: bool
) -> None:
    certified, context = Certified(pair), trusting(authority)
    if not named:
        context.check_hostname = False
    listener, host, first = listen(certified), HOST if named else None, serial(pair)
    with listener.connected(context, host) as before:
        assert shown(before) == first
        authority.write(pair.certificate.parent, HOST)
        certified.look()
        with listener.connected(context, host) as after:
            assert shown(after) == serial(pair) != first
        before.sendall(b"still here")
        assert before.recv(100) == b"still here"


def replaced(authority: Authority, pair: Pair) -> dict[str, Callable[[], object]]:
    """Return how files can be replaced wrongly."""
    folder, whole = pair.certificate.parent, pair.certificate.read_bytes()
    return {
        "another key": lambda: authority.write(folder, HOST, key="another.pem"),
        "half a certificate": lambda: pair.certificate.write_bytes(whole[:-100]),
        "half a key": lambda: pair.key.write_bytes(pair.key.read_bytes()[:100]),
        "nothing": lambda: pair.certificate.write_bytes(b""),
        "no file": pair.key.unlink,
        "a key with a password": lambda: pair.key.write_bytes(locked(pair.key)),
        "one that ran out": lambda: authority.write(folder, HOST, days=0.01),
        "one that has not begun": lambda: authority.write(folder, HOST, begins=2),
        "one of another host": lambda: authority.write(folder, "other.example"),
    }


def locked(key: Path) -> bytes:
    """Return a private key under a password."""
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hush"),
    )


WRONG = (
    "another key", "half a certificate", "half a key", "nothing", "no file", "a key with a password",
    "one that ran out", "one that has not begun", "one of another host",
)  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_pair_is_not_taken_and_said_once(
    authority: Authority, pair: Pair, listen: Callable[[Certified], Listener], wrong: str
) -> None:
    """Attack 26: let a server go on without its key by half a certificate. Source: threat model."""
    certified, context, first = Certified(pair), trusting(authority), serial(pair)
    listener = listen(certified)
    replaced(authority, pair)[wrong]()
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            certified.look()
    [line] = logs
    assert line["log_level"] == "warning"
    assert re.fullmatch(r"AUTH_TLS_(KEY|CERTIFICATE)_FILE: [^\n]+ Example: [^\n]+", line["reason"])
    with listener.connected(context) as connection:
        assert shown(connection) == first
    authority.write(pair.certificate.parent, HOST)
    certified.look()
    with listener.connected(context) as connection:
        assert shown(connection) == serial(pair) != first


def test_a_pair_that_begins_later_is_taken_then(
    authority: Authority, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    certified = Certified(pair)
    authority.write(pair.certificate.parent, HOST, begins=2)
    with structlog.testing.capture_logs() as logs:
        certified.look()
        now = clock.now()
        monkeypatch.setattr("authserver.clock.now", lambda: now + 3 * 86_400)
        certified.look()
    assert [line["log_level"] for line in logs] == ["warning", "info"]


def test_old_versions_of_tls_are_refused(
    authority: Authority, pair: Pair, listen: Callable[[Certified], Listener]
) -> None:
    """Attack 26: speak a version of TLS that is broken. Source: RFC 8996, RFC 9325 3.1.1."""
    listener, context = listen(Certified(pair)), trusting(authority)
    with listener.connected(context) as connection:
        assert connection.version() == "TLSv1.3"
        assert connection.selected_alpn_protocol() is None
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with listener.connected(context) as connection:
        assert connection.version() == "TLSv1.2"
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof|protocol"):
        listener.connected(context).close()


# ----------------------------------------------------------------------------------------------- the start


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_pair_stops_the_start_with_one_line(
    authority: Authority, pair: Pair, operator: Operator, store: dict[str, str], wrong: str
) -> None:
    replaced(authority, pair)[wrong]()
    line = operator.at(store | configured(pair)).fails("serve", "--port", str(free_port()))
    assert re.fullmatch(r"my-server: AUTH_TLS_(KEY|CERTIFICATE)_FILE: [^\n]+ Example: \S+", line)
    assert "hush" not in line


def configured(pair: Pair, port: int = 8443) -> dict[str, str]:
    """Return the settings of a server with this pair."""
    return {
        "tls_certificate_file": str(pair.certificate),
        "tls_key_file": str(pair.key),
        "public_url": f"https://{HOST}:{port}",
    }


@pytest.mark.parametrize("left_out", ["tls_certificate_file", "tls_key_file", "public_url"])
def test_one_file_alone_or_no_https_is_refused(
    pair: Pair, operator: Operator, store: dict[str, str], left_out: str
) -> None:
    settings = store | configured(pair)
    settings.pop(left_out)
    line = operator.at(settings).fails("serve")
    assert re.fullmatch(rf"my-server: AUTH_{left_out.upper()}: [^\n]+ Example: \S+", line)


@pytest.mark.parametrize(
    ("names", "host", "fits"),
    [
        (["mcp.example.com"], "mcp.example.com", True),
        (["a.example", "MCP.Example.Com"], "mcp.example.com", True),
        (["*.example.com"], "mcp.example.com", True),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], "a.mcp.example.com", False),
        (["mcp.example.com.evil.example"], "mcp.example.com", False),
        (["192.0.2.1", "::1"], "::1", True),
        (["*.0.2.1"], "192.0.2.1", False),
    ],
)
def test_for_which_host_a_certificate_is(
    authority: Authority, tmp_path: Path, names: list[str], host: str, fits: bool
) -> None:
    authority.write(tmp_path, *names)
    leaf = Pair(tmp_path / "certificate.pem", tmp_path / "key.pem", host).leaf()
    assert is_for(leaf, host) == fits
    assert not is_for(authority.certificate, host)
