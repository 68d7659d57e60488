"""Sign-in with a password: one-time links, guessing, another password."""

import asyncio
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from urllib.parse import urlsplit

import pytest
from argon2 import PasswordHasher
from conftest import Live, invite, meanwhile, new_person
from httpx2 import Response
from oauth_client import OAuthClient, alive
from operators import Operator
from person import PASSWORD, Form, Person

from authserver import limits
from authserver.login.password import passwords
from authserver.login.password.guessable import is_guessable
from authserver.with_password.pool import Busy, Visitor


def sign_in_page(live: Live, person: Person) -> "tuple[OAuthClient, object]":
    client = OAuthClient(live)
    return client, person.get(client.authorization_url())


# -------------------------------------------------------------------------------------- invitations


def test_the_first_account_is_made_by_its_link_and_only_once(start: Callable[..., Live]) -> None:
    """Attack 12: let a link preview use the link up, or use it again. Source: threat model."""
    server = start()
    link = invite(server, None, ["*"])
    owner = Person(server, "owner")
    for _ in range(2):
        assert "username" in owner.get(link).text  # reading a link does not use it up
    assert owner.join(link).url.path == "/account"
    assert Person(server, "eve").get(link).status_code == 410
    assert OAuthClient(server).tokens(owner, scope="admin")["scope"] == "admin"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"password": "kR7#vQ2!xZp", "password_again": "kR7#vQ2!xZp"}, "12"),  # nobody guesses it
        ({"password": PASSWORD, "password_again": PASSWORD + "x"}, ""),
        ({"password": "", "password_again": ""}, ""),
        ({"password": "x" * 2000, "password_again": "x" * 2000}, ""),
    ],
)
def test_an_unfit_password_is_refused_and_the_link_stays_good(
    live: Live, values: dict[str, str], told: str
) -> None:
    person = Person(live, "dora")
    link = invite(live, "dora")
    page = person.submit(person.get(link), "password", **values)
    assert page.status_code == 400
    assert told in page.text
    assert 'role="alert"' in page.text
    assert person.join(link).url.path == "/account"


GUESSED = [
    "password1234",
    "P@ssw0rd1234",
    "aaaaaaaaaaaa",
    "123456789012",
    "qwertyuiop12",
    "abcdefghijkl",
    "changeme1234",
    "administrator",
    "Summer2026!!",
    "evelinevelin",
    "Evelin-password",
    "nileve-2026!!",
    "evelin-evelin1",
    "SampleSample1",
    "sample-server-1",
    "127.0.0.1:8000",
]


@pytest.mark.parametrize("password", GUESSED)
def test_a_password_that_others_try_first_is_refused(live: Live, password: str) -> None:
    """Attack 10: guess common passwords, and those that hold the user's name or the server's.
    Source: NIST SP 800-63B 3.1.1.2, OWASP ASVS 5.0 6.2.4, 6.2.11.
    """
    person = Person(live, "evelin")
    page = person.submit(
        person.get(invite(live, "evelin")), "password", password=password, password_again=password
    )
    assert page.status_code == 400
    assert "soon guess this password" in page.text


@pytest.mark.parametrize(
    "password",
    [
        PASSWORD,
        f"{PASSWORD}{'a' * 900}",
        "kx8-vq2-mm4x",
        "почтовый голубь",
        "correct evelin battery sample staple",
    ],
)
def test_what_is_long_or_odd_is_no_common_password(password: str) -> None:
    assert not is_guessable(password, "evelin", "Sample", "127.0.0.1:8000")


@pytest.mark.parametrize("name", ["", "a b", "<script>", "ü", "x" * 65, "a/b"])
def test_an_unfit_name_of_the_first_account_is_refused(start: Callable[..., Live], name: str) -> None:
    server = start()
    person = Person(server, name)
    link = invite(server, None, ["*"])
    assert person.join(link).status_code == 400
    person.name = "fine"
    assert person.join(link).url.path == "/account"


def test_a_used_or_unknown_link_leads_to_a_page_that_helps(live: Live) -> None:
    """Attack 12: use a link twice, or guess one. Source: threat model."""
    person = Person(live, "used")
    link = invite(live, "used")
    person.join(link)
    for gone in (link, f"{live.url}/invite/mcpiv_unknown", f"{live.url}/invite/%F0%9F%92%A9"):
        page = Person(live).get(gone)
        assert page.status_code == 410
        assert "users invite" in page.text


