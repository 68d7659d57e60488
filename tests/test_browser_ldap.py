"""A real Chromium without JavaScript, and a real OpenLDAP: sign in, consent, disconnect, second factor."""

import gc
import time
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any
from uuid import uuid4

import effort
import pyotp
import pytest
from conftest import Rendered
from engines import Engine
from playwright.sync_api import Browser, Page, expect
from rendering import DEFAULTS
from servers import Server
from test_browser import PASSWORD, SECONDS, answer_of, authorization_url, callback, chromium, sign_in

__all__ = ["callback", "chromium"]

pytestmark = effort.push


@pytest.fixture(scope="module")
def directory() -> Any:
    """The directory of this test process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ldap3 uses old names, and leaves sockets to the garbage collector
        running = import_module("logins.ldap").directory()
        gc.collect()
    return running


@pytest.fixture(scope="module")
def server(directory: Any, rendered: Rendered, running_engines: Any) -> Iterator[Server]:
    """A project with that directory."""
    engine: Engine = running_engines(DEFAULTS["storage"])
    store = engine.settings(uuid4().hex) | directory.settings()
    with Server(rendered(DEFAULTS | {"login": "ldap"}), store).running() as running:
        yield running


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(java_script_enabled=False)
    context.set_default_timeout(SECONDS * 1000)
    yield context.new_page()
    context.close()


def test_from_sign_in_to_disconnecting(server: Server, directory: Any, page: Page, callback: str) -> None:
    directory.person("Zoë", PASSWORD)
    page.goto(authorization_url(page.context, server, callback, "The app in question", scope="notes:read"))
    sign_in(page, "zoë", "a wrong password")
    expect(page.get_by_role("alert")).to_be_visible()
    sign_in(page, "zoë", PASSWORD)
    expect(page.get_by_text("Zoë")).to_be_visible()
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading")).to_have_text("Back")
    assert "code" in answer_of(page.url)
    page.goto(f"{server.url}/account")
    page.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_role("status")).to_have_text("The app is disconnected.")
    page.goto(authorization_url(page.context, server, callback, scope="notes:read"))
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("heading")).to_have_text("Back")
    assert answer_of(page.url)["error"] == "access_denied"


def test_a_forgotten_password_is_replaced_in_the_directory(
    server: Server, directory: Any, page: Page
) -> None:
    directory.person("forgetful", PASSWORD)
    page.goto(f"{server.url}/login")
    sign_in(page, "forgetful", "another one")
    expect(page.get_by_role("alert")).to_be_visible()
    directory.person("forgetful", "another one")
    sign_in(page, "forgetful", "another one")
    page.wait_for_url(f"{server.url}/account")


def test_a_second_factor_is_set_up_and_used(server: Server, directory: Any, page: Page) -> None:
    directory.person("careful", PASSWORD)
    page.goto(f"{server.url}/login")
    sign_in(page, "careful", PASSWORD)
    page.get_by_role("link", name="Set up a second factor").click()
    app = pyotp.TOTP(page.locator("main .box code").inner_text().replace(" ", ""))
    page.get_by_label("6-digit code from the app").fill(app.at(time.time()))
    page.get_by_role("button", name="Turn it on").click()
    page.get_by_role("link", name="I have kept them: continue").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.goto(f"{server.url}/login")
    sign_in(page, "careful", PASSWORD)
    expect(page.get_by_role("heading", level=1)).to_have_text("Enter your code")
    page.get_by_label("6-digit code").fill(app.at(time.time() + 30))
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"{server.url}/account")
