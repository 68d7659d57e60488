"""What commands write down, what they print, and that they work where `app` does not."""

import io
import json
import logging
import os
import pwd
import re
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog
from conftest import Live, invite, new_person, new_store, sample
from cyclopts import App
from engines import Engine
from oauth_client import OAuthClient
from operators import Operator
from ports import free_port

from authserver import AuthorizationServer, cli, logs
from authserver.all_settings import Settings
from authserver.audit import Event
from authserver.commands import quoted, say, typed
from authserver.login import USER_NAME
from authserver.logs import printable
from authserver.model.records import Client
from authserver.storage import Storage
from authserver.storage.clients import Share

# They change nothing. What is not here must write an event.
READ = {"clients list", "components", "doctor", "grants list", "keys list", "known-flaws"} | {
    f"users {name}" for name in ("credentials", "list", "sessions")
}
# It runs until it is stopped; the one thing that it makes is a link, as `users invite` does.
SERVES = {"serve"}


def commands(app: App, *above: str) -> Iterator[str]:
    """Yield everything that can be typed."""
    for name in app:
        if not name.startswith("-"):
            yield from list(commands(app[name], *above, name)) or [" ".join([*above, name])]


def test_whatever_a_command_changes_is_written_down(
    engine: Engine, store: dict[str, str], operator: Operator, tmp_path: Path
) -> None:
    """Attack 41: change accounts at the terminal, unseen. Source: OWASP ASVS 5.0 16.2.1, CWE-778."""
    server = Live(store, registration="approval").start()
    alice = new_person(server, "alice")
    client = OAuthClient(server)
    operator.types("clients", "approve", client.id)
    client.tokens(alice)
    server.stop()
    [grant] = operator.rows("grants", "list")
    subject, backup = grant["subject"], str(tmp_path / "backup")
    of_alice = {"subject": subject}
    anyio.run(server.on_storage, lambda kept: kept.sign_ins.put_credential(subject, "spare", b"x", counter=0))
    signs = bool(server.auth.tokens.routes)
    elsewhere = with_key_of(store, new_store(engine))

    walk: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("backup", [backup], "backup written", {}),
        ("restore", [backup], "backup restored", {}),
        ("users scopes", ["alice", "*"], "scopes set", of_alice | {"scope": "*"}),
        ("users reset-scopes", ["alice"], "scopes set", of_alice),
        ("users invite", ["alice"], "link made", of_alice),
        (
            "users remove-credential",
            ["alice", "spare"],
            "credential removed",
            of_alice,
        ),
        ("users sign-out", ["alice"], "sessions ended", of_alice),
        ("grants revoke", [grant["grant_id"]], "grant revoked", {"grant": grant["grant_id"]}),
        ("users disable", ["ALICE"], "account disabled", of_alice),
        ("users enable", ["alice"], "account enabled", of_alice),
        ("clients add", ["App", "https://app.example/cb"], "client registered", {}),
        ("clients approve", [client.id], "client approved", {"client": client.id}),
        ("clients remove", [client.id], "client removed", {"client": client.id}),
        ("keys rotate", [], "signing key made", {}),
        ("keys rewrap", [], "secrets sealed again", {}),
        ("purge", [], "expired records deleted", {}),
        ("users secure", ["alice"], "account secured", of_alice),
        ("users delete", ["alice"], "account deleted", of_alice),
    ]
    assert {command for command, *_ in walk} == set(commands(cli.app)) - READ - SERVES

    # Accounts of a directory, and tokens that nobody signs.
    refuses = {"users invite": bool(server.auth.login.accounts_elsewhere), "keys rotate": not signs}
    for command, words, event, facts in walk:
        if refuses.get(command):
            operator.fails(*command.split(), *words)
            continue
        who = operator.at(elsewhere) if command == "restore" else operator
        with structlog.testing.capture_logs() as logged:
            printed = who.types(*command.split(), *words)
        [written] = [entry for entry in logged if entry["event"] in set(Event)]
        assert written["event"] == event
        assert facts.items() <= written.items()
        assert (written["address"], written["operator"]) == ("operator", pwd.getpwuid(os.getuid()).pw_name)
        assert printed.strip(), command
        assert "mcpiv_" not in json.dumps(written)


