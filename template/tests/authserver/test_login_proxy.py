"""Sign-in by a proxy's header, and what nobody must be able to do with it. The tests are the proxy."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
import structlog
from conftest import Live, invite, meanwhile, new_person
from httpx2 import Response
from oauth_client import OAuthClient, answered
from operators import Operator
from person import Form, Person

from authserver import warned
from authserver.all_settings import Settings, load_settings
from authserver.login.proxy import Settings as ProxySettings
from authserver.login.proxy import checks
from authserver.settings import SettingsError

SECRET = "what only the proxy knows, 32 characters"


@pytest.fixture(autouse=True)
def _nothing_warned() -> None:
    warned._warned.clear()


def named(person: Person, name: str | None, **headers: str) -> Person:
    """Let the proxy name somebody else from now on, or nobody."""
    person.browser.headers.pop("Remote-User", None)
    if name is not None:
        person.browser.headers.update({b"Remote-User": name.encode()})
    person.browser.headers.update(headers)
    return person


def names(server: Live) -> list[str]:
    async def list_names(storage: object) -> list[str]:
        return [user.name for user in await storage.users.all()]  # type: ignore[attr-defined]

    return sorted(anyio.run(server.on_storage, list_names))


def refused(page: Response, why: str) -> bool:
    """Say whether a page tells why nobody is signed in, and nobody is."""
    return page.status_code == 403 and why in page.text and "session" not in str(page.headers)


# ------------------------------------------------------------------------------------------ sign-in


def test_only_consent_remains(start: Callable[..., Live]) -> None:
    server = start()
    client = OAuthClient(server)
    person = named(Person(server), "CN=Zoë Müller, OU=Audit")
    page = person.get(client.authorization_url())
    assert "CN=Zoë Müller, OU=Audit" in page.text
    location = person.submit(page, "decision", decision="allow").headers["location"]
    assert client.redeem(answered(location)["code"]).status_code == 200
    assert names(server) == ["CN=Zoë Müller, OU=Audit"]


def test_the_header_has_the_name_that_is_set(start: Callable[..., Live]) -> None:
    server = start(proxy_user_header="X-Forwarded-User")
    assert refused(named(Person(server), "alice").get("/login"), "did not say who you are")
    person = named(Person(server), None, **{"X-Forwarded-User": "alice"})
    assert person.get("/login").url.path == "/account"


def test_without_a_name_there_is_a_page_that_helps(live: Live) -> None:
    page = Person(live).get(OAuthClient(live).authorization_url())
    assert refused(page, "did not say who you are")
    assert "users invite" in page.text


def test_a_name_from_anybody_but_the_proxy_is_refused(start: Callable[..., Live]) -> None:
    """Attack 11d: name oneself, past the proxy. Source: RFC 9110 17.2, Grafana CVE-2022-35957."""
    server = start(proxy_peers="10.0.0.1,192.168.0.0/16")
    with structlog.testing.capture_logs() as logged:
        for path in ("/login", "/login", "/account"):
            assert refused(named(Person(server), "admin").get(path), "does not come from the proxy")
    [warning] = [entry for entry in logged if entry["log_level"] == "warning"]
    assert "AUTH_PROXY_PEERS" in warning["event"]
    assert warning["sender"] == "127.0.0.1"
    assert names(server) == []


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP"])
def test_no_header_makes_a_sender_the_proxy(start: Callable[..., Live], name: str) -> None:
    """Attack 11d: claim the proxy's address in a header. Source: RFC 7239 8.1."""
    server = start(proxy_peers="10.0.0.1", trusted_proxies="127.0.0.1")
    for value in ("10.0.0.1", "10.0.0.1:1234", "for=10.0.0.1", "127.0.0.1, 10.0.0.1"):
        person = named(Person(server), "admin", **{name: value})
        assert refused(person.get("/login"), "does not come from the proxy")


def test_a_visitor_behind_the_proxy_takes_no_trust_from_it(start: Callable[..., Live]) -> None:
    """Attack 11d: be told apart from the proxy by a forged address. Source: RFC 7239 8.1."""
    server = start(trusted_proxies="127.0.0.1")
    person = named(Person(server), "alice", **{"X-Forwarded-For": "203.0.113.9"})
    assert person.get("/login").url.path == "/account"


