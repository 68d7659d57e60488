"""Whatever is refused helps: the sender learns what would be accepted, the operator finds it in the log.

Programs get the error that the RFC names; people a page in their language. One case for each place
in the code that refuses; the last test looks for places without one.
"""

import ast
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from conftest import Live, new_person
from oauth_client import OAuthClient, answered, call
from person import Person

import authserver
from authserver import limits
from authserver.pages.languages import language

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
CALLBACK = "http://127.0.0.1:9/callback"
LONG = "x" * (limits.MAXIMUM_STATE_CHARACTERS + 1)


class World:
    """A server, somebody who is signed in, and their apps."""

    def __init__(self, server: Live) -> None:
        self.server = server
        self.http = server.http(headers={"Accept": "application/json"})
        self.app = OAuthClient(server)
        self.secret = OAuthClient(server, token_endpoint_auth_method="client_secret_post")
        self.person = new_person(server, "alice", ["*"])

    def register(self, **body: Any) -> httpx2.Response:
        return self.http.post("/register", json={"redirect_uris": [CALLBACK]} | body)

    def post(self, path: str, content: bytes | str = b"", **headers: str) -> httpx2.Response:
        return self.http.post(path, content=content, headers=FORM | headers)

    def authorize(self, **parameters: str | None) -> httpx2.Response:
        return self.http.get(self.app.authorization_url(**parameters))

    def again(self, **parameters: str) -> httpx2.Response:
        """Ask with one of the parameters twice."""
        more = "".join(f"&{name}={value}" for name, value in parameters.items())
        return self.http.get(self.app.authorization_url() + more)

    def redeem(self, **form: str | None) -> httpx2.Response:
        return self.app.redeem(self.app.code(self.person), **form)

    def refresh(self, **form: str | None) -> httpx2.Response:
        tokens = self.app.tokens(self.person)
        return self.app.refresh(tokens["refresh_token"], **form)

    def spent(self) -> httpx2.Response:
        code = self.app.code(self.person)
        self.app.redeem(code)
        self.app.redeem(code, code_verifier="y" * 43)
        return self.app.redeem(code)

    def decided(self, **fields: str) -> httpx2.Response:
        page = self.person.get(self.app.authorization_url())
        return self.person.submit(page, **fields)


@dataclass(frozen=True)
class Case:
    """What is refused: what the sender is told (its text in the code, or the key of a page), and how."""

    told: str
    send: Callable[[World], httpx2.Response]
    status: int
    error: str = "invalid_request"


def page(key: str, send: Callable[[Person], httpx2.Response], status: int) -> Case:
    """Return the case of a page."""

    def open_it(world: World) -> httpx2.Response:
        world.person.browser.headers["Accept-Language"] = "de"
        return send(world.person)

    return Case(key, open_it, status, "")


def in_another_browser(person: Person) -> httpx2.Response:
    """Go on there with a sign-in that began here."""
    request = person.get(OAuthClient(person).authorization_url()).url.params["request"]
    other = Person(person)
    other.browser.headers["Accept-Language"] = "de"
    return other.browser.get(f"/consent?request={request}")


