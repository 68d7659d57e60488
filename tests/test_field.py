"""What was met in the field, a file each in `field/`: who sends what, what must come, where it was reported.

* `what`, `who`, `reported` are for people. `concerns` names answers that a project must have; without it the
  situation concerns all.
* `registration` is the body of the app's registration. `none`, without one, is taken for granted.
* `[login]` is an app as a whole: it signs in, renews, is revoked, is told that it is unknown. It uses
  `redirect_uri`, adds `query`, `token`, `refresh` to its requests, and gets the scopes `granted`.
* `[[step]]` is one request: `send`, with `form` (as it is written), `json`, `headers`; or `call`, of a tool.
  `by = "person"`: somebody opens it in a browser, and allows with `tick`. What must come: `status`, `answer`
  (fields of JSON, or parameters of a redirect), `lacks`, `header` (a part of it), `to` (how the redirect
  begins), `offered` (on the page).

What is answered can be sent: `{code}`, `{refresh_token}`; `keep` gives it another name before the next answer
takes its place. So can `{url}`, `{mcp}`, `{basic}`, `{authorize}`,
`{redeem}` and `{renew}`, which are whole requests of a public app.
"""

import base64
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from string import Formatter
from typing import Any
from urllib.parse import quote, urlencode

import effort
import httpx2
import logins
import pytest
from conftest import Rendered
from counting import Count
from engines import Engine
from oauth_client import OAuthClient, alive, answered, call
from person import Form, Person
from rendering import AXES, Answers, combinations, one_for_each_answer, title
from servers import Server

FOLDER = Path(__file__).parent / "field"
SITUATIONS = sorted(path.stem for path in FOLDER.glob("*.toml"))
KEYS = {"what", "who", "reported", "concerns", "registration", "login", "step"}
LOGIN_KEYS = {"redirect_uri", "query", "token", "refresh", "granted"}
STEP_KEYS = {
    *("send", "form", "json", "headers", "call", "by", "tick", "keep"),
    *("status", "answer", "lacks", "header", "to", "offered"),
}
PUBLIC = {"token_endpoint_auth_method": "none"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Site:
    """A running project, and somebody who may grant everything."""

    def __init__(self, server: Server, answers: Answers) -> None:
        self.server = server
        self.answers = set(answers.values())
        self.owner = Person(server, "owner")
        assert self.owner.join(server.first_account_link).url.path == "/account"
        server.command("users", "scopes", "owner", "*")


PROJECTS = effort.first(one_for_each_answer(combinations(*AXES)), effort.commit)


@pytest.fixture(scope="module", params=PROJECTS, ids=title)
def site(
    request: pytest.FixtureRequest, rendered: Rendered, running_engines: Callable[[str], Engine]
) -> Iterator[Site]:
    answers: Answers = request.param
    way: logins.Way = import_module(f"logins.{answers['login']}").WAY
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logins, "chosen", lambda: way)
        store = way.settings() | running_engines(answers["storage"]).settings(f"field-{title(answers)}")
        with Server(rendered(answers), store, name="localhost").running() as server:
            yield Site(server, answers)


class App(OAuthClient):
    """An app that sends what the file says, letter by letter."""

    def __init__(self, site: Site, situation: dict[str, Any]) -> None:
        defaults = {"client_name": None, "token_endpoint_auth_method": None}
        super().__init__(site.server, **(defaults | situation.get("registration", PUBLIC)))
        self.owner = site.owner
        pair = f"{quote(self.id)}:{quote(self.secret or '')}"
        self.known = {
            "url": site.server.url,
            "mcp": f"{site.server.url}/mcp",
            "client_id": self.id,
            "client_secret": self.secret or "",
            "basic": base64.b64encode(pair.encode()).decode(),
            "verifier": self.verifier,
            "authorize": self.authorization_url().removeprefix(site.server.url),
            "redirect_uri": quote(self.registered["redirect_uris"][0], safe=""),
        }
        self.known["redeem"] = "client_id={client_id}&grant_type=authorization_code&code={code}"
        self.known["redeem"] += "&code_verifier={verifier}&redirect_uri={redirect_uri}"
        self.known["renew"] = "client_id={client_id}&grant_type=refresh_token&refresh_token={refresh_token}"

    def filled(self, text: str) -> str:
        """Fill in what is known; twice, since some of it has places of its own."""
        for _ in range(2):
            text = Formatter().vformat(text, (), self.known)
        return text

    def sent(self, path: str, more: str, **fields: str) -> httpx2.Response:
        """Post a form, authenticated as registered, with more behind it."""
        first, headers = "", FORM
        match self.registered["token_endpoint_auth_method"]:
            case "client_secret_basic":
                headers = FORM | {"Authorization": f"Basic {self.known['basic']}"}
            case "client_secret_post":
                first = "client_id={client_id}&client_secret={client_secret}&"
            case _:
                first = "client_id={client_id}&"
        body = self.filled(f"{first}{urlencode(fields)}&{more}".rstrip("&"))
        return self.http.post(path, content=body, headers=headers)