@pytest.mark.parametrize(
    "headers",
    [
        [("Remote-User", "alice"), ("Remote-User", "admin")],
        [("Remote-User", "alice"), ("Remote-User", "alice")],
        [("Remote-User", "alice"), ("remote-user", "")],
        [("Remote-User", "alice"), ("Remote_User", "admin")],
        [("Remote_User", "admin")],
        [("REMOTE_USER", "admin")],
        [("Remote-User", "")],
        [("Remote-User", "\xc2\xa0")],
        [("Remote-User", "ali\tce")],
        [("Remote-User", "ali\xe2\x80\xaece")],
        [("Remote-User", "\xff")],
        [("Remote-User", "x" * 257)],
    ],
    ids=str,
)
def test_a_name_that_can_be_read_in_two_ways_is_nobodys(
    start: Callable[..., Live], headers: list[tuple[str, str]]
) -> None:
    """Attack 11d: a second header, another spelling, an empty or unreadable name.
    Source: RFC 9110 5.3, CWE-444; Django CVE-2015-0219 for the underscore.
    """
    server = start()
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    page = server.http(headers=[*raw, (b"Accept", b"text/html")]).get("/login")
    assert refused(page, "more than one way")
    assert names(server) == []


@pytest.mark.parametrize(
    "shown",
    [[], [""], ["wrong"], [SECRET + "x"], [SECRET[:-1]], [SECRET, SECRET], ["wrong", SECRET]],
    ids=["none", "empty", "wrong", "longer", "shorter", "twice", "two"],
)
def test_without_its_secret_the_proxy_is_not_believed(start: Callable[..., Live], shown: list[str]) -> None:
    """Attack 11d: name oneself from the proxy's own machine. Source: CWE-290, CWE-208."""
    server = start(proxy_secret=SECRET)
    headers = [("Remote-User", "admin"), ("Accept", "text/html")]
    with structlog.testing.capture_logs() as logged:
        page = server.http(headers=headers + [("Auth-Proxy-Secret", value) for value in shown]).get("/login")
    assert refused(page, "does not come from the proxy")
    [warning] = [entry for entry in logged if entry["log_level"] == "warning"]
    assert "AUTH_PROXY_SECRET" in warning["event"]
    assert SECRET not in str(logged)
    right = named(Person(server), "alice", **{"Auth-Proxy-Secret": SECRET})
    assert right.get("/login").url.path == "/account"


def test_a_disabled_user_stays_out(live: Live) -> None:
    """Attack 11d, 12: come back after one was disabled. Source: OWASP ASVS 5.0 7.4.2."""
    person = new_person(live, "ivan")
    anyio.run(live.on_storage, lambda storage: storage.users.disable("ivan"))
    for path in ("/login", "/account", OAuthClient(live).authorization_url()):
        assert refused(person.get(path), "disabled")


def test_a_sign_in_that_is_under_way_ends_with_all_access(live: Live) -> None:
    """Attack 12: be signed in by a request that began before access ended. Source: CWE-367."""
    person = new_person(live, "racer")
    person.browser.cookies.clear()
    with meanwhile(live, "racer", "users.add"):
        assert person.browser.get("/login").headers["location"] == "/login"
    assert not any(name.startswith("session") for name in person.browser.cookies)
    assert person.get("/account").url.path == "/account"  # the proxy names them still


def test_a_name_that_differs_in_case_is_not_taken_for_another(live: Live) -> None:
    """Attack 11d: be called almost like somebody else. Source: CWE-178."""
    assert named(Person(live), "straße").get("/login").url.path == "/account"
    for name in ("STRASSE", "Strasse"):
        assert refused(named(Person(live), name).get("/login"), "Another spelling")


# ------------------------------------------------------------------------------- while one is signed in