def test_a_link_recovers_an_account_and_signs_out_everywhere(live: Live) -> None:
    """Attack 12: stay signed in after the password was changed. Source: OWASP ASVS 5.0 7.4.3."""
    person = new_person(live, "erin")
    again = Person(live, "erin", "another long password")
    again.join(invite(live, "erin"))
    assert "current-password" in person.get("/account").text
    client = OAuthClient(live)
    refused = person.sign_in(person.get(client.authorization_url()))
    assert refused.status_code == 401
    assert client.redeem(client.code(again)).status_code == 200


def test_an_invitation_is_one_line(operator: Operator) -> None:
    lines = operator.types("users", "invite", "alice").splitlines()
    [line] = lines
    assert line.startswith("http://127.0.0.1:8000/invite/mcpiv_")
    assert "a name has" in operator.fails("users", "invite", "no such name")


# ------------------------------------------------------------------------------------------ sign-in


def test_wrong_and_unknown_answer_alike(live: Live, alice: Person) -> None:
    """Attack 10: find out which accounts exist. Source: OWASP ASVS 5.0 6.3.8."""
    answers = []
    for name in ("alice", "nobody"):
        person = Person(live, name, "the wrong password")
        page = person.sign_in(person.get(OAuthClient(live).authorization_url()))
        assert page.status_code == 401
        text = re.sub(r'value="[^"]*"', "", page.text).replace(name, "")
        answers.append(text)
    assert answers[0] == answers[1]


