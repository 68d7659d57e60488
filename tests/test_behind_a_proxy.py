"""A real nginx, Caddy or Traefik in front of a server, configured letter by letter as the page says."""

import http.server
import re
import shutil
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import effort
import proxies
import pytest
from conftest import Rendered
from engines import Engine
from httpx2 import BasicAuth
from oauth_client import OAuthClient, answered, call, result
from person import Person
from playwright.sync_api import expect, sync_playwright
from ports import free_port
from proxies import HOST, calls_at_length, lead
from rendering import DEFAULTS, REPOSITORY, TEMPLATE
from servers import Server

from authserver import AuthorizationServer, Scope
from authserver.all_settings import Settings
from authserver.middleware.cross_origin import _COOKIE_PATHS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = effort.push

SECRET = "the content of /etc/mcp/proxy_secret"
PASSWORD = "correct-horse"

DOCUMENT = (REPOSITORY / "docs" / "behind-a-proxy.md").read_text(encoding="utf-8")
# As guides to hardening have them (OWASP Secure Headers), without what docs/behind-a-proxy.md warns of.
HARDENED = """
    add_header Content-Security-Policy "default-src 'self'; object-src 'none'; frame-ancestors 'none';
        base-uri 'self'; upgrade-insecure-requests" always;
    add_header Cross-Origin-Embedder-Policy require-corp always;
    add_header Cross-Origin-Resource-Policy same-origin always;
    add_header Permissions-Policy "accelerometer=(), camera=(), geolocation=(), microphone=()" always;
    add_header Referrer-Policy no-referrer always;
    add_header Strict-Transport-Security "max-age=63072000; includeSubDomains" always;
    add_header X-Content-Type-Options nosniff always;
    add_header X-Frame-Options SAMEORIGIN always;
    add_header X-XSS-Protection 0 always;
"""
PASSWORDS, PORTAL, DOOR = re.findall(r"^```nginx\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
_, CADDY, CADDY_DOOR = re.findall(r"^```caddyfile\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
STARTED, _, TRAEFIK = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
[TRAEFIK_DOOR] = re.findall(r"`(door: {.*?})`", DOCUMENT)


@dataclass(frozen=True)
class Site:
    """The public address, at which the proxy answers; and another one, only for operators."""

    server: Server
    port: int
    door_port: int
    url: str = f"https://{HOST}"


class Portal(http.server.BaseHTTPRequestHandler):
    """Says who somebody is who has its cookie, as Authelia does."""

    def do_GET(self) -> None:
        name = re.search(r"portal=(\w+)", self.headers["Cookie"] or "")
        self.send_response(200 if name else 401)
        if name:
            self.send_header("Remote-User", name[1])
            self.send_header("Remote-Groups", "staff,editors")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server(rendered: Rendered, running_engines: Callable[[str], Engine]) -> Iterator[Server]:
    """A project whose people are named by a proxy."""
    project = rendered(DEFAULTS | {"login": "proxy"})
    store = running_engines(DEFAULTS["storage"]).settings(uuid4().hex)
    settings = {
        "PUBLIC_URL": f"https://{HOST}",
        "PROXY_PEERS": "127.0.0.1",
        "TRUSTED_PROXIES": "127.0.0.1",
        "PROXY_SECRET": SECRET,
        "PROXY_SIGN_OUT_URL": "https://auth.example.com/logout",
    }
    server = Server(project, store)
    server.environment |= {f"AUTH_{name}": value for name, value in settings.items()}
    with server.running():
        yield server


@pytest.fixture(scope="module")
def portal() -> Iterator[int]:
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Portal)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield listener.server_port
    listener.shutdown()
    listener.server_close()


@pytest.fixture(
    scope="module",
    params=["passwords", "portal", "hardened", "caddy", pytest.param("traefik", marks=effort.release)],
)
def proxied(request: pytest.FixtureRequest, server: Server, portal: int) -> Iterator[Site]:
    """Run a proxy on ports of its own."""
    proxy = request.param if request.param in proxies.PROXIES else "nginx"
    proxies.require(proxy)
    site = Site(server, free_port(), free_port())
    hashed = "{PLAIN}" + PASSWORD
    people = "".join(f"{who}:{hashed}\n" for who in ("alice", "bob"))
    written = {
        "caddy": CADDY + CADDY_DOOR,
        "portal": PORTAL + DOOR,
        "traefik": STARTED.replace("Points:\n", f"Points:\n  {TRAEFIK_DOOR}\n") + f"---\n{TRAEFIK}",
    }.get(request.param, PASSWORDS + DOOR)
    if request.param == "hardened":
        written = re.sub("server_name .*;", lambda found: found[0] + HARDENED, written)
    with proxies.certified({"people": people}) as folder:
        certificate = f"{folder}/certificate.pem"
        for here, there in {
            "listen 443 ssl": f"listen 127.0.0.1:{site.port} ssl",
            '":443"': f'"127.0.0.1:{site.port}"',
            "127.0.0.1:8443": f"127.0.0.1:{site.door_port}",
            "/etc/ssl/mcp.example.com.pem": certificate,
            "/etc/ssl/mcp.example.com.key": certificate,
            "/etc/nginx/people": f"{folder}/people",
            "com {": f"com {{\n    tls {certificate} {certificate}",
            "com:8443 {": f"com:{site.door_port} {{\n    tls {certificate} {certificate}",
            "127.0.0.1:8000": f"127.0.0.1:{server.port}",
            "127.0.0.1:9091": f"127.0.0.1:{portal}",
        }.items():
            written = written.replace(here, there)
        with getattr(proxies, proxy)(folder, written, site.port):
            yield site


@pytest.fixture
def site(proxied: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The public name leads to the proxy."""
    lead(monkeypatch, proxied.port)
    return proxied


def visitor(site: Site, name: str, **headers: str) -> Person:
    """Somebody whom the proxy and the portal know, and who says more than they should."""
    person = Person(site, name)
    person.browser.auth = BasicAuth(name, PASSWORD)
    person.browser.cookies.set("portal", name)
    person.browser.headers.update(headers)
    return person


def test_the_projects_readme_says_the_same() -> None:
    readme = (TEMPLATE / "src/authserver/login/proxy/README.md.jinja").read_text(encoding="utf-8")
    assert textwrap.indent(PASSWORDS, "    ") in readme


def test_every_path_is_for_people_or_for_programs() -> None:
    """A program fails at a challenge; a page without one is of no use."""
    for written in (PASSWORDS, PORTAL, TRAEFIK):
        [programs] = re.findall(r"(?:location ~ |PathRegexp\(`)(\^\S+\$)", written)
        for route in AuthorizationServer([Scope("x", "X.", default=True)], Settings()).get_routes("/mcp"):
            people = route.path.startswith((*_COOKIE_PATHS, "/assets/"))
            assert people != bool(re.search(programs, route.path)), route.path
        assert all(re.search(programs, path) for path in ("/mcp", "/mcp/"))
        assert not any(re.search(programs, path) for path in ("/mcp/x", "/tokens", "/x/token", "/login"))


def test_a_person_consents_and_a_program_passes(site: Site) -> None:
    client = OAuthClient(site)  # registers without a challenge
    person = visitor(site, "alice")
    page = person.get(client.authorization_url())
    assert "<bdi>alice</bdi>" in page.text
    location = person.submit(page, "decision", decision="allow").headers["location"]
    tokens = client.redeem(answered(location)["code"]).json()
    assert result(call(site, tokens["access_token"], name="list_notes", arguments={}))["isError"] is False
    # nginx by itself lets a quarter of it through.
    assert result(calls_at_length(site, tokens["access_token"]))["isError"] is False
    assert client.refresh(tokens["refresh_token"]).status_code == 200
    assert client.http.get("/.well-known/oauth-authorization-server").json()["issuer"] == site.url
    assert client.http.post("/mcp").headers["www-authenticate"].startswith("Bearer")
    page = person.submit(person.get("/account"))
    assert "https://auth.example.com/logout" in page.text


def test_who_is_not_known_is_asked_by_the_proxy(site: Site) -> None:
    """Attack 11d: visit the pages without having signed in at the proxy. Source: RFC 9110 17.2."""
    stranger = Person(site)
    for path in ("/login", "/account", "/consent", "/login/", "/Account"):
        answer = stranger.browser.get(path)
        challenged = answer.status_code == 401
        assert challenged or answer.headers["location"].startswith("https://auth.example.com/?rd=")


def test_what_a_visitor_says_about_themselves_is_dropped(site: Site) -> None:
    """Attack 11d: send the proxy's headers through the proxy. Source: RFC 9110 17.2."""
    forged = {
        "Remote-User": "admin",
        "Remote_User": "admin",
        "Auth-Proxy-Secret": SECRET,
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-User": "admin",
    }
    assert "<bdi>bob</bdi>" in visitor(site, "bob", **forged).get("/account").text
    assert "admin" not in site.server.command("users", "list")


def test_a_name_that_nobody_checked_is_not_handed_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 11d: name oneself where the proxy asks nobody. Source: RFC 9110 17.2, 11.6.2."""
    lead(monkeypatch, site.door_port)
    guest = Person(site)
    guest.browser.auth = BasicAuth("admin", "a wrong password")
    guest.browser.headers.update({"Remote-User": "admin", "Auth-Proxy-Secret": SECRET})
    page = guest.get("/account")
    assert page.status_code == 403
    assert "did not say who you are" in page.text
    assert "admin" not in site.server.command("users", "list")


def test_an_operator_gets_in_when_the_proxy_lets_nobody_in(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = site.server.invite(f"operator{site.port}")
    lead(monkeypatch, site.door_port)
    operator = Person(site)
    assert operator.submit(operator.get(link)).url.path == "/account"
    assert "code" in answered(operator.allow(OAuthClient(site).authorization_url()))


@pytest.mark.parametrize(
    "proxied",
    ["passwords", "portal", "hardened", pytest.param("traefik", marks=effort.release)],
    indirect=True,
)
def test_in_a_real_browser(site: Site) -> None:
    assert CHROMIUM, "Chromium is missing: apt-get install chromium"
    client = OAuthClient(site, redirect_uris=["https://client.example/cb"], client_name="In a browser")
    with sync_playwright() as playwright:
        rule = f"--host-resolver-rules=MAP {HOST}:443 127.0.0.1:{site.port}"
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", rule],
        )
        context = browser.new_context(
            ignore_https_errors=True, http_credentials={"username": "alice", "password": PASSWORD}
        )
        context.add_cookies([{"name": "portal", "value": "alice", "url": site.url}])
        context.route("https://client.example/**", lambda route: route.fulfill(body="Back"))
        page = context.new_page()
        page.goto(client.authorization_url())
        expect(page.get_by_role("heading", level=1)).to_have_text("Allow access?")
        with page.expect_response(f"{site.url}/consent") as answer:
            page.get_by_role("button", name="Allow").click()
        expect(page.get_by_text("Back")).to_be_visible()
        assert client.redeem(answered(answer.value.headers["location"])["code"]).status_code == 200
        page.goto(f"{site.url}/account")
        app = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="In a browser"))
        app.get_by_role("button", name="Disconnect").click()
        expect(page.get_by_role("status")).to_have_text("The app is disconnected.")
        page.goto(client.authorization_url())
        with page.expect_response(f"{site.url}/consent") as answer:
            page.get_by_role("button", name="Deny").click()
        expect(page.get_by_text("Back")).to_be_visible()
        assert answered(answer.value.headers["location"])["error"] == "access_denied"
        page.goto(f"{site.url}/account")
        page.get_by_role("button", name="Sign out", exact=True).click()
        expect(page.get_by_role("link")).to_have_attribute("href", "https://auth.example.com/logout")
        browser.close()