URIS, METADATA = "invalid_redirect_uri", "invalid_client_metadata"
PROGRAMS = [
    # registration
    Case("a redirect URI with this scheme is never allowed",
         lambda w: w.register(redirect_uris=["javascript:x"]), 400, URIS),
    Case("a redirect URI must have no fragment and no user info",
         lambda w: w.register(redirect_uris=["https://a.example/#x"]), 400, URIS),
    Case("no redirect URI can be used: https, http on a loopback address, a private-use scheme with a dot,"
         " or what the operator of this server lets in by AUTH_REDIRECT_SCHEMES",
         lambda w: w.register(redirect_uris=["unknown:/x"]), 400, URIS),
    Case("redirect_uris must be a list of 1 to {} strings", lambda w: w.register(redirect_uris=[]), 400,
         URIS),
    Case("the body must be a JSON object", lambda w: w.http.post("/register", json=[]), 400, METADATA),
    Case("token_endpoint_auth_method must be one of {}",
         lambda w: w.register(token_endpoint_auth_method="private_key_jwt"), 400, METADATA),
    Case("grant_types must be a list with authorization_code in it",
         lambda w: w.register(grant_types=["client_credentials"]), 400, METADATA),
    Case("response_types must be a list with code in it",
         lambda w: w.register(response_types=["token"]), 400, METADATA),
    Case("jwks must hold public keys only", lambda w: w.register(jwks={"keys": [{"d": "x"}]}), 400, METADATA),
    Case("{} must be a string", lambda w: w.register(client_name=1), 400, METADATA),
    Case("client_uri must be an http or https address", lambda w: w.register(client_uri="x"), 400, METADATA),
    Case("scope must be a string", lambda w: w.register(scope=["read"]), 400, METADATA),
    # what cannot be read
    Case("the body is larger than {} KiB", lambda w: w.post("/token", "x" * 70_000), 413),
    Case("a parameter is repeated", lambda w: w.post("/token", "a=1&a=2"), 400),
    Case("parameters belong in the body", lambda w: w.post("/token?a=1"), 400),
    Case("the content type must be application/x-www-form-urlencoded",
         lambda w: w.http.post("/token", json={}), 400),
    Case("the content type must be application/json", lambda w: w.post("/register", "{}"), 400),
    Case("the body is not JSON in which each name stands once",
         lambda w: w.http.post("/register", content="{", headers=JSON), 400),
    Case("the parameters are not valid UTF-8, or too many", lambda w: w.post("/token", "a=%ff"), 400),
    Case("a parameter holds a NUL character", lambda w: w.post("/token", "a=%00"), 400),
    Case("the path holds characters that no path has", lambda w: w.http.get("/%0a"), 400),
    Case("client_id or redirect_uri is repeated", lambda w: w.again(client_id="x"), 400),
    # who asks, and from where
    Case("this Origin is not allowed (AUTH_ALLOWED_ORIGINS)",
         lambda w: w.post("/token", Origin="https://a.example"), 403, "access_denied"),
    Case("the client authenticates in two ways at once",
         lambda w: w.http.post("/token", data={"client_secret": "x"}, auth=("x", "y")), 400),
    Case("client_id differs from the Authorization header",
         lambda w: w.http.post("/token", data={"client_id": "z"}, auth=("x", "y")), 400),
    Case("the client is unknown, or did not authenticate as it registered",
         lambda w: w.post("/token", "client_id=x"), 401, "invalid_client"),
    Case("a client without a secret cannot ask", lambda w: w.app.post("/introspect"), 401, "invalid_client"),
    # the authorization endpoint: the client learns it at its redirect URI
    Case("a parameter is repeated", lambda w: w.again(scope="read&scope=write"), 303),
    Case("request objects are not supported", lambda w: w.authorize(request="x"), 303),
    Case("the only response_mode is query", lambda w: w.authorize(response_mode="fragment"), 303),
    Case("response_type must be code", lambda w: w.authorize(response_type="token"), 303,
         "unsupported_response_type"),
    Case("code_challenge_method must be S256", lambda w: w.authorize(code_challenge_method="plain"), 303),
    Case("code_challenge must be 43 base64url characters", lambda w: w.authorize(code_challenge="x"), 303),
    Case("state is longer than {} characters", lambda w: w.authorize(state=LONG), 303),
    Case("none of the scopes exists here{}", lambda w: w.authorize(scope="root"), 303, "invalid_scope"),
    Case("the resource of this server is {}", lambda w: w.authorize(resource="https://b.example/"), 303,
         "invalid_target"),
    # the token endpoint
    Case("{} is missing", lambda w: w.app.post("/token"), 400),
    Case("token is missing", lambda w: w.secret.post("/introspect"), 400),
    Case("use authorization_code or refresh_token", lambda w: w.app.post("/token", grant_type="x"), 400,
         "unsupported_grant_type"),
    Case("the client registered other grant types: {}",
         lambda w: OAuthClient(w.server, grant_types=["authorization_code"]).refresh("x"), 400,
         "unauthorized_client"),
    Case("the code is not valid (any more)", lambda w: w.app.redeem("x"), 400, "invalid_grant"),
    Case("redirect_uri differs from the authorization request", lambda w: w.redeem(redirect_uri="http://x/"),
         400, "invalid_grant"),
    Case("code_verifier must be 43 to 128 unreserved characters", lambda w: w.redeem(code_verifier="x"), 400),
    Case("code_verifier does not match the code_challenge", lambda w: w.redeem(code_verifier="x" * 43), 400,
         "invalid_grant"),
    Case("the code was used before: its tokens are revoked", World.spent, 400, "invalid_grant"),
    Case("the refresh token is not valid (any more)", lambda w: w.app.refresh("x"), 400, "invalid_grant"),
    Case("the refresh token holds none of these scopes", lambda w: w.refresh(scope="admin"), 400,
         "invalid_scope"),
    Case("the grant is for another resource: {}", lambda w: w.refresh(resource="https://b.example/"), 400,
         "invalid_target"),
    # a call
    Case("this needs the scope {}",
         lambda w: call(w.server, w.app.tokens(w.person)["access_token"], name="change", arguments={}), 403,
         "insufficient_scope"),
]  # fmt: skip
PEOPLE = [
    page("wrong_host", lambda p: p.browser.get("/login", headers={"Host": "x"}), 421),
    page("not_this_site", lambda p: p.browser.post("/login", headers={"Origin": "https://x.example"}), 403),
    page("wrong_method", lambda p: p.browser.get("/token"), 405),
    page("not_opened", lambda p: p.browser.get("/login", headers={"Sec-Fetch-Dest": "iframe"}), 403),
    page("not_found", lambda p: p.browser.get("/nothing"), 404),
    page("forbidden", lambda p: p.browser.post("/account/sign-out", data={"csrf": "x"}), 403),
    page("no_app", lambda p: p.browser.get("/authorize"), 400),
    page("unknown_client", lambda p: p.browser.get("/authorize?client_id=x"), 400),
    page("bad_redirect", lambda p: p.browser.get(
        OAuthClient(p).authorization_url(redirect_uri="https://x.example/")), 400),
    page("expired", lambda p: p.browser.get("/consent?request=x"), 400),
    page("wrong_browser", in_another_browser, 400),
    page("bad_request", lambda p: p.browser.get("/authorize?client_id=%ff"), 400),
]  # fmt: skip

