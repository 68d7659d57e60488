"""Sessions, consent, cookies and forms: what browsers must not be talked into, however people sign in."""

import re
from collections.abc import Callable

import pytest
from conftest import Live, invite, new_person
from httpx2 import Response
from oauth_client import OAuthClient, answered
from person import Form, Person


def csrf_of(page: Response) -> str:
    """Return the token of the page's form, or a made-up one where it has none."""
    found = re.search('name="csrf" value="([^"]+)"', page.text)
    return found[1] if found else "x"


# ----------------------------------------------------------------------------------------- sessions


def test_the_session_id_changes_at_sign_in(live: Live, alice: Person) -> None:
    """Attack 7, 12: fix a session before its owner signs in, or use the one before.
    Source: Keycloak CVE-2026-7507.
    """
    [cookie] = [cookie for cookie in alice.browser.cookies.jar if cookie.name.startswith("session")]
    name = cookie.name

    def is_signed_in(session: str) -> bool:
        answer = alice.browser.get("/account", headers={"Cookie": f"{name}={session}"})
        return answer.status_code == 200

    person = Person(live)
    page = person.get("/login")
    person.browser.cookies.set(name, "mcpss_fixed", domain=cookie.domain)
    person.sign_in(page)
    session = person.browser.cookies[name]
    assert is_signed_in(session)
    assert not is_signed_in("mcpss_fixed")


def test_signing_out_ends_the_session(live: Live, alice: Person) -> None:
    """Attack 12: use a session that was signed out. Source: OWASP ASVS 5.0 7.4.1."""
    person = Person(live)
    person.sign_in(person.get("/login"))
    kept = dict(person.browser.cookies)
    assert person.submit(person.get("/account"), "csrf").status_code == 200
    person.browser.cookies.update(kept)
    assert person.browser.get("/account").is_redirect


def test_somebody_else_can_sign_in_for_the_same_request(live: Live, alice: Person) -> None:
    bob = new_person(live, "bob-else")
    client = OAuthClient(live)
    consent = bob.get(client.authorization_url())
    out = next(form for form in Form(consent.text).forms if form[0] == "/logout")
    page = bob.follow(bob.browser.post("/logout", data=out[1]))
    bob.name = "alice"
    page = bob.sign_in(page)
    location = bob.submit(page, "decision", decision="allow").headers["location"]
    assert client.redeem(answered(location)["code"]).status_code == 200


# ------------------------------------------------------------------------------------------ consent


def test_consent_shows_who_what_and_where(live: Live, alice: Person) -> None:
    """Attack 8: a client's name with script in it. Source: RFC 7591 5, RFC 9700 4.11."""
    client = OAuthClient(
        live,
        redirect_uris=["cursor://anysphere.cursor-mcp/oauth/callback"],
        client_name="<script>alert(1)</script>",
    )
    page = alice.get(client.authorization_url(scope="write"))
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text
    for text in (
        "alice",
        "cursor://anysphere.cursor-mcp",
        "Read and change things.",
        "Sample",
        f"{live.url}/account",
    ):
        assert text in page.text
    buttons = re.findall(r'<button[^>]*name="decision"[^>]*>', page.text)
    assert len(buttons) == 2


def lists(page: Response) -> dict[str, list[str]]:
    """Return what stands below each heading."""
    parts = re.findall(r"<h2>(.*?)</h2>\s*<ul[^>]*>(.*?)</ul>", page.text, re.DOTALL)
    return {heading: re.findall(r"<code>(.*?)</code>", body) for heading, body in parts}


