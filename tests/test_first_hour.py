"""A new user's first hour behind a proxy that is set up as people publish it: a tool call, or one line."""

import http.server
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import effort
import httpx2
import proxies
import pytest
from conftest import Rendered
from engines import Engine
from oauth_client import OAuthClient, call, result
from person import Person
from ports import free_port
from proxies import HOST, calls_at_length, lead
from rendering import DEFAULTS, REPOSITORY
from servers import Server

pytestmark = effort.push

# As guides have it, with the port in Host and in the forwarded address, and headers for WebSockets.
NGINX = """
server {
    listen 127.0.0.1:PORT ssl;
    server_name mcp.example.com;
    ssl_certificate FOLDER/certificate.pem;
    ssl_certificate_key FOLDER/certificate.pem;
    add_header Referrer-Policy no-referrer always;
    add_header X-Frame-Options DENY always;
    add_header X-Content-Type-Options nosniff always;
    add_header Strict-Transport-Security "max-age=63072000; includeSubDomains; preload" always;
    location / {
        proxy_pass http://127.0.0.1:SERVER;
        proxy_http_version 1.1;
        proxy_set_header Host $host:443;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For "$remote_addr:$remote_port";
        proxy_set_header X-Forwarded-Host $host:443;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
}
"""
CADDY = """
mcp.example.com {
    tls FOLDER/certificate.pem FOLDER/certificate.pem
    encode gzip
    header {
        Strict-Transport-Security "max-age=31536000; includeSubDomains; preload"
        X-Content-Type-Options nosniff
        X-Frame-Options DENY
        Referrer-Policy no-referrer
        Permissions-Policy "geolocation=(), camera=(), microphone=()"
        -Server
    }
    reverse_proxy 127.0.0.1:SERVER
}
"""
# With names of headers that are its own, and TLS only for who names the host.
TRAEFIK = """
entryPoints:
  websecure:
    address: "127.0.0.1:PORT"
providers:
  file:
    filename: /etc/traefik/mcp.yaml
---
http:
  routers:
    my-server:
      rule: Host(`mcp.example.com`)
      entryPoints: [websecure]
      middlewares: [hardened, compressed]
      service: my-server
      tls: {}
  middlewares:
    hardened:
      headers:
        frameDeny: true
        contentTypeNosniff: true
        browserXssFilter: true
        forceSTSHeader: true
        stsSeconds: 63072000
        stsIncludeSubdomains: true
        stsPreload: true
        referrerPolicy: no-referrer
        permissionsPolicy: camera=(), microphone=(), geolocation=(), payment=(), usb=()
        hostsProxyHeaders: [X-Forwarded-Host]
        customRequestHeaders:
          X-Forwarded-Proto: https
        customResponseHeaders:
          X-Robots-Tag: none,noarchive,nosnippet
          Server: ""
    compressed:
      compress: {}
  services:
    my-server:
      loadBalancer:
        passHostHeader: true
        servers:
          - url: http://127.0.0.1:SERVER
tls:
  options:
    default:
      minVersion: VersionTLS12
      sniStrict: true
  certificates:
    - certFile: FOLDER/certificate.pem
      keyFile: FOLDER/certificate.pem
"""


