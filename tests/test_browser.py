"""A real Chromium: first account, sign-in, consent, deny, errors, towards every kind of client."""

import http.server
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import effort
import pyotp
import pytest
from engines import Engine
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from rendering import DEFAULTS, choices
from servers import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PASSWORD = "correct horse battery staple"
SECONDS = 120
"""How long a page may take, on a machine that does six other things."""

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWBuGJSstw-cM"

if CHROMIUM is None and os.environ.get("CI") != "true":
    pytest.skip("Chromium is not installed", allow_module_level=True)


pytestmark = effort.push


@pytest.fixture(scope="module")
def server(default_project: Path, running_engines: Callable[[str], Engine]) -> Iterator[Server]:
    """The default project, just started for the first time."""
    store = running_engines(DEFAULTS["storage"]).settings(uuid4().hex)
    with Server(default_project, store).running() as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    assert CHROMIUM, "Chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        expect.set_options(timeout=SECONDS * 1000)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def owner(server: Server, chromium: Browser) -> dict[str, str]:
    """The first account, made through the link on the terminal."""
    page = chromium.new_page()
    watch(page)
    page.goto(server.first_account_link)
    expect(page.get_by_role("heading", level=1)).to_have_text("Create the first account")
    page.get_by_label("User name").fill("owner")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Create the account").click()
    page.wait_for_url(f"{server.url}/account")
    expect(page.get_by_text("owner").first).to_be_visible()
    page.context.close()
    return {"username": "owner", "password": PASSWORD}


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A fresh browser that fails the test on any console message."""
    context = chromium.new_context()
    context.set_default_timeout(SECONDS * 1000)
    context.on("page", watch)
    yield context
    assert not complaints
    context.close()


complaints: list[str] = []


def watch(page: Page) -> None:
    """Note what the console says: CSP violations, script errors, missing files."""

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            complaints.append(f"{page.url}: {message.text}")

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))


referrers: list[str | None] = []


@pytest.fixture(scope="module")
def callback() -> Iterator[str]:
    """A client that listens on a loopback port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            referrers.append(self.headers["Referer"])
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>client</title><link rel=icon href=data:,><h1>Back</h1>")

        def log_message(self, *_: object) -> None:
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_port}/callback"
    listener.shutdown()
    listener.server_close()


def authorization_url(
    context: BrowserContext,
    server: Server,
    redirect_uri: str,
    client_name: str = "A client <b>of yours</b>",
    **more: str,
) -> str:
    """Register a client and return the address it would open."""
    body = {
        "redirect_uris": [redirect_uri],
        "client_name": client_name,
        "token_endpoint_auth_method": "none",
    }
    answer = context.request.post(f"{server.url}/register", data=body)
    assert answer.status == 201, answer.text()
    query = {
        "response_type": "code",
        "client_id": answer.json()["client_id"],
        "redirect_uri": redirect_uri,
        "state": "xyz",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "scope": "notes:write",
    }
    return f"{server.url}/authorize?{urlencode(query | more)}"


def sign_in(page: Page, username: str, password: str) -> None:
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def answer_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_approving_leads_back_to_a_loopback_client(
    server: Server, owner: dict[str, str], context: BrowserContext, callback: str
) -> None:
    """Attack 8, 9: a client's name with markup in it; a policy that stops the way back.
    Source: RFC 8252 7.3.
    """
    page = context.new_page()
    page.goto(authorization_url(context, server, callback))
    sign_in(page, **owner)
    expect(page.get_by_role("heading", level=1)).to_have_text("Allow access?")
    expect(page.get_by_text("A client <b>of yours</b>")).to_be_visible()
    expect(page.get_by_text(callback.removesuffix("/callback"))).to_be_visible()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading")).to_have_text("Back")
    answer = answer_of(page.url)
    assert (answer["state"], answer["iss"]) == ("xyz", server.url)
    assert answer["code"].startswith("mcpac_")