def test_consent_says_what_is_new(live: Live, alice: Person) -> None:
    client = OAuthClient(live)
    assert lists(alice.get(client.authorization_url())) == {"If you allow it, the app can": ["read"]}
    client.tokens(alice, scope="write")
    again = alice.get(client.authorization_url(scope="read"))
    assert lists(again) == {"You allowed this before: if you allow it again, the app can": ["read"]}
    more = alice.get(client.authorization_url(scope="read admin"))
    assert lists(more) == {
        "New: if you allow it, the app can also": ["admin"],
        "You allowed it before": ["read"],
    }
    for page in (
        alice.get(OAuthClient(live).authorization_url()),
        new_person(live, "somebody-new").get(client.authorization_url()),
    ):
        assert list(lists(page)) == ["If you allow it, the app can"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (7_776_000, "after 90 days at"),
        (172_801, "after 3 days at"),
        (172_799, "after 48 hours at"),
        (7199, "after 120 minutes at"),
        (3601, "after 61 minutes at"),
    ],
)
def test_consent_says_how_long_access_lasts(start: Callable[..., Live], seconds: int, text: str) -> None:
    person = new_person(server := start(grant_seconds=seconds), "judy")
    assert text in person.get(OAuthClient(server).authorization_url()).text
    once = OAuthClient(server, grant_types=["authorization_code"])
    assert "after 60 minutes at" in person.get(once.authorization_url()).text


def test_a_request_is_finished_in_the_browser_that_began_it(live: Live, alice: Person) -> None:
    """Attack 7: let the victim finish what the attacker began. Source: FastMCP CVE-2026-27124."""
    client = OAuthClient(live)
    page = Person(live).get(client.authorization_url())
    for path in (f"/login?{page.url.query.decode()}", f"/consent?{page.url.query.decode()}"):
        assert alice.get(path).status_code == 400
    form = Form(alice.get("/account").text)
    request_id = page.url.params["request"]
    post = {"request": request_id, "decision": "allow", "csrf": form.fields["csrf"]}
    assert alice.browser.post("/consent", data=post).status_code == 400


def test_consent_needs_the_form_of_this_browser_and_user(live: Live, alice: Person) -> None:
    """Attack 7: post a consent without the form, or with the form of somebody else.
    Source: RFC 9700 4.7, RFC 6749 10.12.
    """
    client = OAuthClient(live)
    page = alice.get(client.authorization_url())
    form = Form(page.text, "decision")
    foreign = csrf_of(new_person(live, "mallory").get("/account"))
    anonymous = csrf_of(Person(live).get("/login"))
    for csrf in ("", "x", foreign, anonymous):
        post = {**form.fields, "csrf": csrf, "decision": "allow"}
        assert alice.browser.post("/consent", data=post).status_code == 403
    post = {name: value for name, value in form.fields.items() if name != "csrf"}
    assert alice.browser.post("/consent", data=post | {"decision": "allow"}).status_code == 403
    assert "code" in answered(alice.submit(page, "decision", decision="allow").headers["location"])


def test_every_form_is_taken_only_from_a_page_of_ours(live: Live, alice: Person) -> None:
    """Attack 7: sign a victim in or out, or take their link, from another page.
    Source: RFC 6749 10.12, RFC 9700 4.7.
    """
    link = invite(live, "ivan")
    foreign = csrf_of(Person(live).get("/login"))
    browser = Person(live)
    browser.get("/login")
    for path in ("/login", "/logout", link):
        for csrf in ({}, {"csrf": ""}, {"csrf": "x"}, {"csrf": foreign}):
            for person in (browser, alice):
                answer = person.browser.post(path, data={"decision": "allow"} | csrf)
                assert answer.status_code in (403, 404, 405)  # there may be no links, and nothing to post
    assert alice.get("/account").url.path == "/account"
    assert Person(live, "ivan").join(link).url.path == "/account"


def test_no_redirect_repeats_a_post(live: Live) -> None:
    """Attack 6: have the browser post what it signs in with on to the client. Source: RFC 9700 4.12."""
    person = Person(live, "heidi")
    answers: list[Response] = []
    person.browser.event_hooks = {"response": [answers.append]}
    person.join(invite(live, "heidi"))
    for decision in ("allow", "deny"):
        person.allow(OAuthClient(live).authorization_url(), decision)
    page = person.submit(person.get(OAuthClient(live).authorization_url()))  # signs out, to sign in again
    person.sign_in(page)
    posted = [answer for answer in answers if answer.request.method == "POST"]
    assert len(posted) >= 3
    assert {answer.status_code for answer in posted} <= {200, 303}
    for answer in posted:
        if "?" in answer.headers.get("location", ""):  # a code, or a request
            assert answer.headers["cache-control"] == "no-store"


