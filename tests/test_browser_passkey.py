"""A real Chromium with virtual authenticators: enrol, sign in, consent, add, remove, recover, and attacks."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import effort
import pytest
from conftest import Rendered
from engines import Engine
from logins.passkey import decode
from playwright.sync_api import Browser, BrowserContext, Page, expect
from rendering import DEFAULTS
from servers import Server
from test_browser import answer_of, authorization_url, callback, chromium, context

__all__ = ["callback", "chromium", "context"]

pytestmark = effort.push

SIGN_IN = "Sign in with a passkey"
CREATE = "Create a passkey"


@pytest.fixture(scope="module")
def server(rendered: Rendered, running_engines: Any) -> Iterator[Server]:
    """A project with passkeys, just started for the first time."""
    engine: Engine = running_engines(DEFAULTS["storage"])
    project = rendered(DEFAULTS | {"login": "passkey"})
    with Server(project, engine.settings(uuid4().hex), name="localhost").running() as running:
        yield running


class Device:
    """An authenticator of one page."""

    def __init__(self, page: Page, **options: object) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("WebAuthn.enable")
        built_in = {
            "protocol": "ctap2",
            "ctap2Version": "ctap2_1",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = self._session.send("WebAuthn.addVirtualAuthenticator", {"options": built_in | options})
        self._id = made["authenticatorId"]

    def send(self, command: str, **parameters: object) -> Any:
        return self._session.send(f"WebAuthn.{command}", {"authenticatorId": self._id, **parameters})

    @property
    def passkeys(self) -> list[dict[str, Any]]:
        """What it keeps, with the private keys."""
        found: list[dict[str, Any]] = self.send("getCredentials")["credentials"]
        return found

    def add(self, passkey: dict[str, Any]) -> None:
        self.send("addCredential", credential=passkey)


def opened(context: BrowserContext, url: str, **options: object) -> tuple[Page, Device]:
    """Open a page on a device."""
    page = context.new_page()
    device = Device(page, **options)
    page.goto(url)
    return page, device


def enrolled(server: Server, context: BrowserContext, name: str) -> tuple[Page, Device]:
    """Make an account by a one-time link; end on its page."""
    page, device = opened(context, server.invite(name))
    page.get_by_role("button", name=CREATE).click()
    page.wait_for_url(f"{server.url}/account")
    return page, device


def sign_out(page: Page) -> None:
    page.locator("form[action='/logout'] button").click()


def press(page: Page) -> None:
    page.get_by_role("button", name=SIGN_IN).click()


def change(page: Page, **options: object) -> None:
    """Change what the page asks of the browser, as a script of somebody else would."""
    page.evaluate(
        "(changed) => { const form = document.querySelector('form[data-options]');"
        " form.dataset.options = JSON.stringify({...JSON.parse(form.dataset.options), ...changed}) }",
        options,
    )


# ---------------------------------------------------------------------------------------- the whole way


def test_the_first_account_is_made_used_and_asked_for_consent(
    server: Server, context: BrowserContext, callback: str
) -> None:
    page, device = opened(context, server.first_account_link)
    expect(page.get_by_role("heading", level=1)).to_have_text("Create the first account")
    page.get_by_label("User name").fill("not a name")
    page.get_by_role("button", name=CREATE).click()
    assert device.passkeys == []  # the browser itself holds back a name that cannot be
    page.get_by_label("User name").fill("owner")
    page.get_by_label("Name of this passkey").fill("This laptop")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{server.url}/account")
    expect(page.get_by_text("This laptop")).to_be_visible()
    [passkey] = device.passkeys
    assert (passkey["rpId"], passkey["userName"], passkey["isResidentCredential"]) == (
        "localhost",
        "owner",
        True,
    )
    sign_out(page)
    page.goto(authorization_url(context, server, callback))
    expect(page.get_by_role("button", name=SIGN_IN)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Allow access?")
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading")).to_have_text("Back")
    assert answer_of(page.url)["code"].startswith("mcpac_")
    page.goto(f"{server.url}/account")
    page.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_role("status")).to_have_text("The app is disconnected.")


def test_refusing_tells_the_client(server: Server, context: BrowserContext, callback: str) -> None:
    page, _ = enrolled(server, context, "refuser")
    page.goto(authorization_url(context, server, callback, scope="notes:read"))
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("heading")).to_have_text("Back")
    assert answer_of(page.url)["error"] == "access_denied"


def test_a_second_passkey_is_added_and_the_first_removed(server: Server, context: BrowserContext) -> None:
    page, first = enrolled(server, context, "adder")
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)
    first.send("removeVirtualAuthenticator")
    key = Device(page, transport="usb")
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Name of this passkey").fill("Security key")
    page.get_by_role("button", name=CREATE).click()
    page.wait_for_url(f"{server.url}/account")
    expect(page.get_by_role("button", name="Remove")).to_have_count(2)
    page.get_by_role("button", name="Remove").first.click()
    expect(page.get_by_text("The passkey is removed.")).to_be_visible()
    expect(page.get_by_text("Security key")).to_be_visible()
    expect(page.get_by_role("button", name="Remove")).to_have_count(0)
    sign_out(page)
    page.goto(f"{server.url}/login")
    press(page)
    page.wait_for_url(f"{server.url}/account")
    assert [passkey["signCount"] for passkey in key.passkeys] == [2]


def test_who_lost_the_device_comes_back_by_a_link(server: Server, context: BrowserContext) -> None:
    lost, _ = enrolled(server, context, "loser")
    page, _ = opened(context, server.command("users", "invite", "loser").strip())
    expect(page.get_by_label("User name")).to_have_value("loser")
    page.get_by_role("button", name=CREATE).click()
    page.wait_for_url(f"{server.url}/account")
    expect(page.get_by_role("button", name="Remove")).to_have_count(2)
    lost.close()


# -------------------------------------------------------------------------------------- what goes wrong


@effort.release
def test_what_the_person_did_not_confirm_can_be_tried_again(server: Server, context: BrowserContext) -> None:
    page, device = opened(context, server.command("users", "invite", "hesitant").strip())
    device.send("setUserVerified", isUserVerified=False)
    page.get_by_role("button", name=CREATE).click()
    expect(page.get_by_text("No passkey was confirmed")).to_be_visible()
    expect(page.get_by_role("button", name=CREATE)).to_be_focused()
    device.send("setUserVerified", isUserVerified=True)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{server.url}/account")
    sign_out(page)
    page.goto(f"{server.url}/login")
    device.send("setUserVerified", isUserVerified=False)
    press(page)
    expect(page.get_by_text("No passkey was confirmed")).to_be_visible()
    device.send("setUserVerified", isUserVerified=True)
    press(page)
    page.wait_for_url(f"{server.url}/account")


@effort.release
def test_a_device_that_has_a_passkey_already_says_so(server: Server, context: BrowserContext) -> None:
    page, device = enrolled(server, context, "again")
    page.goto(f"{server.url}/account/passkeys")
    page.get_by_role("button", name=CREATE).click()
    expect(page.get_by_text("This device has a passkey for this account already.")).to_be_visible()
    assert len(device.passkeys) == 1


def test_a_passkey_of_another_server_is_told_beside_the_button(
    server: Server, context: BrowserContext
) -> None:
    page, _ = enrolled(server, context, "gone")
    server.command("users", "delete", "gone")
    page.goto(f"{server.url}/login")
    press(page)
    expect(page.get_by_text("This server cannot accept that passkey.")).to_be_visible()
    expect(page.get_by_role("button", name=SIGN_IN)).to_be_enabled()


NO_PASSKEYS = "delete window.PublicKeyCredential;"
NOT_SECURE = "Object.defineProperty(window, 'isSecureContext', {value: false});"


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (NO_PASSKEYS, "This browser cannot use passkeys."),
        (NO_PASSKEYS + NOT_SECURE, "Browsers use passkeys only over https."),
    ],
)
def test_a_browser_that_cannot_is_told_so(
    server: Server, context: BrowserContext, missing: str, told: str
) -> None:
    context.add_init_script(missing)
    page = context.new_page()
    for url in (f"{server.url}/login", server.command("users", "invite", "unable").strip()):
        page.goto(url)
        expect(page.get_by_text(told)).to_be_visible()
        expect(page.locator("main button")).to_be_hidden()


def test_without_javascript_the_page_says_what_is_missing(server: Server, chromium: Browser) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{server.url}/login")
    expect(page.locator("noscript p")).to_be_visible()  # a search for text leaves it out
    press(page)
    expect(page.get_by_role("alert")).to_contain_text("Passkeys need JavaScript.")
    context.close()


# --------------------------------------------------------------------------------------------- attacks


@effort.release
def test_a_site_at_another_port_of_the_host_signs_nobody_in(
    server: Server, context: BrowserContext, callback: str
) -> None:
    """Attack 11b: phish a sign-in at another port. Source: WebAuthn Level 3, 7.2 step 13, 13.4.9."""
    page, _ = enrolled(server, context, "phished")
    sign_out(page)
    page.goto(f"{server.url}/login")
    options = page.locator("form[data-options]").get_attribute("data-options") or ""
    script = context.request.get(f"{server.url}/assets/passkey.js").text()
    page.goto(callback.replace("127.0.0.1", "localhost"))
    page.set_content(f"<form data-options='{options}'><input name=credential><button>Win</button></form>")
    page.add_script_tag(content=script.replace("form.submit()", "form.dataset.signed = ''"))
    page.get_by_role("button").click()
    page.wait_for_selector("form[data-signed]")
    signed = page.locator("input").input_value()
    assert json.loads(signed)["response"]["signature"]
    page.goto(f"{server.url}/login")
    page.evaluate(
        "([signed, challenge]) => { const form = document.querySelector('form[data-options]');"
        " const { elements } = form; elements.challenge.value = challenge;"
        " elements.credential.value = signed; form.submit() }",
        [signed, decode(json.loads(options)["challenge"]).decode()],
    )
    expect(page.get_by_text("This server cannot accept that passkey.")).to_be_visible()


@effort.release
def test_the_browser_asks_for_no_other_rp_id(server: Server, context: BrowserContext) -> None:
    """Attack 11b: ask for passkeys of another site. Source: WebAuthn Level 3, 5.1.4.1 step 8."""
    page, _ = enrolled(server, context, "misled")
    sign_out(page)
    page.goto(f"{server.url}/login")
    change(page, rpId="example.com")
    press(page)
    expect(page.get_by_text("The browser could not do this.")).to_be_visible()


def test_an_answer_that_was_seen_is_worth_nothing(server: Server, context: BrowserContext) -> None:
    """Attack 11b: send a sign-in again. Source: WebAuthn Level 3, 13.4.3."""
    page, _ = enrolled(server, context, "replayed")
    sign_out(page)
    page.goto(f"{server.url}/login")
    with page.expect_request(lambda sent: sent.method == "POST") as sent:
        press(page)
    page.wait_for_url(f"{server.url}/account")
    sign_out(page)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    again = context.request.post(f"{server.url}/login", data=sent.value.post_data or "", headers=headers)
    assert again.status == 401
    assert 'data-error="expired"' in again.text()


def test_a_device_without_its_owner_signs_nobody_in(server: Server, context: BrowserContext) -> None:
    """Attack 11b: have the browser ask for no verification. Source: WebAuthn Level 3, 7.2 step 17."""
    page, device = enrolled(server, context, "unverified")
    sign_out(page)
    page.goto(f"{server.url}/login")
    device.send("setUserVerified", isUserVerified=False)
    change(page, userVerification="discouraged")
    press(page)
    expect(page.get_by_text("This server cannot accept that passkey.")).to_be_visible()


@effort.release
def test_a_passkey_opens_no_account_but_its_own(server: Server, context: BrowserContext) -> None:
    """Attack 11b: give one's own passkey another's user handle. Source: WebAuthn Level 3, 7.2 step 6."""
    victim, theirs = enrolled(server, context, "victim")
    [other] = theirs.passkeys
    victim.close()
    page, device = enrolled(server, context, "mallory")
    [own] = device.passkeys
    sign_out(page)
    for forged in (
        own | {"userHandle": other["userHandle"]},
        own | {"userHandle": other["userHandle"], "credentialId": other["credentialId"]},
    ):
        device.send("clearCredentials")
        device.add(forged)
        page.goto(f"{server.url}/login")
        press(page)
        expect(page.get_by_text("This server cannot accept that passkey.")).to_be_visible()


@effort.release
def test_a_copy_that_counts_from_the_start_is_refused(server: Server, context: BrowserContext) -> None:
    """Attack 11b: use a copy of a security key. Source: WebAuthn Level 3, 6.1.1, 7.2 step 21."""
    page, device = enrolled(server, context, "copied")
    [copy] = device.passkeys
    for _ in range(2):
        sign_out(page)
        page.goto(f"{server.url}/login")
        press(page)
        page.wait_for_url(f"{server.url}/account")
    sign_out(page)
    device.send("clearCredentials")
    device.add(copy)
    page.goto(f"{server.url}/login")
    press(page)
    expect(page.get_by_text("There may be a copy of that passkey")).to_be_visible()