@pytest.mark.parametrize(
    "redirect_uri", ["https://client.example/cb", "cursor://anysphere.cursor-mcp/oauth/callback"]
)
@pytest.mark.parametrize("decision", ["Allow", "Deny"])
def test_the_browser_follows_to_https_and_to_apps(
    server: Server, owner: dict[str, str], context: BrowserContext, redirect_uri: str, decision: str
) -> None:
    """Attack 9: a form-action in the policy stops the redirect in Chromium. Source: CSP 3, form-action."""
    page = context.new_page()
    page.goto(authorization_url(context, server, redirect_uri))
    sign_in(page, **owner)
    reached: list[str] = []
    locations: list[str] = []
    page.on("request", lambda asking: reached.append(asking.url))
    page.on("response", lambda answer: locations.append(answer.headers.get("location", "")))
    page.get_by_role("button", name=decision).click()
    page.wait_for_timeout(500)
    [location] = [location for location in locations if location.startswith(redirect_uri)]
    answer = answer_of(location)
    assert ("code" in answer) == (decision == "Allow")
    assert answer["iss"] == server.url
    if redirect_uri.startswith("https"):
        assert location in reached


def test_the_client_learns_no_address_of_ours(
    server: Server, owner: dict[str, str], context: BrowserContext, callback: str
) -> None:
    """Attack 6: read the address of a page in the Referer of what follows. Source: RFC 9700 4.2."""
    page = context.new_page()
    page.goto(authorization_url(context, server, callback))
    sign_in(page, **owner)
    referrers.clear()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading")).to_have_text("Back")
    assert referrers == [None]


def test_a_form_on_another_site_does_nothing_here(
    server: Server, owner: dict[str, str], context: BrowserContext, callback: str
) -> None:
    """Attack 7: have the browser of who is signed in post a form from another site.
    Source: RFC 9700 4.7, RFC 6749 10.12.
    """
    page = context.new_page()
    page.goto(f"{server.url}/account")
    sign_in(page, **owner)
    page.wait_for_url(f"{server.url}/account")
    for path in ("/logout", "/consent", "/login"):
        page.goto(callback)
        page.set_content(f'<form method="post" action="{server.url}{path}"><button>Win</button></form>')
        with page.expect_response(server.url + path) as answer:
            page.get_by_role("button").click()
        assert answer.value.status == 403
    page.goto(f"{server.url}/account")
    expect(page.get_by_role("button", name="Sign out", exact=True).first).to_be_visible()


def test_denying_tells_the_client(
    server: Server, owner: dict[str, str], context: BrowserContext, callback: str
) -> None:
    page = context.new_page()
    page.goto(authorization_url(context, server, callback))
    sign_in(page, **owner)
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("heading")).to_have_text("Back")
    assert answer_of(page.url)["error"] == "access_denied"


def test_two_tabs_at_once_both_end_well(
    server: Server, owner: dict[str, str], context: BrowserContext, callback: str
) -> None:
    """Attack 7: a second request in the same browser takes over the first. Source: RFC 9700 4.7."""
    tabs = [context.new_page(), context.new_page()]
    for tab in tabs:
        tab.goto(authorization_url(context, server, callback))
    for tab in tabs:
        sign_in(tab, **owner)
        expect(tab.get_by_role("button", name="Allow")).to_be_visible()
    for tab in reversed(tabs):
        tab.get_by_role("button", name="Allow").click()
        expect(tab.get_by_role("heading")).to_have_text("Back")
        assert "code" in answer_of(tab.url)


def test_everything_works_by_keyboard_and_without_javascript(
    server: Server, owner: dict[str, str], chromium: Browser, callback: str
) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(authorization_url(context, server, callback))
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.type(owner["username"])
    page.keyboard.press("Tab")
    page.keyboard.type(owner["password"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/consent?**")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.locator("button[value=allow]:focus").count():
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading")).to_have_text("Back")
    context.close()


def test_a_mistake_is_told_beside_the_field(
    server: Server, owner: dict[str, str], context: BrowserContext, callback: str
) -> None:
    page = context.new_page()
    page.goto(authorization_url(context, server, callback))
    sign_in(page, owner["username"], "a wrong password")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("User name")).to_have_value("owner")
    sign_in(page, **owner)
    expect(page.get_by_role("button", name="Allow")).to_be_visible()


def test_another_person_can_take_over_the_request(
    server: Server, owner: dict[str, str], context: BrowserContext, callback: str
) -> None:
    link = server.command("users", "invite", "guest").strip()
    page = context.new_page()
    page.goto(link)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Save the password").click()
    page.goto(authorization_url(context, server, callback, scope="notes:read"))
    expect(page.get_by_text("guest").first).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, **owner)
    expect(page.get_by_text("owner").first).to_be_visible()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading")).to_have_text("Back")


