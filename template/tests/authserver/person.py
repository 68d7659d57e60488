"""Somebody who fills forms. No JavaScript, no CSP: a real browser is another test's business."""

import contextlib
import threading
import time
from html.parser import HTMLParser
from typing import Any, Protocol

import httpx2
import logins
import pytest

PASSWORD = "correct horse battery staple"


class Site(Protocol):
    """What a person needs to know of a server."""

    @property
    def url(self) -> str:
        """Its public URL."""


def http_client(site: Site, **options: Any) -> httpx2.Client:
    """Return a client for one site. They are made by the dozen and never closed: nothing is kept alive."""
    # No TLS here: loading certificates for each client would take most of the time.
    limits = httpx2.Limits(max_keepalive_connections=0)
    # A busy machine is slow, not wrong.
    return httpx2.Client(base_url=site.url, verify=False, limits=limits, timeout=300, **options)


class Form(HTMLParser):
    """The first form of a page that has a field of that name: where it posts, and what is in it."""

    def __init__(self, html: str, holding: str = "csrf") -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.feed(html)
        forms = [form for form in self.forms if holding in form[1]]
        assert forms, html
        self.action, self.fields = forms[0]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((named["action"], {}))
        elif tag in ("input", "button") and self.forms and "name" in named:
            self.forms[-1][1].setdefault(named["name"], named.get("value", ""))


class Person:
    """Somebody with a browser."""

    def __init__(self, server: Site, name: str = "alice", password: str = PASSWORD) -> None:
        self.url = server.url
        self.name = name
        self.password = password
        self.browser = http_client(server, headers={"Accept": "text/html"})

    def get(self, url: str) -> httpx2.Response:
        """Follow redirects, as long as they stay on the server."""
        response = self.browser.get(url)
        return self.follow(response)

    def follow(self, response: httpx2.Response) -> httpx2.Response:
        for _ in range(20):
            if not (response.is_redirect and response.has_redirect_location):
                return response
            location = str(response.next_request.url) if response.next_request else ""
            if not location.startswith(self.url):
                return response
            response = self.browser.get(location)
        raise AssertionError("the browser is sent round in circles")

    def submit(self, page: httpx2.Response, holding: str = "csrf", **values: str) -> httpx2.Response:
        form = Form(page.text, holding)
        return self.follow(self.browser.post(form.action, data={**form.fields, **values}))

    def join(self, link: str) -> httpx2.Response:
        """Get an account, by this one-time link where the login uses them; end signed in."""
        return logins.chosen().join(self, link)

    def sign_in(self, page: httpx2.Response) -> httpx2.Response:
        """Do what the sign-in page asks."""
        return logins.chosen().sign_in(self, page)

    def enter(self, page: httpx2.Response) -> httpx2.Response:
        """Sign in where the page asks for it; return the page that comes then."""
        return self.sign_in(page) if logins.chosen().asks(page) else page

    def allow(self, url: str, decision: str = "allow", **ticked: str) -> str:
        """Go through sign-in and consent, with these boxes ticked; return where the browser is sent."""
        page = self.enter(self.get(url))
        if 'name="decision"' in page.text:
            page = self.submit(page, "decision", decision=decision, **ticked)
        return page.headers["location"]


def visit(person: Person, url: str) -> None:
    """Let `person` be the browser that goes to `url` and ends at the client."""
    callback = person.allow(url)
    # Clients open the browser first and listen afterwards.
    for _ in range(100):
        with contextlib.suppress(httpx2.ConnectError):
            person.browser.get(callback)
            return
        time.sleep(0.05)


def browse(monkeypatch: pytest.MonkeyPatch, person: Person) -> list[str]:
    """Let `person` be the browser that MCP clients open; return the addresses that were opened."""
    opened: list[str] = []

    def open_browser(url: str, *_: Any, **__: Any) -> bool:
        opened.append(url)
        threading.Thread(target=visit, args=(person, url)).start()
        return True

    monkeypatch.setattr("webbrowser.open", open_browser)
    return opened