def test_a_consent_shown_to_one_is_not_given_by_another(live: Live) -> None:
    """Attack 7, 11d: be named otherwise between the page and the answer. Source: RFC 6749 10.12."""
    client = OAuthClient(live)
    person = new_person(live, "frank")
    consent = person.get(client.authorization_url())
    assert named(person, "grace").browser.get("/account").is_redirect
    assert named(person, "frank").browser.get("/account").is_redirect  # the session has ended
    page = named(person, "grace").submit(consent, "decision", decision="allow")
    assert page.url.path == "/consent"  # shown anew, to whom the proxy names now
    assert "grace" in page.text
    assert "frank" not in page.text
    assert person.submit(consent, "decision", decision="allow").status_code == 403
    assert "code" in answered(person.submit(page, "decision", decision="allow").headers["location"])


def test_a_session_alone_opens_nothing(live: Live) -> None:
    """Attack 11d: go on past the proxy with a session's cookie. Source: OWASP ASVS 5.0 7.4.1."""
    person = new_person(live, "heidi")
    consent = person.get(OAuthClient(live).authorization_url())
    named(person, None)
    assert person.submit(consent, "decision", decision="allow").status_code == 403
    for path in ("/account", "/login", OAuthClient(live).authorization_url()):
        assert refused(person.get(path), "did not say who you are")


def test_a_consent_needs_the_proxy_too(start: Callable[..., Live]) -> None:
    """Attack 11d: send the answer past the proxy. Source: RFC 9110 17.2."""
    server = start(proxy_secret=SECRET)
    person = named(Person(server), "alice", **{"Auth-Proxy-Secret": SECRET})
    consent = person.get(OAuthClient(server).authorization_url())
    person.browser.headers["Auth-Proxy-Secret"] = "wrong"
    page = person.submit(consent, "decision", decision="allow")
    assert page.status_code == 403
    assert "does not come from the proxy" in page.text


def test_who_signs_out_learns_that_the_proxy_still_knows_them(start: Callable[..., Live]) -> None:
    server = start(proxy_sign_out_url="https://auth.example/logout?a=b&c")
    person = named(Person(server), "alice")
    for path in ("/account", OAuthClient(server).authorization_url()):
        form = Form(person.get(path).text)
        page = person.browser.post(form.action, data=form.fields)
        assert 'href="https://auth.example/logout?a=b&amp;c"' in page.text
        assert person.browser.get("/account").is_redirect


# ------------------------------------------------------------------------------------------- groups

GROUPS = '{"staff": "read", "editors": "write read", "cn=admins,ou=x": "*"}'


@pytest.mark.parametrize(
    ("groups", "granted"),
    [
        ("staff", "read"),
        ("unknown, editors ,staff", "read write"),
        ("", None),
        ("unknown", None),
        ("staffeditors", None),
        ("cn=admins,ou=x", None),
    ],
)
def test_groups_say_what_may_be_granted(start: Callable[..., Live], groups: str, granted: str | None) -> None:
    server = start(proxy_group_scopes=GROUPS)
    client = OAuthClient(server)
    person = named(Person(server), "alice", **{"Remote-Groups": groups})
    location = person.allow(client.authorization_url(scope="read write admin"))
    if granted is None:
        assert answered(location)["error"] == "access_denied"
    else:
        assert client.redeem(answered(location)["code"]).json()["scope"] == granted


def test_an_error_is_told_to_an_app_that_was_allowed_where_the_proxy_names_nobody(
    start: Callable[..., Live],
) -> None:
    """At the authorization endpoint, which is for programs too."""
    server = start()
    client = OAuthClient(server, redirect_uris=["https://app.example/cb"])
    person = named(Person(server), "alice")
    url = client.authorization_url(response_type="token")
    for allowed in (False, True):
        assert person.get("/account").status_code == 200
        named(person, None)
        answer = person.browser.get(url)
        assert (answer.status_code, "response_type must be code" in answer.text) == (
            (303, False) if allowed else (400, True)
        )
        client.tokens(named(person, "alice"))