def join(page: Page, server: Server, name: str) -> dict[str, str]:
    """Make an account by a one-time link; end signed in."""
    page.goto(server.command("users", "invite", name).strip())
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Save the password").click()
    page.wait_for_url(f"{server.url}/account")
    return {"username": name, "password": PASSWORD}


def set_up_second_factor(page: Page) -> tuple[pyotp.TOTP, list[str]]:
    """Set it up from the account page; end on the recovery codes."""
    page.get_by_role("link", name="Set up a second factor").click()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    app = pyotp.TOTP(page.locator("form").locator("xpath=preceding::code[1]").inner_text().replace(" ", ""))
    # Of the step before, so that two later codes are left without waiting.
    page.get_by_label("6-digit code").fill(app.at(time.time()))
    page.get_by_role("button", name="Turn it on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Keep your recovery codes")
    return app, page.locator("ol code").all_inner_texts()


def sign_out(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/account")
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed out")


def test_a_second_factor_is_set_up_used_and_recovered(
    server: Server, owner: dict[str, str], context: BrowserContext, callback: str
) -> None:
    page = context.new_page()
    fay = join(page, server, "fay")
    app, codes = set_up_second_factor(page)
    assert len(codes) == 10
    page.get_by_role("link", name="continue").click()
    page.wait_for_url(f"{server.url}/account")
    sign_out(page, server)
    page.goto(authorization_url(context, server, callback, scope="notes:read"))
    sign_in(page, **fay)
    expect(page.get_by_label("6-digit code")).to_be_focused()
    page.keyboard.type("000000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    page.get_by_label("6-digit code").fill(app.at(time.time() + 30))
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading")).to_have_text("Back")
    sign_out(page, server)
    page.goto(f"{server.url}/login")
    sign_in(page, **fay)
    page.get_by_text("You do not have the app at hand?").click()
    page.get_by_label("Recovery code").fill(codes[0])
    page.get_by_role("button", name="Use the recovery code").click()
    expect(page.get_by_text("Recovery codes left: 9")).to_be_visible()
    page.get_by_text("Remove the second factor").first.click()
    page.get_by_role("button", name="Remove the second factor").click()
    expect(page.get_by_role("status")).to_contain_text("The second factor is off.")


def test_an_app_is_disconnected_from_the_account_page(
    server: Server, owner: dict[str, str], context: BrowserContext, callback: str
) -> None:
    page = context.new_page()
    page.goto(authorization_url(context, server, callback, client_name="The app in question"))
    sign_in(page, **owner)
    page.get_by_role("button", name="Allow").click()
    page.goto(f"{server.url}/account")
    app = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="The app in question"))
    expect(app).to_contain_text("Read the notes and add new ones.")
    expect(app).to_contain_text("A program on your computer")
    app.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_role("status")).to_have_text("The app is disconnected.")
    expect(page.get_by_text("The app in question")).to_have_count(0)


def test_a_password_is_changed_and_other_devices_are_signed_out(
    server: Server, owner: dict[str, str], context: BrowserContext, chromium: Browser
) -> None:
    page = context.new_page()
    gus = join(page, server, "gus")
    elsewhere = chromium.new_context()
    other = elsewhere.new_page()
    other.goto(f"{server.url}/account")
    sign_in(other, **gus)
    page.reload()
    expect(page.get_by_text("This device")).to_have_count(1)
    expect(page.get_by_text("Chrome on Linux")).to_have_count(2)
    page.get_by_role("link", name="Change the password").click()
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password", exact=True).fill("another " + PASSWORD)
    page.get_by_label("The new password again").fill("another " + PASSWORD)
    page.get_by_role("button", name="Save the new password").click()
    expect(page.get_by_role("status")).to_contain_text("Your password is changed.")
    other.reload()
    expect(other.get_by_role("heading", level=1)).to_have_text("Sign in")
    elsewhere.close()


