"""Sign-in with a passkey: what an authenticator, a browser and a person may and may not do."""

import json
import re
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import structlog
from conftest import ADDRESS, Live, invite, meanwhile, new_person
from httpx2 import Response
from logins.passkey import (
    BACKED_UP,
    BACKUP_ELIGIBLE,
    PRESENT,
    VERIFIED,
    WAY,
    Key,
    decode,
    encode,
    keys,
    options_of,
)
from oauth_client import OAuthClient
from operators import Operator
from person import Form, Person

from authserver import limits
from authserver.all_settings import load_settings
from authserver.audit import Event
from authserver.login.passkey import SCRIPT_PATH, Settings
from authserver.settings import SettingsError


def key_of(person: Person) -> Key:
    return keys[person.url, person.name]


def answer(
    live: Live, person: Person, key: Key | None = None, options: dict[str, Any] | None = None, **client: Any
) -> Response:
    """Answer a sign-in page in a browser of its own, as told; return the page that comes then."""
    browser = Person(live, person.name)
    page = browser.get("/login")
    asked = options_of(page) | (options or {})
    return WAY.send(browser, page, (key or key_of(person)).used(asked, live.url, **client))


def is_in(page: Response) -> bool:
    return page.url.path == "/account"


def was_refused(page: Response) -> bool:
    """Say whether the page is the sign-in again, with the error on it and a new challenge."""
    told = re.search('role="alert" data-error="(wrong|copied|changed)"', page.text)
    return page.status_code == 401 and told is not None and WAY.asks(page)


