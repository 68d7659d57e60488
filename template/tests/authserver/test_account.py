"""The account page: devices, connected apps, signing in again before what is dangerous."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import httpx2
import pytest
from conftest import Live, invite, meanwhile, new_person
from oauth_client import OAuthClient, alive, answered
from operators import Operator
from person import Form, Person

from authserver import limits
from authserver.browser.devices import describe

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


def another_browser(live: Live, name: str, user_agent: str = FIREFOX) -> Person:
    """Return the same person, signed in with another browser."""
    person = Person(live, name)
    person.browser.headers["User-Agent"] = user_agent
    assert person.enter(person.get("/account")).url.path == "/account"
    return person


def is_in(person: Person) -> bool:
    """Say whether the browser is signed in: not whether it would be at once, as behind a proxy."""
    return person.browser.get("/account").status_code == 200


def post(person: Person, path: str, **fields: str) -> httpx2.Response:
    """Post with the token of a form on the account page."""
    csrf = Form(person.get("/account").text).fields["csrf"]
    return person.browser.post(path, data={"csrf": csrf} | fields)


@contextmanager
def later(direction: int = 1) -> Iterator[None]:
    """A while after every sign-in so far, or before them: the clock was set back."""
    now = time.time() + direction * (limits.FRESH_SECONDS + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("authserver.clock.now", lambda: now)
        yield


# ----------------------------------------------------------------------------------------- devices


def test_devices_are_named_and_signed_out_one_by_one_or_together(live: Live) -> None:
    """Attack 12: stay signed in on a device that its user signed out. Source: OWASP ASVS 5.0 7.4.5, 7.5.2."""
    here = new_person(live, "dave")
    phone = another_browser(live, "dave", "Mozilla/5.0 (iPhone) Version/18 Mobile/1 Safari/604.1")
    other, fourth = another_browser(live, "dave"), another_browser(live, "dave", "<b>odd</b>")
    page = here.get("/account")
    for name in ("Safari on iPhone", "Firefox on Linux", "unknown browser"):
        assert name in page.text
    assert page.text.count("This device") == 1
    assert "<b>odd" not in page.text
    form = page.text.partition("Safari on iPhone")[2].partition("</form>")[0]
    page = here.submit(SimpleNamespace(text=form), "device")  # type: ignore[arg-type]
    assert "The device is signed out" in page.text
    assert "The device is signed out" not in here.get("/account").text  # said once
    assert [is_in(person) for person in (here, phone, other, fourth)] == [True, False, True, True]
    post(here, "/account/devices")
    assert [is_in(person) for person in (here, other, fourth)] == [True, False, False]


@pytest.mark.parametrize(
    ("user_agent", "names"),
    [
        (FIREFOX, ("Firefox", "Linux")),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537 (like Gecko) Chrome/142 Safari/537.36 Edg/142",
            ("Edge", "Windows"),
        ),
        (
            "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537 (like Gecko) Chrome/142 Mobile Safari/537",
            ("Chrome", "Android"),
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Version/18 Safari/605",
            ("Safari", "macOS"),
        ),
        ("curl/8", ("", "")),
        ("", ("", "")),
    ],
)
def test_a_browser_is_told_by_what_it_says(user_agent: str, names: tuple[str, str]) -> None:
    assert describe(user_agent) == names


def test_a_device_of_somebody_else_is_out_of_reach(live: Live, alice: Person) -> None:
    """Attack 12: sign out the devices of others. Source: OWASP ASVS 5.0 8.2.2."""
    carol = new_person(live, "carol")
    page = another_browser(live, "carol").get("/account").text
    device = page.partition('name="device" value="')[2].partition('"')[0]
    assert device
    post(alice, "/account/devices", device=device)
    assert is_in(carol)


def test_the_account_page_holds_nothing_that_opens_anything(live: Live) -> None:
    """Attack 12: read a session or a grant in the page. Source: OWASP ASVS 5.0 14.2.1."""
    person = new_person(live, "quiet")
    another_browser(live, "quiet")
    tokens = OAuthClient(live).tokens(person)
    page = person.get("/account").text
    values = [cookie.value or "" for cookie in person.browser.cookies.jar]

    async def stored(storage: Any) -> list[str]:
        user = await storage.users.get("quiet")
        sessions = await storage.sign_ins.list_sessions(user.subject)
        grants = await storage.grants.all(user.subject)
        return [session.digest.hex() for session in sessions] + [grant.grant_id for grant in grants]

    given = [tokens["access_token"], tokens["refresh_token"]]
    for secret in [*values, *given, *anyio.run(live.on_storage, stored)]:
        assert secret not in page.replace(f'value="{Form(page).fields["csrf"]}"', "")


# -------------------------------------------------------------------------------------------- apps


def test_a_connected_app_is_shown_and_disconnected(live: Live, alice: Person) -> None:
    """Attack 12, 13: an app goes on after its user disconnected it. Source: RFC 7009 1, RFC 6819 5.1.5."""
    client, other = OAuthClient(live, client_name="<i>Notes</i>"), OAuthClient(live)
    tokens, again = client.tokens(alice, scope="write"), client.tokens(alice)
    kept = other.tokens(alice)
    page = alice.get("/account")
    for text in ("&lt;i&gt;Notes&lt;/i&gt;", "Not verified", "A program on your computer", "Read and change"):
        assert text in page.text
    assert page.text.count("&lt;i&gt;Notes&lt;/i&gt;") == 1  # however often it was allowed
    assert "is disconnected" in alice.follow(post(alice, "/account/apps", app=client.id)).text
    for answer in (tokens, again):
        time.sleep(live.auth.tokens.revoked_within_seconds)
        assert not alive(live, answer["access_token"])
        assert client.refresh(answer["refresh_token"]).status_code == 400
    assert alive(live, kept["access_token"])


def test_where_codes_go_is_shown(live: Live, alice: Person) -> None:
    client = OAuthClient(live, redirect_uris=["https://app.example/cb", "cursor://anysphere.cursor-mcp/cb"])
    for uri in client.registered["redirect_uris"]:
        client.code(alice, redirect_uri=uri)
    page = alice.get("/account").text
    assert "https://app.example<" in page
    assert "cursor://anysphere.cursor-mcp<" in page


def test_an_app_of_somebody_else_is_out_of_reach(live: Live, alice: Person) -> None:
    """Attack 12: disconnect the apps of others. Source: OWASP ASVS 5.0 8.2.2."""
    client = OAuthClient(live)
    tokens = client.tokens(alice)
    post(new_person(live, "trudy"), "/account/apps", app=client.id)
    assert alive(live, tokens["access_token"])


# ------------------------------------------------------------------------------------ signing out


@pytest.mark.parametrize("apps", [True, False])
def test_signing_out_everywhere_ends_all_sessions_and_apps_where_wanted(live: Live, apps: bool) -> None:
    """Attack 12: stay signed in after the user signed out everywhere. Source: OWASP ASVS 5.0 7.4.3."""
    person = new_person(live, f"olga-{apps}")
    other = another_browser(live, person.name)
    tokens = OAuthClient(live).tokens(person)
    page = person.get("/account/sign-out")
    fields = {name: value for name, value in Form(page.text).fields.items() if name != "apps"}
    answer = person.browser.post("/account/sign-out", data=fields | ({"apps": "on"} if apps else {}))
    assert "signed out everywhere" in answer.text
    assert not is_in(person)
    assert not is_in(other)
    time.sleep(live.auth.tokens.revoked_within_seconds)
    assert alive(live, tokens["access_token"]) is not apps


# ------------------------------------------------------------------------------- signing in again


@pytest.mark.parametrize("direction", [1, -1])
def test_a_dangerous_step_asks_to_sign_in_again_and_comes_back(
    live: Live, alice: Person, direction: int
) -> None:
    """Attack 12: use a browser that was left alone. Source: OWASP ASVS 5.0 7.5.1, 7.5.3."""
    person = another_browser(live, "alice")
    csrf = Form(person.get("/account/sign-out").text).fields["csrf"]
    with later(direction):
        refused = person.browser.post("/account/sign-out", data={"csrf": csrf})
        assert refused.headers["location"] == "/login"
        asked = person.browser.get("/account/sign-out")
        assert asked.headers["location"] == "/login"
    assert person.enter(person.follow(asked)).url.path == "/account/sign-out"
    assert is_in(person)


@pytest.mark.parametrize("path", ["https://evil.example/", "//evil.example/", "/account|", "|"])
def test_the_way_back_cannot_be_chosen_by_anybody(live: Live, alice: Person, path: str) -> None:
    """Attack 8: use signing in again as an open redirect. Source: RFC 9700 4.11.2."""
    person = another_browser(live, "alice")
    names = [name for name in person.browser.cookies if name.startswith("session")]
    person.browser.cookies.set(names[0].replace("session", "back"), f"{path}|{'0' * 64}")
    assert person.get("/login").url.path == "/account"  # signed in: nothing to do


def test_every_form_of_the_account_is_taken_only_from_a_page_of_ours(live: Live, alice: Person) -> None:
    """Attack 7: have a victim's browser post a form of their account. Source: RFC 9700 4.7."""
    foreign = Form(new_person(live, "eve").get("/account").text).fields["csrf"]
    paths = {
        str(getattr(route, "path", ""))
        for route in live.auth.get_routes("/mcp")
        if "POST" in (getattr(route, "methods", None) or ())
    }
    paths = {path for path in paths if path.startswith("/account")}
    assert len(paths) >= 3
    for path in paths:
        for csrf in ({}, {"csrf": ""}, {"csrf": foreign}):
            answer = alice.browser.post(path, data={"app": "x", "device": "x", "apps": "on"} | csrf)
            assert answer.status_code == 403, path
        answer = Person(live).browser.post(path, data={"csrf": foreign})
        assert answer.headers["location"] == "/login", path
    assert is_in(alice)


