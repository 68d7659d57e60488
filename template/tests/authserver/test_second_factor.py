"""Codes from an authenticator app, and recovery codes."""

import base64
import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import anyio
import httpx2
import pyotp
import pytest
import structlog
from conftest import Live, invite, meanwhile, new_person, new_store
from engines import Engine
from oauth_client import OAuthClient, answered
from operators import Operator
from person import Form, Person

from authserver import limits
from authserver.crypto.sealing import SECOND_FACTOR, CannotUnseal, Seal
from authserver.storage.users import Ending
from authserver.with_password import second_factor
from authserver.with_password.second_factor.factor import enrolled
from authserver.with_password.second_factor.kept import Kept

NOW = 2_000_000_000


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still for codes: none runs out while a test is slow."""
    monkeypatch.setattr("pyotp.totp.time", SimpleNamespace(time=lambda: NOW))


class App:
    """An authenticator app. It has three codes that are good now, of three time steps."""

    def __init__(self, page: httpx2.Response) -> None:
        self.seed = "".join(re.findall(r"<code[^>]*>([A-Z2-7 ]+)</code>", page.text)[0].split())
        self._seconds = iter((-30, 0, 30))

    def code(self) -> str:
        return self.code_at(next(self._seconds))

    def code_at(self, seconds: int) -> str:
        return pyotp.TOTP(self.seed).at(NOW + seconds)


def set_up(person: Person) -> tuple[App, list[str]]:
    """Set the second factor up on the account page; return the app and the recovery codes."""
    page = person.get("/account/second-factor")
    app = App(page)
    return app, codes_on(person.submit(page, "seed", code=app.code()))


def codes_on(page: httpx2.Response) -> list[str]:
    assert page.status_code == 200, page.text
    return re.findall(r"<code>([a-z2-7-]{29})</code>", page.text)


def half_way(live: Live, name: str, path: str = "/login") -> tuple[Person, httpx2.Response]:
    """Return somebody in a new browser who has shown the password, and the page that asks for the code."""
    person = Person(live, name)
    page = person.sign_in(person.get(path))
    assert "one-time-code" in page.text
    return person, page


# ------------------------------------------------------------------------------------------ signing in


def test_signing_in_takes_the_code_then_goes_on_to_consent(live: Live) -> None:
    app, codes = set_up(new_person(live, "ada"))
    assert len(set(codes)) == 10
    client = OAuthClient(live)
    person, page = half_way(live, "ada", client.authorization_url())
    consent = person.submit(page, "code", code=app.code())
    code = answered(person.submit(consent, "decision", decision="allow").headers["location"])["code"]
    assert client.redeem(code).status_code == 200


def test_half_a_sign_in_opens_nothing(live: Live) -> None:
    """Attack 11: go on with the password alone. Source: OWASP ASVS 5.0 6.3.3, CWE-304."""
    set_up(new_person(live, "bea"))
    client = OAuthClient(live)
    person, page = half_way(live, "bea", client.authorization_url())
    assert not [name for name in person.browser.cookies if name.startswith("session")]
    request_id = page.url.params["request"]
    for path in ("/account", "/account/second-factor", f"/consent?request={request_id}"):
        assert "current-password" in person.get(path).text
    post = {"request": request_id, "decision": "allow", "csrf": Form(page.text).fields["csrf"]}
    assert person.browser.post("/consent", data=post).headers["location"].startswith("/login")


def test_half_a_sign_in_is_bound_to_its_browser_and_request(live: Live) -> None:
    """Attack 7, 11: finish a sign-in elsewhere than where it began. Source: FastMCP CVE-2026-27124."""
    app, _ = set_up(new_person(live, "cleo"))
    person, page = half_way(live, "cleo")
    thief = Person(live)
    thief.get("/login")
    csrf = Form(thief.get("/login").text).fields["csrf"]
    assert "current-password" in thief.get("/login/second-factor").text
    stolen = thief.browser.post("/login/second-factor", data={"csrf": csrf, "code": app.code()})
    assert stolen.headers["location"] == "/login"
    other = person.get(OAuthClient(live).authorization_url())
    form = Form(page.text, "code")
    moved = {**form.fields, "code": app.code(), "request": other.url.params["request"]}
    answer = person.browser.post("/login/second-factor", data=moved)
    assert answer.headers["location"].startswith("/login?")
    assert "current-password" in person.get("/account").text


def test_half_a_sign_in_is_good_for_one_attempt(live: Live) -> None:
    """Attack 11: guess many codes at once with one password. Source: OWASP ASVS 5.0 6.3.1, CWE-367."""
    set_up(new_person(live, "dora"))
    person, page = half_way(live, "dora")
    form = Form(page.text, "code")
    cookies = dict(person.browser.cookies)

    def guess(number: int) -> int:
        with live.http(headers={"Accept": "text/html"}, cookies=cookies) as http:
            return http.post(form.action, data={**form.fields, "code": f"{number:06}"}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(guess, range(8)))
    assert statuses == [303] * 7 + [401]  # the others are sent back to the password


def test_half_a_sign_in_runs_out(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 11: finish a sign-in that was left half-way. Source: OWASP ASVS 5.0 6.6.2."""
    set_up(new_person(live, "emil"))
    begin = second_factor.waiting.begin
    monkeypatch.setattr(
        second_factor.waiting, "begin", lambda *words: replace(begin(*words), until=time.time() - 1)
    )
    person = Person(live, "emil")
    assert "current-password" in person.sign_in(person.get("/login")).text