def on_the_page(page: str, language: str, files: int = 1) -> str:
    """Return the first configuration on a page, to be run here."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    written = "---\n".join(found[:files])
    for there, here in {
        "/etc/ssl/mcp.example.com.pem": "FOLDER/certificate.pem",
        "/etc/ssl/mcp.example.com.key": "FOLDER/certificate.pem",
        "listen 443": "listen 127.0.0.1:PORT",
        '":443"': '"127.0.0.1:PORT"',
        "127.0.0.1:8000": "127.0.0.1:SERVER",
    }.items():
        written = written.replace(there, here)
    return written


OF_PAGES = [
    ("nginx", on_the_page("deploying.md", "nginx")),
    ("caddy", on_the_page("behind-a-proxy.md", "caddyfile")),
    ("traefik", on_the_page("behind-a-proxy.md", "yaml", files=2)),
]
WITHOUT_HOST = [
    ("nginx", re.sub(r".*proxy_set_header.*\n", "", NGINX)),
    ("traefik", TRAEFIK.replace("passHostHeader: true", "passHostHeader: false")),
]


class Site:
    """The public address."""

    url = f"https://{HOST}"


@pytest.fixture(scope="module")
def server(rendered: Rendered, running_engines: Callable[[str], Engine]) -> Iterator[Server]:
    """A new project, with the two settings that its README names for a proxy."""
    store = running_engines(DEFAULTS["storage"]).settings(uuid4().hex)
    server = Server(rendered(DEFAULTS), store, AUTH_PUBLIC_URL=Site.url, AUTH_TRUSTED_PROXIES="127.0.0.1")
    with server.running():
        yield server


@pytest.fixture
def behind(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Put a proxy before the server; the public name leads to it."""
    with ExitStack() as stack:

        def start(proxy: str, written: str) -> None:
            proxies.require(proxy)
            folder, port = stack.enter_context(proxies.certified({})), free_port()
            for here, there in {"FOLDER": str(folder), "PORT": str(port), "SERVER": str(server.port)}.items():
                written = written.replace(here, there)
            stack.enter_context(getattr(proxies, proxy)(folder, written, port))
            lead(monkeypatch, port)

        yield start


@pytest.mark.parametrize(
    ("proxy", "written"),
    [
        pytest.param(proxy, written, id=f"{proxy}{where}", marks=effort.release if proxy == "traefik" else ())
        for where, found in {
            "": [("nginx", NGINX), ("caddy", CADDY), ("traefik", TRAEFIK)],
            " of the page": OF_PAGES,
        }.items()
        for proxy, written in found
    ],
)
def test_the_first_hour_ends_in_a_tool_call(
    server: Server, behind: Callable[[str, str], None], proxy: str, written: str
) -> None:
    behind(proxy, written)
    person = Person(Site(), f"alice-{uuid4().hex}")
    # What a browser sends with a form of a page with Referrer-Policy: no-referrer.
    person.browser.headers.update({"Sec-Fetch-Site": "same-origin", "Origin": "null"})
    assert person.join(server.invite(person.name)).url.path == "/account"
    client = OAuthClient(Site())
    tokens = client.tokens(person)
    answer = call(Site(), tokens["access_token"], name="list_notes", arguments={})
    assert result(answer)["isError"] is False
    if (proxy, written) in OF_PAGES:
        assert result(calls_at_length(Site(), tokens["access_token"]))["isError"] is False
    client.http.headers["X-Forwarded-For"] = "203.0.113.9"
    assert client.refresh(tokens["refresh_token"]).status_code == 200
    deadline = time.monotonic() + 60
    while not (lines := re.findall(r"^.*/token.*\n", server.printed, re.MULTILINE)):
        assert time.monotonic() < deadline, server.printed
        time.sleep(0.02)  # the log is written behind the requests
    assert "address=127.0.0.1" in re.sub(r"\x1b\[[0-9;]*m", "", lines[-1])


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers over a time at which proxies give up."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: begun\n\n")
        time.sleep(70)
        self.wfile.write(b"data: done\n\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def slow() -> Iterator[int]:
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield listener.server_port
    listener.shutdown()
    listener.server_close()


@effort.release
@pytest.mark.parametrize(("proxy", "written"), OF_PAGES, ids=["nginx", "caddy", "traefik"])
def test_an_answer_that_takes_over_a_minute_comes_whole(
    behind: Callable[[str, str], None], slow: int, proxy: str, written: str
) -> None:
    behind(proxy, written.replace("SERVER", str(slow)))
    answer = httpx2.post(f"{Site.url}/mcp", json={}, verify=False, timeout=300)
    assert answer.text == "data: begun\n\ndata: done\n\n"


@pytest.mark.parametrize(
    ("proxy", "written"),
    [
        pytest.param(*one, id=one[0], marks=effort.release if one[0] == "traefik" else ())
        for one in WITHOUT_HOST
    ],
)
def test_a_proxy_that_changes_the_host_is_answered_with_one_line(
    behind: Callable[[str, str], None], proxy: str, written: str
) -> None:
    behind(proxy, written)
    told = Person(Site()).browser.get("/", headers={"Accept": "application/json"})
    assert told.status_code == 421
    assert told.json()["error_description"].count("\n") == 0
    assert "AUTH_PUBLIC_URL" in told.json()["error_description"]