def test_an_unknown_user_costs_as_much_as_a_known_one(
    live: Live, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 10: find out by time which accounts exist. Source: OWASP ASVS 5.0 6.3.8, CWE-208."""
    checked: list[str] = []
    real = PasswordHasher.verify

    def verify(self: PasswordHasher, hashed: str, password: str) -> bool:
        checked.append(hashed.rsplit("$", 2)[0])
        return real(self, hashed, password)

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    for name in ("alice", "nobody"):
        person = Person(live, name, "the wrong password")
        assert person.sign_in(person.get("/login")).status_code == 401
    known, unknown = checked
    assert known == unknown  # the same work: algorithm and parameters


def test_a_storm_of_sign_ins_is_turned_away_and_stops_no_token(
    start: Callable[..., Live], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 10: sign in so often that nothing else gets its turn. Source: OWASP ASVS 5.0 6.3.1, CWE-400."""
    monkeypatch.setattr(limits, "PASSWORDS_HASHED_AT_ONCE", 1)
    monkeypatch.setattr(limits, "PASSWORDS_WAITING", 1)
    server = start()
    client = OAuthClient(server)
    tokens = client.tokens(new_person(server, "alice"))
    checking, go_on = threading.Event(), threading.Event()

    def verify(*_: object) -> bool:
        checking.set()
        return go_on.wait(300)

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    people = [Person(server, name) for name in ("one", "two", "three")]
    pages = [person.get("/login") for person in people]
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(people[0].sign_in, pages[0])
        assert checking.wait(300)
        others = [pool.submit(people[number].sign_in, pages[number]) for number in (1, 2)]
        # One waits for its turn; there is no room for the other.
        done, waiting = wait(others, return_when=FIRST_COMPLETED)
        refreshed = client.refresh(tokens["refresh_token"])
        go_on.set()
        assert refreshed.status_code == 200
        [busy] = [attempt.result() for attempt in done]
        assert [attempt.result().status_code for attempt in (first, *waiting)] == [401, 401]
    assert busy.status_code == 503
    assert int(busy.headers["retry-after"]) > 0


@pytest.mark.anyio
async def test_a_crowd_that_comes_at_once_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 10: sign in thirty times in the same moment. Source: OWASP ASVS 5.0 6.3.1, CWE-400."""
    monkeypatch.setattr(limits, "PASSWORDS_WAITING", 10)
    checks, visitor = passwords.Passwords(), Visitor(("192.0.2.1",), "alice", known=False)
    outcomes = await asyncio.gather(
        *(checks.verify(None, "a wrong password", visitor) for _ in range(30)), return_exceptions=True
    )
    busy = [outcome for outcome in outcomes if isinstance(outcome, Busy)]
    assert len(busy) == 30 - 10 // 2 - limits.PASSWORDS_HASHED_AT_ONCE
    assert not await checks.verify(None, "a wrong password", visitor)  # later there is room again


def test_all_nodes_count_guesses_together(start: Callable[..., Live]) -> None:
    """Attack 10: guess at one node after the other. Source: NIST SP 800-63B 5.2.2."""
    nodes = [start(), start()]
    new_person(nodes[0], "alice")
    statuses = []
    for number in range(7):
        guesser = Person(nodes[number % 2], "alice", "a wrong password")
        statuses.append(guesser.sign_in(guesser.get("/login")).status_code)
    assert statuses == [401] * 5 + [429] * 2


def test_empty_fields_are_no_attempt(live: Live, alice: Person) -> None:
    person = Person(live)
    page = person.get("/login")
    for _ in range(10):
        assert person.submit(page, "password", username="alice", password="").status_code == 400


def test_guessing_slows_down_without_locking_the_owner_out(start: Callable[..., Live]) -> None:
    """Attack 10: guess a password, or lock its owner out by guessing. Source: NIST SP 800-63B 5.2.2.

    Known browsers have their own count; strangers share one attempt a minute.
    """
    server = start()
    owner = new_person(server, "alice")
    guesser = Person(server, "alice", "a wrong password")
    page = guesser.get("/login")
    statuses = [guesser.sign_in(page).status_code for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    slowed = guesser.sign_in(page)
    assert 0 < int(slowed.headers["retry-after"]) <= 61
    stranger = Person(server, "alice")
    assert stranger.sign_in(stranger.get("/login")).status_code == 429
    owner.submit(owner.get("/account"), "csrf")  # sign out
    assert owner.sign_in(owner.get("/login")).url.path == "/account"


def test_a_forged_device_escapes_no_limit(start: Callable[..., Live]) -> None:
    """Attack 10: look like a browser of the owner's, to guess in peace. Source: NIST SP 800-63B 5.2.2."""
    server = start()
    new_person(server, "alice")
    guesser = new_person(server, "mallory")
    guesser.submit(guesser.get("/account"), "csrf")  # signs out, and stays a known browser of mallory's
    [name] = [name for name in guesser.browser.cookies if name.startswith("device")]
    page = guesser.get("/login")
    statuses = []
    for number in range(7):
        if number > 2:  # before that, it is one that another user of theirs got
            guesser.browser.cookies.set(name, f"{number}.{number:064x}", domain="127.0.0.1")
        statuses.append(
            guesser.submit(page, "password", username="alice", password="a wrong password").status_code
        )
    assert statuses == [401] * 5 + [429] * 2
    stranger = Person(server, "alice", "a wrong password")
    assert stranger.sign_in(stranger.get("/login")).status_code == 429  # they counted together


def known_to(server: Live, name: str) -> Person:
    """Return a browser of somebody's who is signed out again: their password is unknown to it now."""
    person = Person(server, name)
    assert person.sign_in(person.get("/login")).url.path == "/account"
    person.submit(person.get("/account"), "csrf")  # signs out
    person.password = "a wrong password"
    return person


def test_stolen_devices_guess_no_faster_together(start: Callable[..., Live]) -> None:
    """Attack 10: guess with twenty cookies of known browsers. Source: NIST SP 800-63B 5.2.2."""
    server = start()
    new_person(server, "alice")
    stolen = [known_to(server, "alice") for _ in range(8)]
    statuses = [thief.sign_in(thief.get("/login")).status_code for thief in stolen]
    assert statuses == [401] * 5 + [429] * 3
    stranger = Person(server, "alice", "a wrong password")
    assert stranger.sign_in(stranger.get("/login")).status_code == 401  # they have a count of their own


def test_a_device_is_not_known_any_more_when_access_has_ended(
    start: Callable[..., Live], operator: Operator
) -> None:
    """Attack 10: guess by the cookie of a browser that was signed out. Source: OWASP ASVS 5.0 7.4.3."""
    server = start()
    owner = new_person(server, "alice")
    stolen = known_to(server, "alice")
    operator.types("users", "sign-out", "alice")
    assert owner.sign_in(owner.get("/login")).url.path == "/account"
    guesser = Person(server, "alice", "a wrong password")
    assert [guesser.sign_in(guesser.get("/login")).status_code for _ in range(6)][4:] == [401, 429]
    assert stolen.sign_in(stolen.get("/login")).status_code == 429  # counts among strangers
    owner.submit(owner.get("/account"), "csrf")
    assert owner.sign_in(owner.get("/login")).url.path == "/account"


@pytest.mark.parametrize("reading", ["users.get", "sign_ins.get_credential"])
def test_a_sign_in_that_is_under_way_ends_with_all_access(live: Live, reading: str) -> None:
    """Attack 12: show the old password while it is changed. Source: OWASP ASVS 5.0 7.4.3, CWE-367."""
    new_person(live, f"racer-{reading[0]}")
    person = Person(live, f"racer-{reading[0]}")
    page = person.get("/login")
    with meanwhile(live, person.name, reading):
        assert person.sign_in(page).url.path == "/login"
    assert person.get("/account").url.path == "/login"
    assert person.sign_in(person.get("/login")).url.path == "/account"


@pytest.mark.parametrize("reading", ["sign_ins.get_session", "sign_ins.get_credential"])
def test_a_change_of_the_password_that_is_under_way_ends_with_all_access(live: Live, reading: str) -> None:
    """Attack 12: change the password while the account is recovered. Source: CWE-367."""
    person = new_person(live, f"changer-{reading[9]}")
    page = person.get("/account/password")
    with meanwhile(live, person.name, reading):
        fields = {"old_password": PASSWORD, "password": NEW, "password_again": NEW}
        person.submit(page, "old_password", **fields)
    assert person.get("/account").url.path == "/login"
    assert person.sign_in(person.get("/login")).url.path == "/account"  # with the old one


def test_the_first_link_is_not_ended_silently(start: Callable[..., Live], operator: Operator) -> None:
    server = start()
    first = invite(server, None, ["*"])
    _, warning = operator.warned("users", "invite", "bob")
    assert "Nobody has an account yet" in warning
    assert Person(server).browser.get(first).status_code == 200
    link, _ = operator.warned("users", "invite", "bob")
    assert Person(server, "bob").join(server.url + urlsplit(link.strip()).path).status_code == 200
    gone = Person(server).browser.get(first)
    assert gone.status_code == 410
    assert "the link of the first start ends when anybody has an account" in gone.text
    assert operator.warned("users", "invite", "carol")[1] == ""


def test_guessing_is_slowed_for_each_address_too(start: Callable[..., Live]) -> None:
    """Attack 10: try one password on many accounts. Source: NIST SP 800-63B 5.2.2."""
    server = start(limit_sign_ins_per_minute=3)
    statuses = []
    for number in range(5):
        guesser = Person(server, f"user-{number}", "a wrong password")
        statuses.append(guesser.sign_in(guesser.get("/login")).status_code)
    assert statuses == [401, 401, 401, 429, 429]


def test_a_known_browser_is_not_stopped_by_its_neighbours(start: Callable[..., Live]) -> None:
    """Attack 10, 32: guess behind the address of an office, until nobody there signs in.
    Source: NIST SP 800-63B 5.2.2.
    """
    server = start(limit_sign_ins_per_minute=1)
    alice = new_person(server, "alice")
    alice.submit(alice.get("/account"), "csrf")  # signs out
    for number in range(2):
        guesser = Person(server, f"user-{number}", "a wrong password")
        guesser.sign_in(guesser.get("/login"))
    stranger = Person(server)
    assert stranger.sign_in(stranger.get("/login")).status_code == 429
    assert alice.sign_in(alice.get("/login")).url.path == "/account"


def test_a_sign_in_that_is_begun_is_none_that_failed(start: Callable[..., Live]) -> None:
    server = start(limit_sign_ins_per_minute=1)
    url = OAuthClient(server).authorization_url()
    assert [server.http().get(url).status_code for _ in range(4)] == [303] * 3 + [429]
    stranger = Person(server, password="a wrong password")
    answers = [stranger.sign_in(stranger.get("/login")).status_code for _ in range(2)]
    assert answers == [401, 429]


def test_successes_are_not_counted(start: Callable[..., Live]) -> None:
    server = start(limit_sign_ins_per_minute=2)
    new_person(server, "alice")
    for _ in range(8):
        person = Person(server)
        assert person.sign_in(person.get("/login")).url.path == "/account"


# ------------------------------------------------------------------------------- another password

NEW = "a new and much longer password"


def change(person: Person, **values: str) -> Response:
    fields = {"old_password": PASSWORD, "password": NEW, "password_again": NEW} | values
    page = person.get("/account/password")
    form = {name: value for name, value in Form(page.text, "old_password").fields.items() if name != "apps"}
    return person.follow(person.browser.post("/account/password", data=form | fields))


@pytest.mark.parametrize("apps", [True, False])
def test_a_new_password_ends_other_sessions_and_apps_where_wanted(live: Live, apps: bool) -> None:
    """Attack 12: stay signed in after the password was changed. Source: OWASP ASVS 5.0 7.4.3."""
    person, other = new_person(live, f"kim-{apps}"), Person(live, f"kim-{apps}")
    other.sign_in(other.get("/login"))
    before = dict(person.browser.cookies)
    tokens = OAuthClient(live).tokens(person)
    assert "password is changed" in change(person, **({"apps": "on"} if apps else {})).text
    assert person.get("/account").url.path == "/account"
    assert "current-password" in other.get("/account").text
    person.browser.cookies.clear()
    person.browser.cookies.update(before)
    assert "current-password" in person.get("/account").text  # the session has another id
    assert other.sign_in(other.get("/login")).status_code == 401
    other.password = NEW
    assert other.sign_in(other.get("/login")).url.path == "/account"
    time.sleep(live.auth.tokens.revoked_within_seconds)
    assert alive(live, tokens["access_token"]) is not apps


def test_a_new_password_ends_apps_where_the_operator_says_so(start: Callable[..., Live]) -> None:
    """Attack 12: keep an app's access after the password was changed. Source: RFC 6819 5.1.5.3."""
    server = start(new_password_ends_grants=True)
    person = new_person(server, "alice")
    client = OAuthClient(server)
    changed = client.tokens(person)
    change(person)
    time.sleep(server.auth.tokens.revoked_within_seconds)
    assert not alive(server, changed["access_token"])
    recovered = client.tokens(person)
    Person(server).join(invite(server, "alice"))
    time.sleep(server.auth.tokens.revoked_within_seconds)
    assert not alive(server, recovered["access_token"])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"old_password": "the wrong password"}, "password is wrong"),
        ({"old_password": ""}, "password is wrong"),
        ({"password": "kR7#vQ2!xZp", "password_again": "kR7#vQ2!xZp"}, "12"),  # nobody guesses it
        ({"password_again": NEW + "x"}, "not the same"),
        ({"password": "password1234", "password_again": "password1234"}, "soon guess this password"),
    ],
)
def test_an_unfit_change_is_refused_and_told(live: Live, values: dict[str, str], told: str) -> None:
    """Attack 12: change a password without knowing it. Source: OWASP ASVS 5.0 6.2.3."""
    person = new_person(live, f"lou-{len(str(values))}")
    page = change(person, **values)
    assert page.status_code == 400
    assert told in page.text
    assert "aria-invalid" in page.text
    again = Person(live, person.name)
    assert again.sign_in(again.get("/login")).url.path == "/account"