ELSEWHERE = {
    "use the registration endpoint": "only for the SDK's own handlers: test_provider.py",
    "use the authorization endpoint": "only for the SDK's own handlers: test_provider.py",
    "the client was removed just now": "a race: storage/test_grants.py",
    "the code is not one of this server": "only for the SDK's own handlers: test_provider.py",
    "the code is not valid any more": "a race: test_provider.py",
    "the refresh token is not one of this server": "only for the SDK's own handlers: test_provider.py",
    "the refresh token is not valid any more": "a race, and what another client shows: test_refreshing.py",
    "the user may not grant any of these scopes any more": "test_scopes.py",
    "the token was used before: all of it is revoked": "test_refreshing.py",
    "the body did not arrive": "nobody is there to be told",
    "the body did not arrive within {} seconds": "test_attacks.py",
    "too many requests: try again in {} seconds ({})": "below",
    "only the operator of this server registers clients (AUTH_REGISTRATION)": "below",
    "choose Allow or Deny": "no button of the page does it: test_consent.py",
    "the second factor was changed just now": "a race: test_second_factor.py",
    "this server demands a second factor": "test_second_factor.py",
    "there is no second factor": "test_second_factor.py",
    "the page is too old": "test_second_factor.py",
    "apps_are_added": "below",
    "waiting_for_approval": "below",
    "slow": "below",
    "unavailable": "test_endpoints.py",
    "error": "test_endpoints.py",
    "invite_gone": "test_account.py",
    "busy": "test_login_password.py",
    "last_passkey": "test_login_passkey.py",
    "no_invitations": "test_login_ldap.py",
    "disabled": "test_login_proxy.py",
    "proxy_nobody": "test_login_proxy.py",
    "proxy_spelling": "test_login_proxy.py",
    "proxy_names_another": "test_login_proxy.py",
    "proxy_unclear": "test_login_proxy.py",
    "proxy_untrusted": "test_login_proxy.py",
}
"""Sites that no case here reaches, and where they are tried."""

_ERRORS = {"OAuthError", "TokenError", "RegistrationError", "AuthorizeError"}
_TEXTS = {"BadRequest", "_invalid_redirect_uri", "_invalid_metadata"}
_KEYS = {"Refusal", "problem"}