def test_a_code_is_taken_only_from_a_page_of_ours(live: Live) -> None:
    """Attack 7: have a victim's browser finish a sign-in from another page. Source: RFC 9700 4.7."""
    app, _ = set_up(new_person(live, "fay"))
    person, page = half_way(live, "fay")
    form, code = Form(page.text, "code"), app.code()
    foreign = Form(Person(live).get("/login").text).fields["csrf"]
    for csrf in ("", "x", foreign):
        answer = person.browser.post(form.action, data={**form.fields, "code": code, "csrf": csrf})
        assert answer.status_code == 403
    assert person.submit(page, "code", code=code).url.path == "/account"


def test_a_code_works_once(live: Live) -> None:
    """Attack 11: use a code again that was seen. Source: RFC 6238 5.2."""
    app, _ = set_up(new_person(live, "finn"))
    code = app.code()
    person, page = half_way(live, "finn")
    assert person.submit(page, "code", code=code).url.path == "/account"
    thief, page = half_way(live, "finn")
    assert thief.submit(page, "code", code=code).status_code == 401


@pytest.mark.parametrize("of_app", [True, False])
def test_one_code_in_several_browsers_lets_one_in(live: Live, of_app: bool) -> None:
    """Attack 11: use a code that was seen at the same moment. Source: RFC 6238 5.2, CWE-367."""
    app, codes = set_up(new_person(live, f"gina-{of_app}"))
    code = app.code() if of_app else codes[0]
    browsers = [half_way(live, f"gina-{of_app}") for _ in range(4)]
    together = threading.Barrier(4)

    def enter(browser: tuple[Person, httpx2.Response]) -> bool:
        person, page = browser
        together.wait()
        return person.submit(page, "code", code=code).url.path == "/account"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(enter, browsers)) == [False] * 3 + [True]


def test_old_and_future_codes_are_refused(live: Live) -> None:
    """Attack 11: use a code that was seen a minute ago. Source: RFC 6238 5.2."""
    app, _ = set_up(new_person(live, "hugo"))
    person, page = half_way(live, "hugo")
    for seconds in (-60, 60):
        page = person.submit(page, "code", code=app.code_at(seconds))
        assert page.status_code == 401
    assert person.submit(page, "code", code=app.code()).url.path == "/account"


def test_guessing_codes_slows_down_without_locking_the_owner_out(live: Live) -> None:
    """Attack 11: guess codes, or lock the owner out by guessing. Source: OWASP ASVS 5.0 6.3.1, 6.6.3."""
    owner = new_person(live, "ines")
    app, _ = set_up(owner)
    guesser, page = half_way(live, "ines")
    statuses = []
    for number in range(7):
        page = guesser.submit(page, "code", code=f"{number:06}")
        statuses.append(page.status_code)
    assert statuses == [401] * 5 + [429] * 2
    assert 0 < int(page.headers["retry-after"]) <= 61
    other, page = half_way(live, "ines")
    assert other.submit(page, "code", code="000009").status_code == 429  # not by a new browser either
    owner.submit(owner.get("/account"))  # sign out
    page = owner.sign_in(owner.get("/login"))
    assert owner.submit(page, "code", code=app.code()).url.path == "/account"


@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "x", "\uff11\uff12\uff13\uff14\uff15\uff16", "0" * 5000, "\u202e000000"]
)
def test_what_is_no_code_is_told(live: Live, code: str) -> None:
    name = uuid4().hex
    set_up(new_person(live, name))
    person, page = half_way(live, name)
    page = person.submit(page, "code", code=code)
    assert page.status_code == (401 if code else 400)
    assert 'role="alert"' in page.text