# ------------------------------------------------------------------------------------------------ an app


def live(app: App, login: dict[str, Any]) -> None:
    """Sign in, renew, be revoked, be unknown."""
    uri = login["redirect_uri"]
    url = app.authorization_url(redirect_uri=uri) + app.filled(login.get("query", ""))
    location = app.owner.allow(url)
    assert location.startswith(uri + "?")
    answer = answered(location)
    assert (answer["state"], answer["iss"]) == ("the state", app.known["url"])
    redeem = {"grant_type": "authorization_code", "code": answer["code"], "code_verifier": app.verifier}
    tokens = app.sent("/token", login.get("token", ""), redirect_uri=uri, **redeem).json()
    assert tokens["scope"] == login["granted"]
    renew = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    renewed = app.sent("/token", login.get("refresh", ""), **renew).json()
    assert renewed["scope"] == login["granted"]
    assert alive(app.server, renewed["access_token"])
    assert app.sent("/revoke", "", token=renewed["refresh_token"]).status_code == 200
    # What tells an app to sign in again, and not to register again; and the other way round.
    renew["refresh_token"] = renewed["refresh_token"]
    assert app.sent("/token", login.get("refresh", ""), **renew).json()["error"] == "invalid_grant"
    gone = app.http.post("/token", data={**renew, "client_id": "removed"})
    assert (gone.status_code, gone.json()["error"]) == (401, "invalid_client")


# ------------------------------------------------------------------------------------------ a step


def take(app: App, step: dict[str, Any]) -> None:
    app.known |= {name: app.known[known] for name, known in step.get("keep", {}).items()}
    response = requested(app, step)
    location = response.headers.get("location", "")
    if "status" in step:
        assert response.status_code == step["status"], response.text
    for name, part in step.get("header", {}).items():
        assert app.filled(part) in response.headers[name], response.headers
    assert location.startswith(app.filled(step.get("to", "")))
    told: dict[str, Any] = {}
    if location:
        told = answered(location)
    elif response.content and response.headers["content-type"].startswith("application/json"):
        told = response.json()
    expected = {
        name: app.filled(value) if isinstance(value, str) else value
        for name, value in step.get("answer", {}).items()
    }
    assert {name: told.get(name) for name in expected} == expected
    assert not set(step.get("lacks", ())) & told.keys()
    app.known |= {name: value for name, value in told.items() if isinstance(value, str) and name != "scope"}


def requested(app: App, step: dict[str, Any]) -> httpx2.Response:
    if name := step.get("call"):
        arguments = {"text": "x"} if name == "add_note" else {}
        return call(app.server, app.known["access_token"], name=name, arguments=arguments)
    method, _, path = app.filled(step["send"]).partition(" ")
    if step.get("by") == "person":
        page = app.owner.enter(app.owner.get(path))
        fields = Form(page.text, "decision").fields
        offered = [field.removeprefix("also:") for field in fields if field.startswith("also:")]
        assert offered == step.get("offered", offered)
        ticked = {f"also:{scope}": "on" for scope in step.get("tick", ())}
        return app.owner.submit(page, "decision", decision="allow", **ticked)
    headers = {name: app.filled(value) for name, value in step.get("headers", {}).items()}
    if "form" in step:
        return app.http.request(method, path, content=app.filled(step["form"]), headers=FORM | headers)
    return app.http.request(method, path, json=step.get("json"), headers=headers)


@pytest.mark.filterwarnings("ignore:tagMap|typeMap:DeprecationWarning")  # ldap3 uses old names of pyasn1
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("name", SITUATIONS)
def test_it_goes_as_it_should(site: Site, name: str, record_property: Count) -> None:
    situation = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    if not set(situation.get("concerns", ())) <= site.answers:
        return
    app = App(site, situation)
    for told in ("redirect_uris", "client_name", "token_endpoint_auth_method"):
        if told in situation.get("registration", {}):
            assert app.registered[told] == situation["registration"][told]
    if "login" in situation:
        live(app, situation["login"])
    for step in situation.get("step", ()):
        take(app, step)
    record_property("situations of the field", 1)


@pytest.mark.parametrize("name", SITUATIONS)
def test_it_says_who_and_where_and_nothing_unknown(name: str) -> None:
    situation = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    assert all(situation[told] for told in ("what", "who", "reported"))
    assert "login" in situation or situation["step"]
    assert set(situation) <= KEYS
    assert set(situation.get("login", {})) <= LOGIN_KEYS
    for step in situation.get("step", ()):
        assert set(step) <= STEP_KEYS