# ---------------------------------------------------------------------------- somebody else may be in


def test_the_owner_ends_all_that_others_began(live: Live) -> None:
    """Attack 12, 13: stay in an account whose owner noticed. Source: OWASP ASVS 5.0 7.4.3, 7.4.4."""
    owner = new_person(live, "worried")
    thief = another_browser(live, "worried")
    client = OAuthClient(live)
    tokens = client.tokens(thief)
    link = invite(live, "worried")
    page = owner.get("/account/secure")
    done = owner.submit(page, "csrf")
    assert "All other devices are signed out and all apps are disconnected" in done.text
    assert (is_in(owner), is_in(thief)) == (True, False)
    assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert owner.browser.get(link).status_code in (404, 410)
    with later():
        assert owner.browser.get("/account/secure").headers["location"] == "/login"
        refused = owner.browser.post("/account/secure", data=Form(page.text).fields)
        assert refused.headers["location"] == "/login"


def test_a_consent_page_of_before_is_shown_again(live: Live) -> None:
    """Attack 7, 12: allow by a page that lay open while access was ended. Source: OWASP ASVS 5.0 7.4.3."""
    person = new_person(live, "open")
    page = person.get(OAuthClient(live).authorization_url())
    assert 'name="decision"' in page.text
    post(person, "/account/devices")  # ends all that was begun but this session
    again = person.submit(page, "decision", decision="allow")
    assert again.url.path == "/consent"
    assert "code" in answered(person.submit(again, "decision", decision="allow").headers["location"])