def test_the_separator_of_groups_can_be_set(start: Callable[..., Live]) -> None:
    server = start(proxy_group_scopes=GROUPS, proxy_groups_separator="|", proxy_groups_header="X-Groups")
    client = OAuthClient(server)
    person = named(Person(server), "alice", **{"X-Groups": "other|cn=admins,ou=x"})
    assert client.tokens(person, scope="admin")["scope"] == "admin"


def test_who_leaves_a_group_loses_its_scopes_at_once(start: Callable[..., Live]) -> None:
    """Attack 11d: keep what a group allowed. Source: OWASP ASVS 5.0 8.3.2."""
    server = start(proxy_group_scopes=GROUPS)
    client = OAuthClient(server)
    person = named(Person(server), "alice", **{"Remote-Groups": "editors"})
    consent = person.get(client.authorization_url(scope="write"))
    refresh = client.tokens(person, scope="write")["refresh_token"]
    person.browser.headers["Remote-Groups"] = "staff"
    page = person.submit(consent, "decision", decision="allow")
    assert "<code>read</code>" in page.text  # shown anew
    assert "Read and change things." not in page.text
    assert client.refresh(refresh).json()["scope"] == "read"


def test_groups_that_can_be_read_in_two_ways_are_refused(start: Callable[..., Live]) -> None:
    """Attack 11d: add a group beside those of the proxy. Source: RFC 9110 5.3."""
    server = start(proxy_group_scopes=GROUPS)
    for name in ("Remote-Groups", "Remote_Groups"):
        headers = [("Remote-User", "eve"), ("Remote-Groups", "staff"), (name, "editors")]
        page = server.http(headers=[*headers, ("Accept", "text/html")]).get("/login")
        assert refused(page, "more than one way")
    assert names(server) == []


# --------------------------------------------------------------------- a link, when the proxy names nobody


def test_a_link_signs_in_without_the_proxy_once(live: Live) -> None:
    """Attack 12: use a link twice, or have a preview use it up. Source: threat model."""
    link = invite(live, "operator")
    person = Person(live, "operator")
    for _ in range(2):
        page = person.get(link)
    with structlog.testing.capture_logs() as logged:
        assert person.submit(page).url.path == "/account"
    [entry] = [entry for entry in logged if entry["event"] == "signed in without the proxy"]
    assert entry["subject"]
    assert entry["address"] == "127.0.0.1"
    assert "code" in answered(person.allow(OAuthClient(live).authorization_url()))
    assert Person(live).get(link).status_code == 410
    assert person.submit(person.get("/account")).status_code == 200  # signs out
    assert refused(person.get("/account"), "did not say who you are")


def test_only_the_session_of_the_link_goes_without_the_proxy(live: Live) -> None:
    """Attack 11d: use the link of an operator for a session of one's own. Source: CWE-290."""
    by_proxy = new_person(live, "olga")
    first = Person(live)
    first.submit(first.get(invite(live, "olga")))
    by_proxy.get("/login")
    assert first.get("/account").url.path == "/account"
    assert refused(named(by_proxy, None).get("/account"), "did not say who you are")
    second = Person(live)
    second.submit(second.get(invite(live, "olga")))
    assert second.get("/account").url.path == "/account"
    assert refused(first.get("/account"), "did not say who you are")


def test_a_session_of_a_link_ends_where_the_proxy_names_another(live: Live) -> None:
    person = Person(live)
    person.submit(person.get(invite(live, "pete")))
    page = named(person, "quinn").get("/account")
    assert "quinn" in page.text
    assert "pete" not in page.text


def test_a_link_for_somebody_else_than_the_proxy_names_is_kept(live: Live) -> None:
    link = invite(live, "rita")
    page = named(Person(live), "sven").get(link)
    assert refused(page, "This link is for somebody else")
    person = named(Person(live), "rita")
    assert person.submit(person.get(link)).url.path == "/account"


def test_a_disabled_operator_gets_in_by_no_link(live: Live) -> None:
    """Attack 12: use a link after one was disabled. Source: OWASP ASVS 5.0 7.4.2."""
    new_person(live, "tom")
    anyio.run(live.on_storage, lambda storage: storage.users.disable("tom"))
    person = Person(live)
    assert person.submit(person.get(invite(live, "tom"))).status_code == 410