def test_consent_shown_to_one_user_is_not_given_by_another(live: Live, alice: Person) -> None:
    """Attack 7: change who is signed in between page and answer. Source: RFC 6749 10.12."""
    new_person(live, "frank")
    browser = Person(live)
    page = browser.get(OAuthClient(live).authorization_url())
    consent = browser.sign_in(page)
    browser.submit(browser.get("/account"), "csrf")
    browser.name = "frank"
    browser.sign_in(browser.get("/login"))
    assert browser.submit(consent, "decision", decision="allow").status_code == 403


def test_a_consent_form_works_once(live: Live, alice: Person) -> None:
    """Attack 7: use a consent twice. Source: RFC 9700 4.7."""
    page = alice.get(OAuthClient(live).authorization_url())
    assert alice.submit(page, "decision", decision="allow").is_redirect
    assert alice.submit(page, "decision", decision="allow").status_code == 400
    assert alice.submit(page, "decision", decision="deny").status_code == 400


@pytest.mark.parametrize("decision", ["", "maybe", "ALLOW"])
def test_anything_but_allow_and_deny_is_no_decision(live: Live, alice: Person, decision: str) -> None:
    page = alice.get(OAuthClient(live).authorization_url())
    assert alice.submit(page, "decision", decision=decision).status_code == 400
    assert alice.submit(page, "decision", decision="allow").is_redirect


@pytest.mark.parametrize("path", ["/login?request=unknown", "/consent?request=unknown", "/consent"])
def test_an_expired_request_leads_to_a_page_that_helps(live: Live, alice: Person, path: str) -> None:
    page = alice.get(path)
    assert page.status_code == 400
    assert "<h1" in page.text


# --------------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize("path", ["/login", "/account", "/consent", "/invite/x", "/authorize"])
def test_pages_are_guarded_by_headers(live: Live, alice: Person, path: str) -> None:
    """Attack 6: frame a page, keep it in a cache, learn its address from a referrer.
    Source: RFC 9700 4.2, 4.16.
    """
    headers = alice.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_the_consent_page_alone_lets_its_form_end_elsewhere(live: Live, alice: Person) -> None:
    """Chromium applies form-action to the redirect after a post."""
    consent = alice.get(OAuthClient(live).authorization_url())
    assert "form-action" not in consent.headers["content-security-policy"]
    assert "form-action 'self'" in Person(live).get("/login").headers["content-security-policy"]


def test_cookies_are_out_of_reach(live: Live) -> None:
    """Attack 7: read a cookie by script, or have it sent from another site. Source: RFC 6265bis 4.1.2."""
    person = Person(live, "gwen")
    person.join(invite(live, "gwen"))
    answer = person.browser.get(OAuthClient(live).authorization_url())
    cookies = answer.headers.get_list("set-cookie")
    assert cookies
    for cookie in cookies:
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Path=/" in cookie


def test_cookies_of_an_https_server_are_bound_to_its_host(start: Callable[..., Live]) -> None:
    """Attack 7: set a cookie from a neighbouring host. Source: RFC 6265bis 4.1.3.2."""
    server = start(public_url="https://mcp.example")
    http = server.http(headers={"Host": "mcp.example"})
    uri = "https://app.example/"
    client = http.post("/register", json={"redirect_uris": [uri]}).json()
    challenge = {"code_challenge": "x" * 43, "code_challenge_method": "S256"}
    query = {"response_type": "code", "client_id": client["client_id"], "redirect_uri": uri} | challenge
    page = http.get("/authorize", params=query)
    [cookie] = page.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-")
    assert "Secure" in cookie
    assert "Domain" not in cookie


def test_programs_get_json_where_people_get_pages(live: Live) -> None:
    answer = live.http(headers={"Accept": "application/json"}).get("/consent?request=x")
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