@pytest.mark.parametrize("doing", ["grants.get_request", "sign_ins.get_session"])
def test_a_consent_that_is_given_while_access_ends_gives_no_code(live: Live, doing: str) -> None:
    """Attack 12, 13: post a consent while the account is recovered. Source: OWASP ASVS 5.0 7.4.3."""
    person = new_person(live, f"posting-{doing[0]}")
    page = person.get(OAuthClient(live).authorization_url())
    form = Form(page.text, "decision")
    with meanwhile(live, person.name, doing):
        answer = person.browser.post(form.action, data={**form.fields, "decision": "allow"})
    assert answer.headers["location"].startswith("/login?request=")  # the request waits for who signs in
    assert anyio.run(live.on_storage, grants_of(person.name)) == []


def grants_of(name: str) -> Any:
    async def grants(storage: Any) -> Any:
        user = await storage.users.get(name)
        return await storage.grants.all(user.subject)

    return grants


def test_sessions_of_a_user_are_bounded(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 22: sign in a thousand times with a right password. Source: threat model."""
    monkeypatch.setattr(limits, "SESSIONS_OF_A_USER", 3)
    first = new_person(live, "many")
    others = [another_browser(live, "many") for _ in range(4)]
    assert [is_in(person) for person in (first, *others)] == [False, False, True, True, True]


# ---------------------------------------------------------------------------------------- commands


def test_operators_list_and_end_sessions(start: Callable[..., Live], operator: Operator) -> None:
    """Attack 12: stay signed in after an operator signed the user out. Source: OWASP ASVS 5.0 7.4.5."""
    server = start()
    person = new_person(server, "alice")
    other = another_browser(server, "alice")
    tokens = OAuthClient(server).tokens(person)
    names = [row["browser"] for row in operator.rows("users", "sessions", "alice")]
    assert names == ["", "Firefox Linux"]
    operator.types("users", "sign-out", "alice")
    assert operator.rows("users", "sessions", "alice") == []
    assert not is_in(person)
    assert not is_in(other)
    assert alive(server, tokens["access_token"])
    operator.types("users", "sign-out", "alice", "--apps")
    time.sleep(server.auth.tokens.revoked_within_seconds)
    assert not alive(server, tokens["access_token"])


def test_operators_secure_an_account(start: Callable[..., Live], operator: Operator) -> None:
    """Attack 12, 13: stay in an account whose password or device was stolen. Source: OWASP ASVS 5.0 7.4.5."""
    server = start()
    person = new_person(server, "alice")
    other = another_browser(server, "alice")
    client = OAuthClient(server)
    tokens = client.tokens(person)
    link = invite(server, "alice")

    async def add(storage: Any) -> None:
        user = await storage.users.get("alice")
        for kind in ("second-factor", "passkey:1", "passkey:2"):
            assert await storage.sign_ins.put_credential(user.subject, kind, b"x", counter=0)

    def kinds() -> set[str]:
        return {row["kind"] for row in operator.rows("users", "credentials", "alice")}

    anyio.run(server.on_storage, add)
    everything = kinds()
    assert "alice: all sessions" in operator.types("users", "secure", "Alice")
    assert not is_in(person)
    assert not is_in(other)
    assert client.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert person.browser.get(link).status_code in (404, 410)
    assert kinds() == everything
    operator.types("users", "secure", "alice", "--factors")
    assert kinds() == everything - {"second-factor"}
    operator.types("users", "secure", "alice", "--passkeys")
    assert not any(kind.startswith("passkey:") for kind in kinds())


def test_operators_take_credentials_away(start: Callable[..., Live], operator: Operator) -> None:
    """Attack 12: stay signed in by a credential that was taken away. Source: OWASP ASVS 5.0 7.4.3."""
    server = start()
    person = new_person(server, "alice")

    async def add(storage: Any) -> None:
        user = await storage.users.get("alice")
        for kind in ("lost", "key:1", "key:2", "keyring"):
            assert await storage.sign_ins.put_credential(user.subject, kind, b"x", counter=0)

    def kinds() -> set[str]:
        return {row["kind"] for row in operator.rows("users", "credentials", "alice")}

    anyio.run(server.on_storage, add)
    others = kinds() - {"lost", "key:1", "key:2"}
    for kind, left in (("lost", {"key:1", "key:2"}), ("key", set())):
        operator.types("users", "remove-credential", "alice", kind)
        assert kinds() == others | left
    assert not is_in(person)
    assert "has no lost" in operator.fails("users", "remove-credential", "alice", "lost")
    for command in ("sessions", "sign-out", "secure", "credentials"):
        assert "no user nobody" in operator.fails("users", command, "nobody")