def with_key_of(old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    made = Settings.model_validate(old).made_key_path
    return new if made is None else new | {"secret_key": made.read_text()}


def test_the_environment_does_not_say_who_the_operator_is(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 41: be somebody else in the audit. Source: CWE-807."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    with structlog.testing.capture_logs() as logged:
        operator.types("purge")
    assert "somebody-else" not in str(logged)


def test_what_visitors_do_says_from_where(store: dict[str, str]) -> None:
    with structlog.testing.capture_logs() as logged:
        server = Live(store).start()
        person = new_person(server, "alice")
        client = OAuthClient(server)
        client.tokens(person)
        server.stop()
    written = {entry["event"]: entry for entry in logged if entry["event"] in set(Event)}
    assert {"consent given", "code redeemed", "client registered"} <= written.keys()
    assert {entry["address"] for entry in written.values()} == {"127.0.0.1"}


# ------------------------------------------------------------------------------------ on a terminal

HOSTILE = 'x\x1b]0;owned\x07\x1b[2J\n\u202egnp.exe\u2066 name=other "q" \\ \x9b31m \u2028 Zoë'


async def leave_traces(storage: Storage) -> None:
    """Store what strangers can choose; a proxy or directory may name people in any way."""
    user = await storage.users.add(HOSTILE, scopes=None)
    await storage.sign_ins.add_session(
        b"session", user.subject, epoch=user.epoch, device=HOSTILE, lifetime_seconds=100, limit=9
    )
    await storage.sign_ins.put_credential(user.subject, HOSTILE, b"x", counter=0)
    metadata = {"client_name": HOSTILE, "redirect_uris": [HOSTILE]}
    client = Client("id", metadata, None, "192.0.2.1", 0.0, None, None)
    await storage.clients.add(client, place="", shares=[Share("", 9)])


@pytest.mark.parametrize(
    "words",
    [
        ["clients", "list"],
        ["users", "list"],
        ["users", "sessions", HOSTILE],
        ["users", "credentials", HOSTILE],
        ["users", "scopes", HOSTILE, "*"],
        ["users", "reset-scopes", HOSTILE],
        ["users", "disable", HOSTILE],
        ["users", "enable", HOSTILE],
        ["users", "sign-out", HOSTILE],
        ["users", "remove-credential", HOSTILE, HOSTILE],
        ["users", "delete", HOSTILE],
        ["clients", "approve", HOSTILE],
        ["clients", "remove", HOSTILE],
        ["grants", "revoke", HOSTILE],
        ["users", "scopes", HOSTILE + "x"],
        ["users", "invite", HOSTILE],
        ["backup", HOSTILE.replace("/", "")],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_what_strangers_chose_does_nothing_on_a_terminal(
    words: list[str], store: dict[str, str], operator: Operator
) -> None:
    """Attack 41: write to the operator's terminal, by any name that a stranger chooses.
    Source: CWE-150, OWASP ASVS 5.0 16.4.1.
    """
    server = Live(store)
    anyio.run(server.on_storage, leave_traces)
    printed = operator.prints(*words)
    assert printed.strip()
    assert all(line.isprintable() for line in printed.split("\n")), printed


def test_every_command_prints_in_the_one_way(capsys: pytest.CaptureFixture[str]) -> None:
    """What is not quoted either: whatever a later command prints."""
    say(HOSTILE)
    assert capsys.readouterr().out == f"{printable(HOSTILE)}\n"
    assert printable(HOSTILE).isprintable()
    for path in (Path(cli.__file__).parent / "commands").glob("*.py"):
        bare = re.findall(r"(?<![a-z_.])print\(", path.read_text(encoding="utf-8"))
        assert len(bare) == (1 if path.name == "__init__.py" else 0), path.name


def test_a_value_ends_where_it_seems_to_end() -> None:
    assert quoted("plain") == "plain"
    assert quoted("") == '""'
    assert quoted("Zoë") == "Zoë"
    assert quoted('x" scopes="*') == r'"x\" scopes=\"*"'
    assert quoted("a b") == '"a b"'
    assert quoted("a=b") == '"a=b"'
    assert quoted("\x1b[31m") == r'"\x1b[31m"'
    assert quoted(r"\x1b") == r'"\\x1b"'
    assert quoted("\u202e") == r'"\u202e"'
    assert quoted("a\nb") == r'"a\nb"'


# ------------------------------------------------------------------------------------------------- the log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the log of a process of ours writes, on a terminal and elsewhere."""
    root, own = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    root.handlers, root.level = handlers, level
    structlog.configure(**own)


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_the_log_says_where_an_error_was_and_none_of_its_values(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO]
) -> None:
    """Attack 41: read secrets in a traceback, or write to the terminal by one. Source: CWE-532, CWE-117."""
    output = stream()
    monkeypatch.setattr(sys, "stderr", output)
    logs.configure()

    def fails() -> None:
        password = "hunter2"
        try:
            raise KeyError(password)
        except KeyError as error:
            raise ExceptionGroup(f"the password is {password}", [ValueError(password)]) from error

    log = structlog.get_logger("authserver.test")
    with structlog.contextvars.bound_contextvars(request_id="1234"):
        try:
            fails()
        except ExceptionGroup:
            logging.getLogger("library").exception("of a library: %s", "\x1b[2J\u202e")
            log.exception("of ours", chosen="\x1b[2J\u202e")
    text = output.getvalue()
    assert "hunter2" not in text.replace('password = "hunter2"', "").replace('password = \\"hunter2', "")
    assert text.count("test_operators.py") >= 4
    assert "ValueError" in text
    assert "KeyError" in text
    assert "traceback object" not in text
    assert "\u202e" not in text
    assert "\x1b[2J" not in text
    if stream is io.StringIO:
        for line in text.splitlines():
            assert json.loads(line)["request_id"] == "1234"
            assert "test_operators.py" in json.loads(line)["exception"]


class Unspeakable:
    """Something of a library that cannot say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("not now")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
@pytest.mark.parametrize("kind", ["circular", "unspeakable", "a key that is no name", "deep"])
def test_no_event_fails_for_whoever_logs_it(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], kind: str
) -> None:
    output = stream()
    monkeypatch.setattr(sys, "stderr", output)
    logs.configure()
    held: Any = {}
    match kind:
        case "circular":
            held["itself"] = held
        case "unspeakable":
            held = Unspeakable()
        case "a key that is no name":
            held = {(1, 2): 3}
        case "deep":
            for _ in range(100_000):
                held = [held]
    structlog.get_logger("app").info("what it was", held=held, user="alice")
    structlog.get_logger("app").info("and what came then")
    assert "alice" in output.getvalue()
    assert "what it was" in output.getvalue()
    assert "and what came then" in output.getvalue()


def test_an_event_says_what_it_says_whatever_is_bound(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is that of the one clock that there is."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "stderr", output)
    monkeypatch.setattr("authserver.clock.now", lambda: 1_800_000_000.5)
    logs.configure()
    with structlog.contextvars.bound_contextvars(request_id="1234", user="bob", event="another"):
        structlog.get_logger("app").info("deleted", user="alice")
    told = json.loads(output.getvalue())
    assert (told["event"], told["user"], told["request_id"]) == ("deleted", "alice", "1234")
    assert told["timestamp"].endswith("-15T08:00:00.500000Z")


@pytest.mark.anyio
async def test_lines_about_requests_are_written_together_and_all_others_at_once(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = io.StringIO()
    pieces: list[str] = []
    monkeypatch.setattr(output, "write", pieces.append)
    monkeypatch.setattr(sys, "stderr", output)
    logs.configure()
    log, audited = structlog.get_logger("authserver"), structlog.get_logger("authserver.audit")
    with logs.behind():
        for number in range(1000):
            log.info("request", number=number)
        assert pieces == []
        audited.info("code redeemed")  # what was told before it comes before it
        assert [json.loads(line)["event"] for line in "".join(pieces).splitlines()][-1] == "code redeemed"
        log.info("request", number=1000)
        log.warning("something is wrong")
        log.info("request", number=1001)
        with anyio.fail_after(30):
            while "1001" not in "".join(pieces):  # noqa: ASYNC110  # it is written in a thread
                await anyio.sleep(0.01)
        log.info("request", number=1002)
    assert "1002" in "".join(pieces)
    log.info("request", number=1003)
    told = [json.loads(line) for line in "".join(pieces).splitlines()]
    assert [line["number"] for line in told if "number" in line] == list(range(1004))
    # Several processes write to one pipe: it keeps apart what it takes in one piece.
    assert all(len(piece) <= select.PIPE_BUF and piece.endswith("\n") for piece in pieces if piece)


@pytest.mark.anyio
async def test_whoever_fills_the_log_waits_for_its_reader(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = io.StringIO()
    monkeypatch.setattr(sys, "stderr", output)
    monkeypatch.setattr("authserver.logs._LINES", 10)
    logs.configure()
    log = structlog.get_logger("authserver")
    with logs.behind():
        for number in range(11):
            log.info("request", number=number)
        assert len(output.getvalue().splitlines()) == 11


# ------------------------------------------------------------------------------------- a broken deployment

MISTAKES = {
    "syntax": ("x = 1\nmcp = (\n", "line 2: SyntaxError"),
    "name": ("import os\n\nmcp = nothing\n", "line 3: NameError: name 'nothing' is not defined"),
    "library": ("from authserver import Scope\nScope()\nmcp = 1\n", "line 2: TypeError"),
    "exit": ("import sys\nsys.exit('no')\n", "line 2: SystemExit: no"),
    "import": ("import no_such_module\n", "line 1: ModuleNotFoundError"),
    "no server": ("other = 1\n", "ImportError: cannot import name 'mcp'"),
    "no auth": ("from fastmcp import FastMCP\nmcp = FastMCP('x')\n", "must set auth=AuthorizationServer"),
    "of the SDK": (
        "from mcp.server import MCPServer as Server\nmcp = Server('x')\n",
        "app/server.py: mcp must be a FastMCP server of the package fastmcp, not mcp.server",
    ),
    "hostile": ("raise ValueError('\\x1b[2J\\nsecond line')\n", r"line 1: ValueError: \x1b[2J\nsecond line"),
}


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of an `app` of one's own, in place of the template's."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    loaded: dict[str, Any] = {
        name: sys.modules.pop(name) for name in ("app", "app.server") if name in sys.modules
    }
    yield tmp_path / "app" / "server.py"
    for name in ("app", "app.server"):
        sys.modules.pop(name, None)
    sys.modules.update(loaded)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_where_app_is_broken_people_can_be_disabled(
    mistake: str, broken: Path, store: dict[str, str], operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    source, told = MISTAKES[mistake]
    broken.write_text(source)
    for name in [name for name in Settings.model_fields if name.endswith("_group_scopes")]:
        operator.store[name] = '{"cn=staff": "notes:read"}'
    anyio.run(Live(store).on_storage, lambda storage: storage.users.add("alice", scopes=None))
    for words in (f"serve --port {free_port()}", "components", "users scopes alice read"):
        line = operator.fails(*words.split())
        assert told in line
        assert "\n" not in line
    capsys.readouterr()
    operator.types("users", "disable", "alice")
    assert operator.rows("users", "list")[0]["disabled_at"]
    operator.fails("doctor", "--json")
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [app] = [finding["finding"] for finding in found if finding["rule"] == "broken-app"]
    assert told in printable(app)
    assert len(found) > 1


def test_a_command_says_what_it_did_and_scopes_only_shows(store: dict[str, str], operator: Operator) -> None:
    anyio.run(Live(store).on_storage, lambda storage: storage.users.add("alice", scopes=["*"]))
    assert operator.types("users", "scopes", "alice") == "*\n"
    assert operator.rows("users", "list")[0]["scopes"] == "*"
    assert operator.types("users", "reset-scopes", "alice") == "alice may grant (default).\n"
    assert operator.types("users", "scopes", "alice") == "(default)\n"


def test_a_command_says_what_was_not_there(store: dict[str, str], operator: Operator) -> None:
    anyio.run(Live(store).on_storage, lambda storage: storage.users.add("alice", scopes=["*"]))
    assert 'no such scope: "". There are: ' in operator.fails("users", "scopes", "alice", "")
    printed = operator.types("users", "secure", "alice", "--passkeys", "--factors")
    assert "alice had no passkey: " in printed
    assert "alice had no second-factor: " in printed
    assert " had no " not in operator.types("users", "secure", "alice")


def test_a_name_does_not_begin_like_an_option() -> None:
    assert [name for name in ("-x", "--help", "a-x", "_-", ".") if USER_NAME.fullmatch(name)] == [
        "a-x",
        "_-",
        ".",
    ]


@pytest.mark.parametrize("printed", [True, False])
def test_the_link_of_the_start_is_spoken_of_where_there_is_one(
    store: dict[str, str], operator: Operator, printed: bool
) -> None:
    auth = sample(Live(store).settings).auth
    assert isinstance(auth, AuthorizationServer)
    if auth.login.accounts_elsewhere:
        pytest.skip("no link makes an account")
    if printed:
        invite(Live(store), None, scopes=["*"])
    for name in ("one", "two"):
        warning = operator.warned("users", "invite", name)[1]
        assert "Nobody has an account yet" in warning
        assert ("the start" in warning) == printed


@pytest.mark.parametrize(
    ("started", "typed_so"),
    [(".venv/bin/my-server", "uv run my-server"), ("bin/my-server", "my-server")],
)
def test_the_command_is_told_as_it_is_typed(
    started: str, typed_so: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / started), "serve"])
    assert typed() == typed_so