def test_no_redirect_repeats_a_code(live: Live) -> None:
    """Attack 6: have the browser post a code on to the client. Source: RFC 9700 4.12."""
    app, _ = set_up(new_person(live, "kai"))
    person, page = half_way(live, "kai", OAuthClient(live).authorization_url())
    form = Form(page.text, "code")
    answer = person.browser.post(form.action, data={**form.fields, "code": app.code()})
    assert (answer.status_code, answer.headers["cache-control"]) == (303, "no-store")


# ------------------------------------------------------------------------------------- recovery codes


def test_a_recovery_code_signs_in_once(live: Live) -> None:
    """Attack 11: use a recovery code twice. Source: OWASP ASVS 5.0 6.5.1."""
    owner = new_person(live, "lena")
    _, codes = set_up(owner)
    person, page = half_way(live, "lena")
    assert person.submit(page, "code", code=codes[3].upper().replace("-", " ")).url.path == "/account"
    assert "Recovery codes left: 9" in person.get("/account").text
    assert owner.get("/account").url.path == "/login"  # it may be the slip of paper that was found
    thief, page = half_way(live, "lena")
    assert thief.submit(page, "code", code=codes[3]).status_code == 401


def end_access(live: Live, name: str) -> None:
    async def end(storage: Any) -> None:
        user = await storage.users.get(name)
        assert await storage.users.end_access(user.subject, Ending())

    anyio.run(live.on_storage, end)


def test_a_node_of_the_release_before_takes_half_a_sign_in_of_ours(start: Callable[..., Live]) -> None:
    """It knows four fields, and answers 500 to any other; ours has no epoch until there was an end."""
    server = start(second_factor="required")

    async def kept(storage: Any) -> list[set[str]]:
        return [set(json.loads(row["value"])) async for table, row in storage.dump() if table == "tickets"]

    owner = Person(server, "alice")
    owner.join(invite(server, "alice"))
    known = {"subject", "user_name", "request", "until"}
    assert anyio.run(server.on_storage, kept) == [known]
    end_access(server, "alice")
    owner.sign_in(owner.get("/login"))
    assert sorted(anyio.run(server.on_storage, kept), key=len) == [known, known | {"epoch"}]


def test_half_a_sign_in_ends_with_all_access(live: Live) -> None:
    """Attack 11, 12: give the password, and the code after the recovery. Source: OWASP ASVS 5.0 7.4.3."""
    app, codes = set_up(new_person(live, "half"))
    person, page = half_way(live, "half")
    other, _ = half_way(live, "half")
    end_access(live, "half")
    assert person.submit(page, "code", code=app.code()).url.path == "/login"
    assert other.get("/login/second-factor").url.path == "/login"
    for browser in (person, other):
        assert browser.get("/account").url.path == "/login"
    person, page = half_way(live, "half")
    assert person.submit(page, "code", code=codes[0]).url.path == "/account"  # that began afterwards


@pytest.mark.parametrize(
    "reading", ["users.get_by_subject", "sign_ins.get_credential", "sign_ins.put_credential"]
)
def test_a_code_that_is_under_way_ends_with_all_access(live: Live, reading: str) -> None:
    """Attack 11, 12: give the code while the account is recovered. Source: OWASP ASVS 5.0 7.4.3, CWE-367."""
    name = "moment-" + reading.replace(".", "-")
    app, codes = set_up(new_person(live, name))
    person, page = half_way(live, name)
    with meanwhile(live, name, reading):
        person.submit(page, "code", code=app.code())
    assert person.get("/account").url.path == "/login"
    if reading == "sign_ins.put_credential":
        return  # a recovery code does not go there
    person, page = half_way(live, name)
    with meanwhile(live, name, reading):
        person.submit(page, "code", code=codes[0])
    assert person.get("/account").url.path == "/login"


def test_new_recovery_codes_end_the_old_ones(live: Live) -> None:
    owner = new_person(live, "max")
    _, old = set_up(owner)
    csrf = Form(owner.get("/account").text).fields["csrf"]
    new = codes_on(owner.browser.post("/account/recovery-codes", data={"csrf": csrf}))
    assert not set(new) & set(old)
    person, page = half_way(live, "max")
    page = person.submit(page, "code", code=old[0])
    assert page.status_code == 401
    assert person.submit(page, "code", code=new[0]).url.path == "/account"