# ------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://[::1]:8000", "https://192.0.2.1"])
def test_an_ip_address_stops_the_start_with_a_host_name_for_example(
    store: dict[str, str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    for name, value in (store | {"public_url": url}).items():
        monkeypatch.setenv(f"AUTH_{name.upper()}", value)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    line = str(refusal.value)
    assert line.startswith("AUTH_PUBLIC_URL: ")
    assert "no IP address" in line
    assert line.endswith(" Example: AUTH_PUBLIC_URL=http://localhost:8000")


def test_the_default_is_a_host_name() -> None:
    assert Settings().public_url == "http://localhost:8000"
    assert ADDRESS == "http://localhost"


# --------------------------------------------------------------------------------------------- pages


def test_only_pages_that_ask_for_a_passkey_run_a_script(live: Live, alice: Person) -> None:
    """Attack 8: run a script that came in by a name or an address. Source: CSP 3, script-src."""
    asking = [
        Person(live).get("/login"),
        alice.get(invite(live, "somebody")),
        alice.get("/account/passkeys"),
    ]
    others = [alice.get("/account"), alice.get(OAuthClient(live).authorization_url()), alice.get("/invite/x")]
    for page in asking:
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert re.findall(r"<script[^>]*>.*?</script>", page.text) == [
            f'<script src="{SCRIPT_PATH}" defer></script>'
        ]
        assert "<noscript>" in page.text
    for page in others:
        assert "script-src" not in page.headers["content-security-policy"]
        assert "<script" not in page.text


def test_the_script_is_served_and_revalidated(live: Live) -> None:
    served = live.http().get(SCRIPT_PATH)
    assert served.headers["content-type"].startswith("text/javascript")
    assert "navigator.credentials" in served.text
    tag = {"If-None-Match": served.headers["etag"]}
    assert live.http().get(SCRIPT_PATH, headers=tag).status_code == 304


def test_what_is_asked_of_browsers(live: Live, alice: Person) -> None:
    asked = options_of(Person(live).get("/login"))
    assert (asked["rpId"], asked["userVerification"]) == ("localhost", "required")
    assert asked["allowCredentials"] == []  # whosever passkey it is
    made = options_of(alice.get("/account/passkeys"))
    assert made["rp"]["id"] == "localhost"
    assert made["user"]["name"] == "alice"
    assert made["attestation"] == "none"
    assert [kind["alg"] for kind in made["pubKeyCredParams"]] == [-7, -8, -257]
    selection = made["authenticatorSelection"]
    assert (selection["residentKey"], selection["userVerification"]) == ("required", "required")
    assert [known["id"] for known in made["excludeCredentials"]] == [encode(key_of(alice).id)]


def test_a_form_without_an_answer_is_told_about_javascript(live: Live) -> None:
    person = Person(live)
    page = person.submit(person.get("/login"), "credential")
    assert page.status_code == 401
    assert 'data-error="no_script"' in page.text


# ------------------------------------------------------------------------------------------- sign-in


def test_signing_in_tells_no_name_and_asks_for_none(live: Live, alice: Person) -> None:
    """Attack 10: find out which accounts exist. Source: WebAuthn Level 3, 14.6.2."""
    page = Person(live).get("/login")
    assert 'name="username"' not in page.text
    assert is_in(answer(live, alice))


@pytest.mark.parametrize(
    "client",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost"},
        {"origin": "http://evil.localhost:1"},
        {"crossOrigin": True, "topOrigin": "https://evil.example"},
        {"type": "webauthn.create"},
        {"challenge": encode(b"mcpch_of_my_own")},
    ],
    ids=lambda client: next(iter(client)),
)
def test_what_was_signed_for_another_site_or_purpose_is_refused(
    live: Live, alice: Person, client: dict[str, Any]
) -> None:
    """Attack 11b: phish a sign-in on another site, and send it here. Source: WebAuthn Level 3, 7.2."""
    assert was_refused(answer(live, alice, **client))
    assert is_in(answer(live, alice))


def test_what_was_signed_for_another_rp_id_is_refused(live: Live, alice: Person) -> None:
    """Attack 11b: use a signature made for a neighbouring site. Source: WebAuthn Level 3, 7.2 step 15."""
    for rp_id in ("evil.example", "evil.localhost", "local", ""):
        assert was_refused(answer(live, alice, options={"rpId": rp_id}))


def test_a_challenge_is_answered_once(live: Live, alice: Person) -> None:
    """Attack 11b: replay a sign-in that was seen. Source: WebAuthn Level 3, 13.4.3."""
    person = Person(live)
    page = person.get("/login")
    seen = key_of(alice).used(options_of(page), live.url)
    assert is_in(WAY.send(person, page, seen))
    person.submit(person.get("/account"))  # signs out
    again = WAY.send(person, page, seen)
    assert again.status_code == 401
    assert 'data-error="expired"' in again.text
    assert not is_in(WAY.send(person, again, seen))  # nor with the new challenge's form


def test_a_challenge_is_of_one_browser(live: Live, alice: Person) -> None:
    """Attack 11b: have the victim answer the attacker's challenge. Source: WebAuthn Level 3, 13.4.3."""
    attacker, victim = Person(live), Person(live)
    asked, other = attacker.get("/login"), victim.get("/login")
    seen = key_of(alice).used(options_of(asked), live.url)
    moved = Form(asked.text, "credential").fields
    assert WAY.send(victim, other, seen, challenge=moved["challenge"]).status_code == 401
    post = moved | {"credential": json.dumps(seen)}
    assert victim.browser.post("/login", data=post).status_code == 403


def test_a_challenge_is_of_one_request(live: Live, alice: Person) -> None:
    """Attack 11b: answer the challenge of one client's request for another's. Source: RFC 9700 4.7."""
    person = Person(live)
    first, second = (person.get(OAuthClient(live).authorization_url()) for _ in range(2))
    seen = key_of(alice).used(options_of(first), live.url)
    challenge = Form(first.text, "credential").fields["challenge"]
    assert WAY.send(person, second, seen, challenge=challenge).status_code == 401


def test_a_challenge_for_making_a_passkey_signs_nobody_in(live: Live, alice: Person) -> None:
    """Attack 11b: use a challenge for what it was not made for. Source: WebAuthn Level 3, 7.2 step 11."""
    person = Person(live)
    making = person.get(invite(live, "crossing"))
    page = person.get("/login")
    seen = key_of(alice).used({"rpId": "localhost", **options_of(making)}, live.url)
    challenge = Form(making.text, "credential").fields["challenge"]
    assert WAY.send(person, page, seen, challenge=challenge).status_code == 401


@pytest.mark.parametrize("flags", [PRESENT, VERIFIED, 0])
def test_the_person_must_be_there_and_verified(live: Live, flags: int) -> None:
    """Attack 11b: use a device that lies about, without its PIN. Source: WebAuthn Level 3, 7.2 step 17."""
    person = new_person(live, f"unverified-{flags}")
    key_of(person).flags = flags | BACKUP_ELIGIBLE | BACKED_UP
    assert was_refused(answer(live, person))


def test_a_passkey_opens_only_the_account_it_was_made_for(live: Live, alice: Person) -> None:
    """Attack 11b: name another user in the answer. Source: WebAuthn Level 3, 7.2 step 6."""
    mallory = new_person(live, "mallory")
    own = key_of(mallory)
    handle, own.user_handle = own.user_handle, key_of(alice).user_handle
    assert was_refused(answer(live, mallory))
    own.id, previous = key_of(alice).id, own.id  # as if it were the other's: the signature is not
    assert was_refused(answer(live, mallory))
    for nobody in (b"", b"\0", b"\xff" * 64, handle + b"\0", handle + b"/passkey:x"):
        own.id, own.user_handle = previous, nobody
        assert was_refused(answer(live, mallory))
    own.user_handle = handle
    assert is_in(answer(live, mallory))


def test_a_passkey_of_another_users_id_takes_nothing_over(live: Live, alice: Person) -> None:
    """Attack 11b: register the id of somebody else's passkey. Source: WebAuthn Level 3, 7.1 step 26."""
    thief = Person(live, "thief")
    page = thief.get(invite(live, "thief"))
    key = Key(decode(options_of(page)["user"]["id"]))
    key.id = key_of(alice).id
    WAY.send(thief, page, key.made(options_of(page), live.url))
    assert is_in(answer(live, alice))
    key.user_handle = key_of(alice).user_handle
    assert was_refused(answer(live, alice, key))


def test_a_changed_signature_or_answer_is_refused(live: Live, alice: Person) -> None:
    """Attack 11b: change what was signed. Source: WebAuthn Level 3, 7.2 step 20."""
    person = Person(live)
    for name in ("signature", "authenticatorData", "clientDataJSON", "userHandle"):
        for change in (
            lambda text: "",
            lambda text: "A" + text[1:],
            lambda text: text + "AAAA",
            lambda _: "é",
        ):
            page = person.get("/login")
            seen = key_of(alice).used(options_of(page), live.url)
            seen["response"][name] = change(seen["response"][name])
            assert was_refused(WAY.send(person, page, seen)), name


@pytest.mark.parametrize(
    "sent",
    ["x", "null", "[]", "{}", '{"id": 1}', "[" * 20_000, '{"id":"a","rawId":"a","response":{},"type":"x"}'],
)
def test_what_is_no_answer_is_an_error_on_the_page(live: Live, alice: Person, sent: str) -> None:
    """Attack 4: send what cannot be read. Source: OWASP ASVS 5.0 2.2.1."""
    person = Person(live)
    assert was_refused(person.submit(person.get("/login"), "credential", credential=sent))
    page = person.get(invite(live, "unreadable"))
    answered = person.submit(page, "credential", credential=sent)
    assert answered.status_code == 400
    assert 'data-error="wrong"' in answered.text


def security_key(live: Live, name: str) -> tuple[Person, Key]:
    """Return somebody whose passkey stays on one device."""
    person = new_person(live, name)
    key = Key(key_of(person).user_handle)
    key.flags = PRESENT | VERIFIED
    page = person.get("/account/passkeys")
    WAY.send(person, page, key.made(options_of(page), live.url))
    keys[live.url, name] = key
    return person, key


def test_a_counter_that_goes_back_is_refused_and_audited(live: Live) -> None:
    """Attack 11b: use a copy of a passkey. Source: WebAuthn Level 3, 6.1.1, 7.2 step 21."""
    person, key = security_key(live, "counting")
    for count in (1, 5):
        key.sign_count = count
        assert is_in(answer(live, person))
    for count in (5, 4, 0):
        key.sign_count = count
        with structlog.testing.capture_logs() as logged:
            page = answer(live, person)
        assert was_refused(page)
        assert "There may be a copy of that passkey" in page.text
        [alarm] = [entry for entry in logged if entry["event"] == "passkey counter went back"]
        assert alarm["credential"] == f"passkey:{encode(key.id)}"
        assert [entry["reason"] for entry in logged if entry["event"] == "sign-in failed"] == ["copied"]
    key.sign_count = 6
    assert is_in(answer(live, person))


def test_a_synchronised_passkey_may_count_on_each_device(live: Live) -> None:
    """Each device counts by itself, so the counter says nothing: its owner is not locked out."""
    person = new_person(live, "synchronised")
    key = key_of(person)
    for count, ignored in ((1, 0), (7, 0), (7, 1), (3, 1), (0, 1), (0, 0), (4, 0)):
        key.sign_count = count
        with structlog.testing.capture_logs() as logged:
            assert is_in(answer(live, person))
        assert [entry["event"] for entry in logged].count("passkey counter ignored") == ignored


def test_who_has_no_key_raises_no_alarm(live: Live) -> None:
    """Attack 11b: have the owner's passkey taken for a copy. Source: WebAuthn Level 3, 6.1.1."""
    person, key = security_key(live, "alarmed")
    key.sign_count = 5
    assert is_in(answer(live, person))
    forger = Key(key.user_handle)
    forger.id = key.id
    with structlog.testing.capture_logs() as logged:
        for forger.flags in (PRESENT | VERIFIED, PRESENT | VERIFIED | BACKED_UP, PRESENT | VERIFIED | 8):
            assert was_refused(answer(live, person, forger))
    assert {entry["event"] for entry in logged if entry["event"] in set(Event)} == {"sign-in failed"}


def test_a_passkey_that_counts_nothing_works_again_and_again(live: Live, alice: Person) -> None:
    assert key_of(alice).sign_count == 0
    assert all(is_in(answer(live, alice)) for _ in range(3))


def test_of_two_uses_with_one_count_one_is_refused(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 11b: use a passkey and its copy at the same moment. Source: WebAuthn Level 3, 7.2 step 21."""
    person, key = security_key(live, "racing")
    key.sign_count = 1
    storage = live.auth.storage
    get = storage.sign_ins.get_credential
    others: list[bool] = []

    async def get_credential(subject: str, kind: str) -> Any:
        found = await get(subject, kind)
        if not others:
            others.append(False)
            others[0] = await anyio.to_thread.run_sync(lambda: is_in(answer(live, person)))
        return found

    monkeypatch.setattr(storage.sign_ins, "get_credential", get_credential)
    assert was_refused(answer(live, person))
    assert others == [True]


def test_what_may_be_backed_up_is_decided_when_it_is_made(live: Live) -> None:
    """Attack 11b: pass a synchronised copy off as a security key. Source: WebAuthn Level 3, 7.2 step 19."""
    person = new_person(live, "backup")
    key = key_of(person)
    key.flags = PRESENT | VERIFIED | BACKUP_ELIGIBLE  # not backed up any more
    assert is_in(answer(live, person))
    for flags in (PRESENT | VERIFIED, PRESENT | VERIFIED | BACKED_UP):
        key.flags = flags
        with structlog.testing.capture_logs() as logged:
            page = answer(live, person)
        assert was_refused(page)
        assert "That passkey is not as it was made" in page.text
        [told] = [entry for entry in logged if entry["event"] == "passkey flags changed"]
        assert told["credential"] == f"passkey:{encode(key.id)}"


def test_a_disabled_user_cannot_sign_in(live: Live) -> None:
    """Attack 12: sign in to an account that was disabled. Source: OWASP ASVS 5.0 7.4.2."""
    person = new_person(live, "disabled")
    anyio.run(live.on_storage, lambda storage: storage.users.disable("disabled"))
    assert was_refused(answer(live, person))
    anyio.run(live.on_storage, lambda storage: storage.users.enable("disabled"))
    assert is_in(answer(live, person))


@pytest.mark.parametrize(
    "reading", ["users.get_by_subject", "sign_ins.get_credential", "sign_ins.put_credential"]
)
def test_a_sign_in_that_is_under_way_ends_with_all_access(live: Live, reading: str) -> None:
    """Attack 12: use a passkey while the account is recovered. Source: OWASP ASVS 5.0 7.4.3, CWE-367."""
    name = "racer-" + reading.replace(".", "-")
    person = new_person(live, name)
    with meanwhile(live, name, reading):
        assert answer(live, person).url.path == "/login"
    assert is_in(answer(live, person))


def test_a_passkey_that_is_being_added_ends_with_all_access(live: Live) -> None:
    """Attack 12: add a passkey of one's own while the account is recovered. Source: OWASP ASVS 5.0 7.4.3."""
    person = new_person(live, "adder")
    page = person.get("/account/passkeys")
    made = Key(decode(options_of(page)["user"]["id"])).made(options_of(page), person.url)
    with meanwhile(live, "adder", "sign_ins.take_ticket"):
        assert WAY.send(person, page, made, passkey_name="Mine").status_code == 400
    assert person.get("/account").url.path == "/login"
    subject = key_of(person).user_handle.decode()
    kept = anyio.run(live.on_storage, lambda storage: storage.sign_ins.list_credentials(subject))
    assert len(kept) == 1


def test_wrong_unknown_and_disabled_answer_alike(live: Live, alice: Person) -> None:
    """Attack 10: find out which accounts exist, or are disabled. Source: OWASP ASVS 5.0 6.3.8."""
    person = new_person(live, "silent")
    anyio.run(live.on_storage, lambda storage: storage.users.disable("silent"))
    unknown = Key(key_of(alice).user_handle)
    pages = [answer(live, person), answer(live, alice, Key()), answer(live, alice, unknown)]
    texts = {re.sub(r'(value|data-options)=("[^"]*"|\'[^\']*\')', "", page.text) for page in pages}
    assert len(texts) == 1


def test_sign_ins_that_lead_nowhere_are_slowed_for_each_address(start: Callable[..., Live]) -> None:
    """Attack 10: ask for challenges without end. Source: OWASP ASVS 5.0 6.3.1."""
    server = start(limit_sign_ins_per_minute=1)
    person = new_person(server, "alice")
    for _ in range(15):
        assert is_in(answer(server, person))  # who signs in is not counted
    browser = Person(server)
    pages = [browser.get("/login") for _ in range(11)]
    assert [page.status_code for page in pages] == [200] * 10 + [429]
    assert int(pages[10].headers["retry-after"]) > 0


def test_images_of_the_sign_in_page_are_not_counted(start: Callable[..., Live]) -> None:
    """Attack 32: load the sign-in page as an image, until its visitors' network is slowed.
    Source: Fetch Metadata 2.
    """
    server = start(limit_sign_ins_per_minute=1)
    browser = Person(server)
    for _ in range(20):
        assert browser.browser.get("/login", headers={"Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert browser.get("/login").status_code == 200


# ------------------------------------------------------------------------------------- one-time links


def test_the_first_account_is_made_by_its_link_and_only_once(start: Callable[..., Live]) -> None:
    """Attack 12: let a link preview use the link up, or use it again. Source: threat model."""
    server = start()
    link = invite(server, None, ["*"])
    owner = Person(server, "owner")
    for _ in range(2):
        assert 'name="username"' in owner.get(link).text  # reading a link does not use it up
    assert owner.join(link).url.path == "/account"
    assert Person(server, "eve").join(link).status_code == 410
    assert is_in(answer(server, owner))
    assert OAuthClient(server).tokens(owner, scope="admin")["scope"] == "admin"


@pytest.mark.parametrize("name", ["", "a b", "<script>", "ü", "x" * 65, "a/b"])
def test_an_unfit_name_of_the_first_account_is_refused(start: Callable[..., Live], name: str) -> None:
    server = start()
    person = Person(server, name)
    link = invite(server, None, ["*"])
    assert person.join(link).status_code == 400
    person.name = "fine"
    assert person.join(link).url.path == "/account"


def test_a_link_opened_twice_makes_one_passkey(live: Live) -> None:
    """Attack 12: use a link a second time, from a page that was opened before. Source: threat model."""
    link = invite(live, "twice")
    first, second = Person(live, "twice"), Person(live, "twice")
    pages = [first.get(link), second.get(link)]
    assert WAY.make(first, pages[0]).url.path == "/account"
    key = Key(decode(options_of(pages[1])["user"]["id"]))
    assert WAY.send(second, pages[1], key.made(options_of(pages[1]), live.url)).status_code == 410
    assert was_refused(answer(live, first, key))


@pytest.mark.parametrize(
    "client",
    [
        {"origin": "https://evil.example"},
        {"crossOrigin": True},
        {"type": "webauthn.get"},
        {"challenge": encode(b"mcpch_of_my_own")},
    ],
    ids=lambda client: next(iter(client)),
)
def test_a_passkey_made_for_another_site_is_refused_and_the_link_stays_good(
    live: Live, client: dict[str, Any]
) -> None:
    """Attack 11b: have a passkey made elsewhere accepted here. Source: WebAuthn Level 3, 7.1."""
    person = Person(live, f"elsewhere-{next(iter(client)).lower()}")
    link = invite(live, person.name)
    page = person.get(link)
    options = options_of(page)
    key = Key(decode(options["user"]["id"]))
    refused = WAY.send(person, page, key.made(options, live.url, **client))
    assert (refused.status_code, 'data-error="wrong"' in refused.text) == (400, True)
    assert person.join(link).url.path == "/account"


def test_a_passkey_without_verification_or_of_another_rp_id_is_not_kept(live: Live) -> None:
    """Attack 11b: enrol a key that opens without a PIN. Source: WebAuthn Level 3, 7.1 steps 13 to 15."""
    person = Person(live, "weak")
    link = invite(live, "weak")
    for flags, rp_id in (
        (PRESENT, "localhost"),
        (VERIFIED, "localhost"),
        (PRESENT | VERIFIED, "evil.example"),
    ):
        page = person.get(link)
        options = options_of(page)
        key = Key(decode(options["user"]["id"]))
        key.flags = flags
        made = key.made(options | {"rp": {"id": rp_id}}, live.url)
        assert WAY.send(person, page, made).status_code == 400


def test_an_id_beyond_its_longest_is_refused(live: Live) -> None:
    person = Person(live, "long")
    link = invite(live, "long")
    for length, status in ((1024, 400), (1023, 200)):
        page = person.get(link)
        key = Key(decode(options_of(page)["user"]["id"]))
        key.id = b"x" * length
        assert WAY.send(person, page, key.made(options_of(page), live.url)).status_code == status


def test_a_link_recovers_an_account_and_signs_out_everywhere(live: Live) -> None:
    """Attack 12: stay signed in after the account was recovered. Source: OWASP ASVS 5.0 7.4.3."""
    person = new_person(live, "erin")
    lost = key_of(person)
    again = Person(live, "erin")
    assert is_in(again.join(invite(live, "erin")))
    assert key_of(again).user_handle == lost.user_handle
    assert WAY.asks(person.get("/account"))
    assert again.get("/account").text.count("/account/passkeys/remove") == 2
    assert is_in(answer(live, again))


def test_an_operator_takes_all_passkeys_away(start: Callable[..., Live], operator: Operator) -> None:
    """Attack 12: sign in with a passkey that an operator took away. Source: OWASP ASVS 5.0 7.4.3."""
    server = start()
    person = new_person(server, "alice")
    first, second = key_of(person), add(person)
    operator.types("users", "remove-credential", "alice", "passkey")
    assert WAY.asks(person.get("/account"))
    for key in (first, second):
        assert was_refused(answer(server, person, key))
    assert is_in(Person(server, "alice").join(invite(server, "alice")))


# ------------------------------------------------------------------------------------- account page


def kind_of(key: Key) -> str:
    return f"passkey:{encode(key.id)}"


def removable(person: Person) -> list[str]:
    """Return the passkeys that the account page has a button for, oldest first."""
    return re.findall(r'name="passkey" value="([^"]+)"', person.get("/account").text)


def add(person: Person, name: str = "Phone") -> Key:
    """Add a passkey on the account page."""
    page = person.get("/account/passkeys")
    key = Key(decode(options_of(page)["user"]["id"]))
    added = WAY.send(person, page, key.made(options_of(page), person.url), passkey_name=name)
    assert is_in(added)
    assert name.strip() in added.text
    return key


def test_passkeys_are_added_used_and_removed(live: Live) -> None:
    """Attack 11b: sign in with a passkey that was removed. Source: WebAuthn Level 3, 7.2 step 6."""
    person = new_person(live, "several")
    second = add(person, "Phone of mine")
    assert is_in(answer(live, person, second))
    assert removable(person) == [kind_of(key_of(person)), kind_of(second)]
    form = Form(person.get("/account").text, "passkey").fields | {"passkey": kind_of(second)}
    removed = person.follow(person.browser.post("/account/passkeys/remove", data=form))
    assert "Phone of mine" not in removed.text
    assert was_refused(answer(live, person, second))
    assert is_in(answer(live, person))


def test_the_last_passkey_stays(live: Live) -> None:
    person = new_person(live, "last")
    assert removable(person) == []
    form = {"csrf": Form(person.get("/account").text).fields["csrf"], "passkey": kind_of(key_of(person))}
    assert person.browser.post("/account/passkeys/remove", data=form).status_code == 400
    assert is_in(answer(live, person))


def test_nothing_but_passkeys_is_removed_here(live: Live) -> None:
    person = new_person(live, "keeper")
    add(person)
    subject = key_of(person).user_handle.decode()
    form = Form(person.get("/account").text, "passkey").fields | {"passkey": "other"}

    async def keep(storage: Any) -> None:
        assert await storage.sign_ins.put_credential(subject, "other", b"", counter=0)

    anyio.run(live.on_storage, keep)
    person.browser.post("/account/passkeys/remove", data=form)
    assert anyio.run(live.on_storage, lambda storage: storage.sign_ins.get_credential(subject, "other"))


def test_nobody_removes_or_adds_for_somebody_else(live: Live, alice: Person) -> None:
    """Attack 7, 11b: add a passkey of one's own to a victim's account. Source: RFC 6749 10.12."""
    mallory = new_person(live, "mallory-two")
    add(mallory)
    own = Form(mallory.get("/account").text).fields["csrf"]
    theirs = kind_of(key_of(alice))
    page = mallory.get("/account/passkeys")
    key = Key(decode(options_of(page)["user"]["id"]))
    post = Form(page.text, "credential").fields
    post["credential"] = json.dumps(key.made(options_of(page), live.url))
    for csrf in ("", "x", own, Form(Person(live).get("/login").text).fields["csrf"]):
        assert alice.browser.post("/account/passkeys", data=post | {"csrf": csrf}).status_code == 403
        remove = {"csrf": csrf, "passkey": theirs}
        assert alice.browser.post("/account/passkeys/remove", data=remove).status_code == 403
    mallory.browser.post("/account/passkeys/remove", data={"csrf": own, "passkey": theirs})
    mallory.browser.post("/account/passkeys/remove", data={"csrf": own, "passkey": "password"})
    # Not even with the other's form: the challenge is of the other's browser and account.
    alice_form = Form(alice.get("/account/passkeys").text, "credential").fields
    assert (
        alice.browser.post("/account/passkeys", data=post | {"csrf": alice_form["csrf"]}).status_code == 400
    )
    assert removable(alice) == []  # still the only one
    assert is_in(answer(live, alice))


def test_the_same_passkey_is_not_added_twice(live: Live) -> None:
    person = new_person(live, "same")
    page = person.get("/account/passkeys")
    made = key_of(person).made(options_of(page), live.url)
    assert WAY.send(person, page, made).status_code == 400
    assert removable(person) == []


def test_adding_and_removing_ask_for_a_recent_sign_in(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack 12: change the credentials in a session that was left open. Source: OWASP ASVS 5.0 7.5.1."""
    person = new_person(live, "recent")
    add(person)
    form = Form(person.get("/account").text, "passkey").fields
    with monkeypatch.context() as patch:
        patch.setattr(limits, "FRESH_SECONDS", 0)
        assert person.browser.post("/account/passkeys/remove", data=form).headers["location"] == "/login"
        asked = person.get("/account/passkeys")
        assert asked.url.path == "/login"
    assert len(removable(person)) == 2
    assert person.sign_in(asked).url.path == "/account/passkeys"


def test_strangers_are_sent_to_sign_in(live: Live) -> None:
    assert Person(live).get("/account/passkeys").url.path == "/login"


def test_a_name_is_only_text(live: Live) -> None:
    """Attack 8: script in the name of a passkey. Source: CWE-79."""
    person = new_person(live, "script")
    add(person, "x")
    page = person.get("/account/passkeys")
    key = Key(decode(options_of(page)["user"]["id"]))
    added = WAY.send(
        person,
        page,
        key.made(options_of(page), live.url),
        passkey_name="<script>alert(1)</script>" + "x" * 99,
    )
    assert "<script>" not in added.text
    assert "&lt;script&gt;alert(1)" in added.text
    assert "x" * 60 not in added.text


def test_a_link_ends_the_session_of_whoever_was_signed_in_there(live: Live) -> None:
    """Attack 12: use the session before, in a browser that is now somebody else's. Source: CVE-2026-7507."""
    person = new_person(live, "judy-before")
    [cookie] = [cookie for cookie in person.browser.cookies.jar if cookie.name.startswith("session")]
    person.name = "judy-after"
    assert person.join(invite(live, person.name)).url.path == "/account"
    before = {"Cookie": f"{cookie.name}={cookie.value}"}
    assert live.http().get("/account", headers=before).status_code == 303