@pytest.mark.parametrize("proxied", [False, True])
def test_the_first_account_may_grant_everything(start: Callable[..., Live], proxied: bool) -> None:
    server = start()
    link = invite(server, None, ["*"])
    owner = named(Person(server), "owner" if proxied else None)
    if not proxied:
        assert owner.submit(owner.get(link), "username", username="\u202e").status_code == 400
    page = owner.get(link)
    assert owner.submit(page, **({} if proxied else {"username": "owner"})).url.path == "/account"
    assert OAuthClient(server).tokens(owner, scope="admin")["scope"] == "admin"
    assert names(server) == ["owner"]


def test_the_command_makes_the_link(operator: Operator, start: Callable[..., Live]) -> None:
    server = start()
    link = operator.types("users", "invite", "alice").strip()
    person = Person(server)
    path = link.removeprefix("http://127.0.0.1:8000")
    assert person.submit(person.get(path)).url.path == "/account"


# ------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("peers", ""),
        ("peers", "proxy.example"),
        ("peers", "10.0.0.1/8"),
        ("peers", "0.0.0.0/0"),
        ("peers", "127.0.0.1,::/0"),
        ("user_header", "Cookie"),
        ("groups_header", "remote-user"),
        ("group_scopes", '{" staff": "read"}'),
        ("user_header", "Remote_User"),
        ("user_header", "Remote-User:"),
        ("groups_header", "HTTP_GROUPS"),
        ("group_scopes", "staff=read"),
        ("group_scopes", '{"staff": "read", "staff": "*"}'),
        ("group_scopes", '{"staff": ["read"]}'),
        ("group_scopes", "[]"),
        ("sign_out_url", "javascript:alert(1)"),
        ("sign_out_url", "javascript://host.example/%0aalert(1)"),
        ("sign_out_url", "//evil.example/"),
        ("sign_out_url", "logout"),
    ],
)
def test_a_wrong_setting_is_named_with_an_example(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for setting, given in (store | {f"proxy_{name}": value}).items():
        monkeypatch.setenv(f"AUTH_{setting.upper()}", given)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert str(refusal.value).startswith(f"AUTH_PROXY_{name.upper()}: ")
    assert "Example: AUTH_PROXY_" in str(refusal.value)


def test_without_the_address_of_the_proxy_nothing_starts(operator: Operator) -> None:
    operator.store.pop("proxy_peers")
    assert "AUTH_PROXY_PEERS: " in operator.fails("serve")


def test_what_cannot_be_judged_before_stops_the_start_too(start: Callable[..., Live]) -> None:
    for settings, why in (
        ({"proxy_secret": "short"}, "AUTH_PROXY_SECRET: at least 32"),
        ({"proxy_secret_file": "/no/such/file"}, "AUTH_PROXY_SECRET_FILE: cannot be read"),
        ({"proxy_group_scopes": '{"staff": "reed"}'}, "AUTH_PROXY_GROUP_SCOPES: no such scope: reed"),
    ):
        with pytest.raises(SettingsError, match=why):
            start(**settings)


def test_the_secret_may_come_from_a_file(
    start: Callable[..., Live], store: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    server = start(proxy_secret_file=file)
    person = named(Person(server), "alice", **{"Auth-Proxy-Secret": SECRET})
    assert person.get("/login").url.path == "/account"
    assert SECRET not in repr(Settings.model_validate(store | {"proxy_secret": SECRET}))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"proxy_peers": "127.0.0.1"}, ["note: AUTH_PROXY_SECRET"]),
        ({"proxy_peers": "10.0.0.0/8"}, ["unsafe: AUTH_PROXY_PEERS"]),
        ({"proxy_peers": "10.0.0.0/8", "proxy_secret": "s" * 40}, []),
    ],
)
def test_doctor_says_who_can_pass_for_the_proxy(settings: dict[str, str], said: list[str]) -> None:
    found = checks(ProxySettings.model_validate(settings))
    assert [f"{finding.level}: {finding.about}" for finding in found] == said