def test_a_link_on_another_site_does_not_ride_on_a_remembered_consent(
    default_project: Path,
    running_engines: Callable[[str], Engine],
    context: BrowserContext,
    callback: str,
) -> None:
    """Attack 7b: lead who consented once to the sign-in from another site. Source: GHSA-6x8h-498w-gv8c."""
    store = running_engines(choices("storage")[0]).settings(uuid4().hex)
    with Server(default_project, store, AUTH_REMEMBER_CONSENT_DAYS="30").running() as server:
        page = context.new_page()
        join(page, server, "ida")
        url = authorization_url(context, server, callback, scope="notes:read")
        page.goto(url)
        page.get_by_label("Do not ask again for 30 days").check()
        page.get_by_role("button", name="Allow").click()
        expect(page.get_by_role("heading")).to_have_text("Back")
        page.goto(url)  # as if a program had opened it
        expect(page.get_by_role("heading")).to_have_text("Back")
        assert "code" in answer_of(page.url)
        for elsewhere in (callback.replace("127.0.0.1", "localhost"), callback):
            page.goto(elsewhere)
            page.evaluate("url => { location.href = url }", url)
            expect(page.get_by_role("button", name="Allow")).to_be_visible()
        page.goto(url)
        expect(page.get_by_role("heading")).to_have_text("Back")


def test_errors_say_what_to_do_next(
    server: Server, owner: dict[str, str], context: BrowserContext, callback: str
) -> None:
    page = context.new_page()
    url = authorization_url(context, server, callback)
    for address in (
        f"{server.url}/consent?request=unknown",
        url.replace("client_id=", "client_id=un"),
        url.replace("%2Fcallback", "%2Fother"),
        f"{server.url}/invite/mcpiv_unknown",
    ):
        answer = page.goto(address)
        assert answer
        assert answer.status in (400, 410), address
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert len(page.locator("main p").all()) >= 2  # what happened, and what to do
    page.goto(url)
    stranger = context.browser.new_context() if context.browser else None
    assert stranger is not None
    other = stranger.new_page()
    other.goto(page.url)
    expect(other.get_by_role("heading", level=1)).to_be_visible()
    assert "sign-in" in other.content().lower()
    stranger.close()


def test_an_error_goes_to_an_unknown_address_by_a_click_only(server: Server, context: BrowserContext) -> None:
    """Attack 33: send people on by an error, without a word of theirs. Source: RFC 9700 4.11.2."""
    page = context.new_page()
    context.route("https://client.example/**", lambda route: route.fulfill(body="<h1>Back</h1>"))
    page.goto(authorization_url(context, server, "https://client.example/cb", response_type="token"))
    expect(page.get_by_text("https://client.example")).to_be_visible()
    page.get_by_role("link", name="Go on to this address").click()
    expect(page.get_by_role("heading")).to_have_text("Back")
    told = answer_of(page.url)
    assert (told["error"], told["state"], told["iss"]) == ("unsupported_response_type", "xyz", server.url)


def test_signing_out_ends_on_a_page(server: Server, owner: dict[str, str], context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(f"{server.url}/account")
    sign_in(page, **owner)
    expect(page.get_by_text(f"{server.url}/mcp", exact=True)).to_be_visible()
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    page.goto(f"{server.url}/account")
    expect(page.get_by_label("Password")).to_be_visible()


def test_no_page_of_ours_can_be_framed(server: Server, context: BrowserContext, callback: str) -> None:
    """Attack 6: frame the sign-in page. Source: RFC 9700 4.16."""
    page = context.new_page()
    page.goto(callback)
    page.set_content(f'<iframe src="{server.url}/login"></iframe>')
    page.wait_for_timeout(500)
    assert all("password" not in frame.content() for frame in page.frames[1:])
    assert any("frame" in complaint for complaint in complaints)
    complaints.clear()
