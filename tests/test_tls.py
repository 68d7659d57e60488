"""TLS without a proxy, by the command: a whole login, and a new certificate in the middle of it."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import effort
import httpx2
import pytest
from certificates import Authority
from conftest import Rendered
from cryptography import x509
from engines import Engine
from oauth_client import OAuthClient, alive, call, result
from person import Person
from ports import free_port
from rendering import DEFAULTS
from servers import Server

pytestmark = effort.push

HOST = "localhost"
AUTHORITY = Authority()


class Site:
    """A server that ends TLS itself."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.url = f"https://{HOST}:{server.port}"

    def shown(self) -> int:
        """Return which certificate a new connection is shown; it must be of the authority, for the host."""
        context = ssl.create_default_context(cadata=AUTHORITY.pem())
        with (
            socket.create_connection(("127.0.0.1", self.server.port)) as connection,
            context.wrap_socket(connection, server_hostname=HOST) as wrapped,
        ):
            return x509.load_der_x509_certificate(wrapped.getpeercert(binary_form=True) or b"").serial_number


@pytest.fixture(params=["1", "2"], ids=["one process", "two processes"])
def site(
    request: pytest.FixtureRequest,
    rendered: Rendered,
    running_engines: Callable[[str], Engine],
    tmp_path: Path,
) -> Iterator[Site]:
    port = free_port()
    AUTHORITY.write(tmp_path, HOST)
    server = Server(
        rendered(DEFAULTS),
        running_engines(DEFAULTS["storage"]).settings(uuid4().hex),
        port,
        AUTH_PUBLIC_URL=f"https://{HOST}:{port}",
        AUTH_TLS_CERTIFICATE_FILE=str(tmp_path / "certificate.pem"),
        AUTH_TLS_KEY_FILE=str(tmp_path / "key.pem"),
    )
    with server.running("--workers", request.param):
        yield Site(server, tmp_path)


def test_each_worker_takes_a_new_certificate_in_the_middle_of_a_login(site: Site) -> None:
    first = site.shown()
    client, person = OAuthClient(site), Person(site, "alice")
    assert person.join(site.server.invite("alice")).status_code == 200
    tokens = client.tokens(person)
    trusting = ssl.create_default_context(cadata=AUTHORITY.pem())
    with httpx2.Client(base_url=site.url, verify=trusting, timeout=60) as living:
        answer = living.get("/.well-known/oauth-authorization-server")
        assert answer.json()["issuer"] == site.url
        assert "strict-transport-security" in answer.headers
        AUTHORITY.write(site.folder, HOST)
        # Each process looks for itself, and any of them answers: until all that ask are shown the new one.
        deadline, in_a_row = time.monotonic() + 300, 0
        while in_a_row < 20:
            assert time.monotonic() < deadline, site.server.printed
            in_a_row = in_a_row + 1 if site.shown() != first else 0
            time.sleep(0.02)
        assert living.get("/healthz").status_code == 200  # on the connection of before
    fresh = client.refresh(tokens["refresh_token"]).json()["access_token"]
    assert alive(site, fresh)
    assert result(call(site, fresh, name="list_notes", arguments={}))["isError"] is False
    assert site.server.printed.count("a new certificate is taken") >= 1
    assert "PRIVATE" not in site.server.printed
    # Who speaks no TLS gets no answer.
    with socket.create_connection(("127.0.0.1", site.server.port)) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP" not in plain.recv(100)
