"""Every page of every login, in every language, looked at from all sides.

EFFORT=release PICTURES=folder uv run pytest tests/test_looks.py -n1 takes pictures of them all.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import effort
import pyotp
import pytest
from conftest import Rendered
from engines import Engine
from looks import Looks
from node import installed
from oauth_client import OAuthClient, answered, call
from playwright.sync_api import Browser, Page, expect
from rendering import DEFAULTS, TEMPLATE
from servers import Server
from test_browser import PASSWORD, SECONDS, authorization_url, callback, chromium, complaints, watch
from test_browser_passkey import Device, change

from authserver.pages import languages

__all__ = ["callback", "chromium"]

Serve = Callable[..., Server]

pytestmark = effort.push


@pytest.fixture(scope="module")
def axe(shared: Path) -> str:
    return (installed(shared) / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(params=effort.first(sorted(set(languages.names().values()), key="en".__ne__), effort.push))
def language(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def page(chromium: Browser, language: str) -> Iterator[Page]:
    """A page of a browser whose user prefers that language, and that asks nobody but the server."""
    context = chromium.new_context(locale=language, reduced_motion="reduce")
    context.set_default_timeout(SECONDS * 1000)
    page = context.new_page()
    watch(page)
    yield page
    assert not complaints
    context.close()


@pytest.fixture
def serve(rendered: Rendered, running_engines: Callable[[str], Engine]) -> Iterator[Serve]:
    """Return a function that starts a server with a login."""
    with ExitStack() as stack:

        def started(login: str, *, name: str = "127.0.0.1", **settings: str) -> Server:
            store = running_engines(DEFAULTS["storage"]).settings(uuid4().hex)
            server = Server(rendered(DEFAULTS | {"login": login}), store, name=name)
            server.environment |= settings
            return stack.enter_context(server.running())

        yield started


def fill(page: Page, **fields: str) -> None:
    """Fill fields by their ids, and press the main button."""
    for name, value in fields.items():
        page.locator(f"#{name}").fill(value)
    page.locator("main form button.main").first.click()


def sign_out(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/account")
    page.locator("form[action='/logout'] button").click()
    expect(page.locator("form")).to_have_count(0)


def look_at_the_offer(look: Looks, server: Server, page: Page, callback: str) -> None:
    """Allow an app, let it call what it may not, and let it ask again."""
    client = OAuthClient(server, redirect_uris=[callback], client_name="Example app")
    page.goto(client.authorization_url())
    page.locator("button[value=allow]").click()
    expect(page.get_by_role("heading")).to_have_text("Back")
    tokens = client.redeem(answered(page.url)["code"]).json()
    assert call(server, tokens["access_token"], name="add_note", arguments={"text": "x"}).status_code == 403
    page.goto(client.authorization_url())
    look(page, "consent-offer")
    page.locator("input[name='also:notes:write']").check()
    page.locator("button[value=allow]").click()
    expect(page.get_by_role("heading")).to_have_text("Back")
    assert client.redeem(answered(page.url)["code"]).json()["scope"] == "notes:read notes:write"


def test_with_passwords(serve: Serve, page: Page, axe: str, language: str, callback: str) -> None:
    server = serve("password", AUTH_REMEMBER_CONSENT_DAYS="30")
    look = Looks(axe, "password", language)
    page.goto(server.first_account_link)
    look(page, "first-account")
    fill(page, username="owner", password=PASSWORD, password_again=PASSWORD)
    page.wait_for_url("**/account")

    page.goto(server.invite("guest"))
    look(page, "invite")
    fill(page, password=PASSWORD, password_again=f"{PASSWORD}?")
    look(page, "invite-wrong")
    fill(page, password=PASSWORD, password_again=PASSWORD)
    page.wait_for_url("**/account")
    look(page, "account-new")
    sign_out(page, server)
    look(page, "signed-out")

    page.goto(authorization_url(page.context, server, callback, client_name="Example app"))
    look(page, "sign-in")
    fill(page, username="nobody", password="a wrong password")
    look(page, "sign-in-wrong")
    fill(page, username="owner", password=PASSWORD)
    page.wait_for_url("**/consent?*")
    look(page, "consent")
    page.locator("button[value=allow]").click()
    expect(page.get_by_role("heading")).to_have_text("Back")

    look_at_the_offer(look, server, page, callback)
    url = authorization_url(page.context, server, callback, client_name="Example app", scope="notes:read")
    page.goto(url)
    page.locator("button[value=allow]").click()
    expect(page.get_by_role("heading")).to_have_text("Back")
    page.goto(url)
    look(page, "consent-again")
    page.goto(url.replace("notes%3Aread", "notes%3Aread+notes%3Awrite"))
    look(page, "consent-more")

    page.goto(f"{server.url}/account")
    look(page, "account")
    page.locator("a[href='/account/password']").click()
    look(page, "password")
    fill(page, old_password="a wrong password", password=PASSWORD, password_again=PASSWORD)
    look(page, "password-wrong")
    page.goto(f"{server.url}/account/secure")
    look(page, "secure")
    page.locator("main form button.main").click()
    page.wait_for_url("**/account")
    look(page, "account-secured")
    page.goto(f"{server.url}/account/sign-out")
    look(page, "sign-out")


def test_without_signing_in(serve: Serve, page: Page, axe: str, language: str) -> None:
    server = serve("password")
    look = Looks(axe, "password", language)
    page.goto(f"{server.url}/consent?request=unknown")
    look(page, "expired")
    page.goto(f"{server.url}/consent?request=%00")
    look(page, "bad-request")
    page.goto(f"{server.url}/authorize?client_id=unknown")
    look(page, "unknown-app")
    elsewhere = "https://client.example/a-long-address-of-an-app"
    page.goto(authorization_url(page.context, server, elsewhere, response_type="token"))
    look(page, "app-error")
    page.goto(f"{server.url}/")
    look(page, "front")
    page.goto(f"{server.url}/unknown")
    look(page, "not-found")
    page.goto(f"{server.url}/logout")
    look(page, "wrong-method")
    # Another name of the same machine, and so another Host.
    page.goto(f"{server.url.replace('127.0.0.1', 'localhost')}/account")
    look(page, "wrong-host")
    colour = "getComputedStyle(document.querySelector('main')).backgroundColor"
    assert page.evaluate(colour) != "rgba(0, 0, 0, 0)"


@effort.release
def test_the_second_factor(serve: Serve, page: Page, axe: str, language: str) -> None:
    server = serve("password")
    look = Looks(axe, "second-factor", language)
    page.goto(server.first_account_link)
    fill(page, username="owner", password=PASSWORD, password_again=PASSWORD)
    page.locator("a[href='/account/second-factor']").click()
    look(page, "enrolment")
    fill(page, code="000000")
    look(page, "enrolment-wrong")
    app = pyotp.TOTP(page.locator("main .box code").inner_text().replace(" ", ""))
    fill(page, code=app.at(time.time()))
    look(page, "recovery-codes")
    page.locator("a.main").click()
    for details in page.locator("summary").all():
        details.click()
    look(page, "account")
    sign_out(page, server)
    page.goto(f"{server.url}/login")
    fill(page, username="owner", password=PASSWORD)
    page.locator("summary").click()
    look(page, "sign-in")
    fill(page, code="000000")
    look(page, "sign-in-wrong")


@effort.release
def test_with_passkeys(serve: Serve, page: Page, axe: str, language: str, callback: str) -> None:
    server = serve("passkey", name="localhost")
    look = Looks(axe, "passkey", language)
    device = Device(page)
    page.goto(server.first_account_link)
    look(page, "first-account")
    page.goto(server.invite("guest"))
    look(page, "invite")
    fill(page)
    page.wait_for_url("**/account")
    look(page, "account")
    page.locator("a[href='/account/passkeys']").click()
    look(page, "add")
    fill(page)
    expect(page.locator("[data-error=InvalidStateError]")).to_be_visible()
    look(page, "add-again")
    device.send("removeVirtualAuthenticator")
    Device(page, transport="usb")
    fill(page)
    page.wait_for_url("**/account")
    look(page, "account-two")
    sign_out(page, server)
    page.goto(authorization_url(page.context, server, callback, client_name="Example app"))
    look(page, "sign-in")
    change(page, rpId="example.com")
    fill(page)
    expect(page.locator("[data-error=other]")).to_be_visible()
    look(page, "sign-in-wrong")


@effort.release
def test_with_a_directory(serve: Serve, page: Page, axe: str, language: str) -> None:
    """One that does not answer; all else looks as with passwords."""
    server = serve(
        "ldap",
        AUTH_LDAP_SERVERS="ldap://127.0.0.1:9",
        AUTH_LDAP_BASE="dc=example,dc=com",
        AUTH_LDAP_BIND_TEMPLATE="uid={name},dc=example,dc=com",
    )
    look = Looks(axe, "ldap", language)
    page.goto(f"{server.url}/login")
    look(page, "sign-in")
    fill(page, username="alice", password=PASSWORD)
    look(page, "sign-in-without-directory")
    assert all("status of 503" in complaint for complaint in complaints)
    complaints.clear()
    page.goto(f"{server.url}/invite/x")
    look(page, "no-invitations")


@effort.release
def test_behind_a_proxy(serve: Serve, page: Page, axe: str, language: str, callback: str) -> None:
    server = serve(
        "proxy", AUTH_PROXY_PEERS="127.0.0.1", AUTH_PROXY_SIGN_OUT_URL="https://auth.example.com/logout"
    )
    look = Looks(axe, "proxy", language)
    page.goto(server.first_account_link)
    look(page, "first-account")
    page.goto(f"{server.url}/login")
    look(page, "nobody")
    page.goto(server.invite("operator"))
    look(page, "invite")
    page.context.set_extra_http_headers({"Remote-User": "alice"})
    page.goto(authorization_url(page.context, server, callback, client_name="Example app"))
    look(page, "consent")
    page.locator("form[action='/logout'] button").click()
    look(page, "signed-out")
    page.context.set_extra_http_headers({"Remote-User": "Alice"})
    page.goto(f"{server.url}/login")
    look(page, "another-spelling")


@pytest.fixture
def branded(tmp_path: Path) -> str:
    """A folder with the user's part of the project, and all of the branding that there can be."""
    shutil.copytree(TEMPLATE / "src" / "app", tmp_path / "app")
    folder = tmp_path / "app" / "branding"
    (folder / "branding.toml").write_text(
        'name = "Example Ltd notes"\naccent = "#7a1f5c"\naccent_dark = "#f0a8d8"\n'
        'banner = """Authorised users only.\nAll use is recorded."""\n'
        '[footer]\nImprint = "https://example.com/imprint"\n"Privacy notice" = "/privacy"\n'
    )
    (folder / "style.css").write_text("main { border-radius: 0 }\n")
    return str(tmp_path)


def test_with_all_of_the_branding(serve: Serve, page: Page, axe: str, language: str, branded: str) -> None:
    server = serve("password", PYTHONPATH=branded)
    page.goto(f"{server.url}/login")
    Looks(axe, "branded", language)(page, "sign-in")
    assert page.locator("main").evaluate("main => getComputedStyle(main).borderRadius") == "0px"
    assert "Example Ltd notes" in page.title()
    expect(page.locator("header")).to_be_visible()
    expect(page.locator("footer a")).to_have_count(2)