def test_codes_and_seed_are_nowhere_in_clear(
    start: Callable[..., Live],
) -> None:
    """Attack 26: read seeds and recovery codes in the store or the log. Source: OWASP ASVS 5.0 6.5.2."""
    server = start()
    with structlog.testing.capture_logs() as log:
        app, codes = set_up(new_person(server, "nora"))
        person, page = half_way(server, "nora")
        person.submit(page, "code", code=codes[0])

    async def rows(storage: Any) -> list[Any]:
        return [row async for row in storage.dump()]

    kept = str(anyio.run(server.on_storage, rows)) + str(log)
    assert "second-factor" in kept
    for secret in (app.seed, app.seed.lower(), base64.b32decode(app.seed).hex(), *codes):
        assert secret not in kept
        assert secret.replace("-", "") not in kept


@pytest.mark.anyio
async def test_a_factor_opens_for_its_user_only(storage: Any) -> None:
    """Attack 11: put one's own second factor in the place of another's. Source: CWE-639, CWE-345."""
    kept = Kept(storage, Seal([b"k" * 40]))
    one, other = [await storage.users.add(name, scopes=None) for name in ("one", "other")]
    found = enrolled("A" * 32, pyotp.TOTP("A" * 32).now())
    assert found
    assert await kept.put(one.subject, found[0], 0)
    moved = await storage.sign_ins.get_credential(one.subject, SECOND_FACTOR)
    assert await storage.sign_ins.put_credential(other.subject, SECOND_FACTOR, moved.value, counter=0)
    assert await kept.get(one.subject) == (found[0], 1)
    with pytest.raises(CannotUnseal):
        await kept.get(other.subject)


def test_factors_outlive_a_change_of_the_secret_key(
    start: Callable[..., Live], operator: Operator, store: dict[str, str]
) -> None:
    old, new = {"secret_key": "o" * 40}, {"secret_key": "n" * 40}
    server = start(**old)
    app, _ = set_up(new_person(server, "alice"))
    server.stop()
    operator.store = store | new | {"secret_key_previous": "o" * 40}
    assert not operator.types("keys", "rewrap").startswith("0 secrets")
    assert operator.types("keys", "rewrap").startswith("0 secrets")
    person, page = half_way(start(**new), "alice")
    assert person.submit(page, "code", code=app.code()).url.path == "/account"


def test_without_the_secret_key_accounts_come_back_from_a_backup_without_their_factors(
    start: Callable[..., Live], operator: Operator, engine: Engine, tmp_path: Path
) -> None:
    server = start()
    set_up(new_person(server, "alice"))
    file = str(tmp_path / "backup")
    operator.types("backup", file)
    restored = new_store(engine) | {"secret_key": "n" * 40}
    operator.at(restored).types("restore", file, "--discard-encrypted")
    person = Person(start(**restored), "alice")
    assert person.enter(person.get("/account")).url.path == "/account"
    assert "Set up a second factor" in person.get("/account").text


# ----------------------------------------------------------------------------------------- setting up


def test_it_is_set_up_only_with_a_code_that_works(live: Live) -> None:
    person = new_person(live, "otto")
    page = person.get("/account/second-factor")
    app = App(page)
    assert f"secret={app.seed}" in page.text
    assert "<svg" in page.text
    again = person.submit(page, "seed", code="000000")
    assert again.status_code == 400
    assert App(again).seed == app.seed  # the app has it already
    assert "Set up a second factor" in person.get("/account").text
    assert codes_on(person.submit(again, "seed", code=app.code()))
    assert person.submit(again, "seed", code=app.code()).status_code == 400  # there is one now


def test_a_seed_is_set_up_by_whom_it_was_offered_to_only(live: Live) -> None:
    """Attack 11: give a victim a seed that the attacker knows. Source: OWASP ASVS 5.0 6.1.3, CWE-352."""
    mallory, victim = new_person(live, "mal"), new_person(live, "vic")
    offered = mallory.get("/account/second-factor")
    app = App(offered)
    page = victim.get("/account/second-factor")
    code = app.code()
    for seed in (Form(offered.text, "seed").fields["seed"], "", "x", "ä", app.seed):
        assert victim.submit(page, "seed", seed=seed, code=code).status_code == 400
    assert "Set up a second factor" in victim.get("/account").text