@pytest.fixture(scope="module")
def world(live: Live) -> World:
    return World(live)


@pytest.fixture
def is_in_the_log() -> Iterator[Callable[[str], bool]]:
    """Say whether the line of a request says that it was refused so: it comes a moment after the answer."""

    def is_there(told: str) -> bool:
        end = time.monotonic() + 30
        while not any(said(told).search(line.get("refused", "")) for line in lines):
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    with structlog.testing.capture_logs() as lines:
        yield is_there


def said(template: str) -> "re.Pattern[str]":
    """Return what matches a text of the code, whatever stands in its braces."""
    return re.compile(".*".join(map(re.escape, re.split(r"\{.*?\}", template))))


@pytest.mark.parametrize("case", PROGRAMS, ids=lambda case: case.told)
def test_a_program_learns_why_and_the_operator_too(
    world: World, is_in_the_log: Callable[[str], bool], case: Case
) -> None:
    answer = case.send(world)
    told = answered(answer.headers["location"]) if answer.is_redirect else answer.json()
    assert (answer.status_code, told["error"]) == (case.status, case.error)
    assert said(case.told).search(told["error_description"])
    assert is_in_the_log(case.told)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("case", PEOPLE, ids=lambda case: case.told)
def test_a_person_gets_a_page_in_their_language(
    world: World, is_in_the_log: Callable[[str], bool], case: Case
) -> None:
    answer = case.send(world)
    assert answer.status_code == case.status
    assert '<html lang="de"' in answer.text
    assert language("de").t(f"message.{case.told}.title") in answer.text
    assert is_in_the_log(language()._texts[f"message.{case.told}.text"])


def test_a_setting_that_refuses_is_named_to_both(
    start: Callable[..., Live], is_in_the_log: Callable[[str], bool]
) -> None:
    app = {"redirect_uris": [CALLBACK]}
    server = start(registration="static", limit_sign_ins_per_minute=1)
    assert server.http().post("/register", json=app).status_code == 403
    assert is_in_the_log("AUTH_REGISTRATION")
    assert "AUTH_REGISTRATION" in Person(server).browser.get("/authorize?client_id=x").text
    server = start(registration="approval", limit_registrations_per_minute=1, limit_sign_ins_per_minute=1)
    client = OAuthClient(server)
    waiting = Person(server).browser.get(client.authorization_url())
    assert "clients approve" in waiting.text
    assert is_in_the_log(client.id)
    answer = server.http().post("/register", json=app)
    assert answer.status_code == 429
    assert "AUTH_LIMIT_REGISTRATIONS_PER_MINUTE" in answer.json()["error_description"]
    assert is_in_the_log("AUTH_LIMIT_REGISTRATIONS_PER_MINUTE")
    server = start(limit_sign_ins_per_minute=1)
    url = OAuthClient(server).authorization_url()
    answers = [Person(server).browser.get(url) for _ in range(4)]
    assert "AUTH_LIMIT_SIGN_INS_PER_MINUTE" in answers[-1].text
    assert is_in_the_log("AUTH_LIMIT_SIGN_INS_PER_MINUTE")


def test_no_place_that_refuses_is_missing() -> None:
    here = {site for path in Path(authserver.__file__).parent.rglob("*.py") for site in sites(path)}
    met = {case.told for case in (*PROGRAMS, *PEOPLE)}
    assert here - met - ELSEWHERE.keys() == set()
    # What this project does not have, such as another login's, may be listed all the same.
    assert not met & ELSEWHERE.keys()


def sites(path: Path) -> Iterator[str]:
    """Yield what is told at each place of a file that refuses: the text, or the key of a page."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        texts = [text for text in map(written, node.args) if text is not None]
        detail = [text for word in node.keywords if word.arg == "detail" and (text := written(word.value))]
        if name in _KEYS and texts and (detail or texts != ["bad_request"]):
            yield (detail or texts)[0]
        elif name in _TEXTS and texts:
            yield texts[0]
        elif name in _ERRORS and len(texts) > 1:
            yield texts[1]


def written(node: ast.AST) -> str | None:
    """Return a text as it stands in the code, `{}` for what is filled in; None for what is no text."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(written(part) or "{}" for part in parts)
    return None