def test_a_password_is_changed_after_a_fresh_sign_in_only(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 12: change the password in a browser left alone. Source: OWASP ASVS 5.0 7.5.1."""
    person = new_person(live, "mia")
    csrf = Form(person.get("/account").text).fields["csrf"]
    with monkeypatch.context() as patch:
        patch.setattr("authserver.clock.now", lambda: time.time() + limits.FRESH_SECONDS + 1)
        fields = {"old_password": PASSWORD, "password": NEW, "password_again": NEW, "csrf": csrf}
        assert person.browser.post("/account/password", data=fields).headers["location"] == "/login"
        asked = person.get("/account/password")
        assert "once more" in asked.text
        assert 'value="mia"' in asked.text
    assert person.sign_in(asked).url.path == "/account/password"


def test_guessing_the_old_password_slows_down(live: Live) -> None:
    """Attack 10: guess the password in a session that was taken over. Source: NIST SP 800-63B 5.2.2."""
    person = new_person(live, "noel")
    statuses = [change(person, old_password="a wrong password").status_code for _ in range(7)]
    assert statuses == [400] * 5 + [429] * 2


def test_two_changes_at_once_leave_one_password(live: Live) -> None:
    """Attack 12: change a password that was changed just now. Source: CWE-367."""
    person = new_person(live, "oda")
    form = Form(person.get("/account/password").text, "old_password").fields
    together = threading.Barrier(4)
    cookies = dict(person.browser.cookies)

    def post(number: int) -> bool:
        fields = form | {
            "old_password": PASSWORD,
            "password": f"{NEW}{number}",
            "password_again": f"{NEW}{number}",
        }
        with live.http(headers={"Accept": "text/html"}, cookies=cookies) as http:
            together.wait()
            return http.post("/account/password", data=fields).headers.get("location") == "/account"

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(post, range(4))) == 1


def test_a_link_ends_the_session_of_whoever_was_signed_in_there(live: Live) -> None:
    """Attack 12: use the session before, in a browser that is now somebody else's. Source: CVE-2026-7507."""
    person = new_person(live, "judy-before")
    [cookie] = [cookie for cookie in person.browser.cookies.jar if cookie.name.startswith("session")]
    person.name = "judy-after"
    assert person.join(invite(live, person.name)).url.path == "/account"
    before = {"Cookie": f"{cookie.name}={cookie.value}"}
    assert live.http().get("/account", headers=before).status_code == 303