def test_it_is_taken_away_after_a_fresh_sign_in_only(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 11: take the second factor away in a browser left alone. Source: OWASP ASVS 5.0 7.5.1."""
    person = new_person(live, "paul")
    set_up(person)
    csrf = Form(person.get("/account").text).fields["csrf"]
    with monkeypatch.context() as patch:
        patch.setattr("authserver.clock.now", lambda: time.time() + limits.FRESH_SECONDS + 1)
        for path in ("/account/second-factor/remove", "/account/recovery-codes", "/account/second-factor"):
            answer = person.browser.post(path, data={"csrf": csrf})
            assert answer.headers["location"] == "/login"
    assert "one-time-code" in half_way(live, "paul")[1].text
    assert person.browser.post("/account/second-factor/remove", data={"csrf": csrf}).status_code == 303
    other = Person(live, "paul")
    assert other.sign_in(other.get("/login")).url.path == "/account"


def test_an_operator_takes_it_away(start: Callable[..., Live], operator: Operator) -> None:
    server = start()
    set_up(new_person(server, "alice"))
    half_way(server, "alice")
    operator.types("users", "remove-credential", "alice", SECOND_FACTOR)
    person = Person(server, "alice")
    assert person.sign_in(person.get("/login")).url.path == "/account"


def test_a_one_time_link_stands_for_the_password_only(live: Live) -> None:
    """Attack 11, 12: recover an account without its second factor. Source: OWASP ASVS 5.0 6.4.3."""
    app, _ = set_up(new_person(live, "quentin"))
    again = Person(live, "quentin")
    page = again.join(invite(live, "quentin"))
    assert "one-time-code" in page.text
    assert "current-password" in again.get("/account").text
    page = again.sign_in(again.get("/login"))
    assert again.submit(page, "code", code=app.code()).url.path == "/account"


# ------------------------------------------------------------------------------------------- demanded


def test_where_it_is_demanded_it_is_set_up_before_consent(start: Callable[..., Live]) -> None:
    """Attack 11: sign in without the second factor that is demanded. Source: OWASP ASVS 5.0 6.3.3."""
    new_person(start(), "alice")
    server = start(second_factor="required")
    client = OAuthClient(server)
    person = Person(server)
    page = person.sign_in(person.get(client.authorization_url()))
    app = App(page)
    assert "current-password" in person.get("/account").text
    page = person.sign_in(person.get(client.authorization_url()))
    assert App(page).seed != app.seed
    app = App(page)
    page = person.submit(page, "seed", code="000000")
    assert page.status_code == 400
    page = person.submit(page, "seed", code=app.code())
    assert len(codes_on(page)) == 10
    onward = page.text.partition('href="/consent')[2].partition('"')[0]
    consent = person.get(f"/consent{onward}")
    assert "code" in answered(person.submit(consent, "decision", decision="allow").headers["location"])
    csrf = Form(person.get("/account").text).fields["csrf"]
    assert person.browser.post("/account/second-factor/remove", data={"csrf": csrf}).status_code == 400
    _, page = half_way(server, "alice")
    assert 'name="seed"' not in page.text


def test_a_new_account_sets_it_up_where_it_is_demanded(start: Callable[..., Live]) -> None:
    server = start(second_factor="required")
    person = Person(server, "ruth")
    page = person.join(invite(server, "ruth"))
    assert 'name="seed"' in page.text
    assert codes_on(person.submit(page, "seed", code=App(page).code()))
    assert person.get("/account").url.path == "/account"


def test_doctor_says_when_a_password_is_enough() -> None:
    [finding] = second_factor.checks(second_factor.Settings())
    assert finding.about == "AUTH_SECOND_FACTOR"
    assert list(second_factor.checks(second_factor.Settings(second_factor="required"))) == []


@pytest.mark.parametrize("reading", [None, "users.get_by_subject", "sign_ins.get_credential"])
def test_half_a_sign_in_of_before_enrols_nobodys_factor(
    start: Callable[..., Live], reading: str | None
) -> None:
    """Attack 11, 12: enrol a factor of one's own where one is demanded, after the recovery.
    Source: OWASP ASVS 5.0 7.4.3.
    """
    server = start(second_factor="required")
    owner = Person(server)
    page = owner.join(invite(server, "alice"))
    assert "/login/second-factor" in str(page.url)
    if reading:
        with meanwhile(server, "alice", reading):
            owner.submit(page, "seed", code=App(page).code())
    else:
        end_access(server, "alice")
        assert owner.submit(page, "seed", code=App(page).code()).url.path == "/login"

    async def kinds(storage: Any) -> list[str]:
        user = await storage.users.get("alice")
        return list(await storage.sign_ins.list_credentials(user.subject))

    assert SECOND_FACTOR not in anyio.run(server.on_storage, kinds)
    assert owner.get("/account").url.path == "/login"
