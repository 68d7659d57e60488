"""docs/runbooks.md: its commands, line by line, on a server that people use. What systemd does, this does."""

import re
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import uuid4

import effort
import pytest
from conftest import Rendered
from engines import Engine
from oauth_client import OAuthClient, alive
from person import Person
from rendering import DEFAULTS, REPOSITORY
from servers import Server

PAGE = (REPOSITORY / "docs" / "runbooks.md").read_text(encoding="utf-8")

pytestmark = effort.push


def commands(title: str) -> list[str]:
    """Return the commands of a section, in the blocks that they stand in."""
    [section] = [part for part in PAGE.split("\n## ") if part.startswith(f"{title}\n")]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


class Machine:
    """A machine with a server: its folders, its settings, and what somebody types there."""

    def __init__(self, project: Path, root: Path, port: int | None = None) -> None:
        self.root = root
        for name in ("var/lib/private", "var/lib/my-server-backups", "etc/my-server"):
            (root / name).mkdir(parents=True)
        self.settings = root / "etc/my-server/env"
        self.settings.touch()
        (root / "etc/my-server/secret_key").write_text("a key that was made when it was installed\n")
        self._stack = ExitStack()
        self.install(project, port)

    def install(self, project: Path, port: int | None = None) -> None:
        """Install a project, in place of another one."""
        data = {"data_dir": str(self.root / "var/lib/private/my-server")}
        has_file = (project / "src/authserver/storage/sqlite").exists()
        self.server = Server(project, data if has_file else {}, port)
        self._first = dict(self.server.environment)

    def types(self, block: str, **words: str) -> str:
        """Type each line of a block; return what is printed."""
        printed = ""
        for line in block.splitlines():
            for word, meant in words.items():
                line = line.replace(word, meant)  # noqa: PLW2901
            line = re.sub(r"(?<![\w/])/(?=var/lib|etc/|opt/|media/)", f"{self.root}/", line)  # noqa: PLW2901
            printed += self._do(line)
        return printed

    def _do(self, line: str) -> str:
        verb, *rest = shlex.split(line)
        self.read_settings()
        if verb == "my-server":
            return self.server.command(*rest)
        if verb == "systemctl":
            assert rest[-1].removesuffix(".service") == "my-server"
            if rest[0] in ("stop", "restart"):
                self._stack.close()
            if rest[0] in ("start", "restart", "enable"):
                self._stack.enter_context(self.server.running())
            return ""
        if verb == "journalctl":
            return self.server.printed
        done = subprocess.run(["sh", "-euc", line], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        return done.stdout

    def read_settings(self) -> None:
        """Read the settings, as the unit does."""
        lines = self.settings.read_text(encoding="utf-8").splitlines()
        written = dict(line.split("=", 1) for line in lines)
        written["AUTH_SECRET_KEY_FILE"] = str(self.root / "etc/my-server/secret_key")
        self.server.environment = self._first | written

    def start(self) -> "Machine":
        self._do("systemctl start my-server")
        return self

    def stop(self) -> None:
        self._stack.close()


class Alice:
    """Somebody who uses the server, with a browser and an app."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.person = Person(server, "alice")
        assert self.person.join(server.invite("alice")).status_code == 200
        self.app = OAuthClient(server)
        self.tokens = self.app.tokens(self.person)

    def goes_on(self) -> bool:
        """Say whether browser and app work as if nothing had happened."""
        answer = self.app.refresh(self.tokens["refresh_token"])
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer.status_code == 200 and self.is_signed_in()

    def is_signed_in(self) -> bool:
        return self.person.get("/account").url.path == "/account"

    def is_out(self) -> bool:
        """Say whether nothing that she had works any more."""
        refused = self.app.refresh(self.tokens["refresh_token"]).status_code == 400
        return refused and not alive(self._server, self.tokens["access_token"]) and not self.is_signed_in()


Machines = Callable[..., Machine]


@pytest.fixture
def machines(tmp_path: Path, default_project: Path) -> Iterator[Machines]:
    """Return a function that gives a machine on which a project is installed."""
    with ExitStack() as stack:
        found: list[Machine] = []

        def machine(project: Path = default_project, port: int | None = None) -> Machine:
            found.append(Machine(project, tmp_path / f"machine-{len(found)}", port))
            stack.callback(found[-1].stop)
            return found[-1]

        yield machine


@pytest.fixture
def machine(machines: Machines) -> Machine:
    return machines().start()


@pytest.fixture
def alice(machine: Machine) -> Alice:
    return Alice(machine.server)


def test_a_first_deployment(machine: Machine) -> None:
    [block] = commands("First deployment")
    *lines, doctor = block.splitlines(keepends=True)
    printed = machine.types("".join(lines), **{"http://127.0.0.1:8000": machine.server.url})
    link = re.search(r"http\S+/invite/\S+", printed)
    assert link
    assert Person(machine.server, "alice").join(link[0]).status_code == 200
    assert list((machine.root / "var/lib/my-server-backups").iterdir())
    # Here there is neither TLS nor a limit: it finds that.
    with pytest.raises(subprocess.CalledProcessError) as found:
        machine.types(doctor)
    assert "AUTH_PUBLIC_URL" in found.value.stdout


@effort.release
def test_a_node_more(
    machines: Machines, rendered: Rendered, running_engines: Callable[[str], Engine]
) -> None:
    project = rendered(DEFAULTS | {"storage": "postgresql"})
    first = machines(project)
    second = machines(project, first.server.port)
    first.settings.write_text(f"AUTH_STORAGE_URL={store(running_engines)}\n")
    first.start()
    alice = Alice(first.server)
    second.settings.write_text(f"AUTH_STORAGE_URL={store(running_engines)}\n")
    [block] = commands("A node more")
    copy, users, start = block.splitlines()
    assert "alice" not in second.types(users)  # the wrong store
    second.types(copy.replace("scp", "cp"), **{"first.example.com:/": f"{first.root}/"})
    assert "alice" in second.types(users)
    first.stop()  # test_nodes.py lets both run
    second.types(start)
    assert alice.goes_on()


def store(running_engines: Callable[[str], Engine]) -> str:
    """Return the address of a new database."""
    return running_engines("postgresql").settings(uuid4().hex)["storage_url"]


@effort.release
def test_from_sqlite_to_postgresql(
    machine: Machine, alice: Alice, rendered: Rendered, running_engines: Callable[[str], Engine]
) -> None:
    before, after = commands("From SQLite to PostgreSQL")
    machine.types(before)
    machine.install(rendered(DEFAULTS | {"storage": "postgresql"}), machine.server.port)
    with machine.settings.open("a") as file:
        file.write(f"AUTH_STORAGE_URL={store(running_engines)}\n")
    assert "alice" in machine.types(after)
    assert alice.goes_on()


def test_a_restore_on_an_empty_machine(machine: Machine, alice: Alice, machines: Machines) -> None:
    machine.types("my-server backup --keep 14 /var/lib/my-server-backups")
    machine.stop()
    [backup] = (machine.root / "var/lib/my-server-backups").iterdir()
    empty = machines(port=machine.server.port)
    (empty.root / "media/usb").mkdir(parents=True)
    backup.rename(empty.root / "media/usb/backup")
    [block] = commands("A restore on an empty machine")
    assert "alice" in empty.types(block)
    assert alice.goes_on()


def test_a_stolen_laptop(machine: Machine, alice: Alice) -> None:
    [block] = commands("A stolen laptop")
    secure, invite, sessions = block.splitlines()
    machine.types(secure)
    assert alice.is_out()
    link = machine.types(invite).strip()
    assert machine.types(sessions) == ""
    assert Person(machine.server, "alice").join(link).status_code == 200


def test_a_leaked_key(machine: Machine, alice: Alice) -> None:
    key = machine.root / "etc/my-server/secret_key"
    leaked = key.read_text(encoding="utf-8")
    [block] = commands("A leaked key")
    machine.types(block)
    assert leaked.strip() not in key.read_text(encoding="utf-8") + machine.settings.read_text(
        encoding="utf-8"
    )
    assert alice.goes_on()
    machine.stop()
    key.write_text(leaked)
    with pytest.raises(subprocess.CalledProcessError):
        machine.types("my-server users list")  # the old one opens nothing any more


def test_a_compromised_client(machine: Machine, alice: Alice) -> None:
    [block] = commands("A compromised client")
    *lines, grants = block.splitlines(keepends=True)
    assert alice.app.id in machine.types(grants)
    assert alice.app.id in machine.types("".join(lines), CLIENT_ID=alice.app.id)
    assert alice.app.id not in machine.types(grants)
    assert not alive(machine.server, alice.tokens["access_token"])
    assert alice.app.refresh(alice.tokens["refresh_token"]).status_code == 401
    assert alice.is_signed_in()


def test_a_failed_update(machine: Machine, alice: Alice) -> None:
    journal, back, restore = commands("A failed update")
    machine.types("my-server backup /var/lib/my-server-backups/before")
    machine.stop()
    # What a newer release leaves, and this one does not know.
    with closing(sqlite3.connect(machine.root / "var/lib/private/my-server/authserver.sqlite")) as database:
        database.execute("PRAGMA user_version = 999")
    with pytest.raises(AssertionError):
        machine.start()
    assert "the database has schema 999" in machine.types(journal)
    # test_bundles.py goes back for real.
    assert back.splitlines()[1] == "systemctl restart my-server"
    machine.types(restore)
    assert alice.goes_on()


def test_the_thousandth_day(machine: Machine, alice: Alice) -> None:
    look, python = commands("The thousandth day")
    *lines, _ = look.splitlines(keepends=True)
    shutil.copytree(
        machine.root / "var/lib/my-server-backups", machine.root / "var/lib/private/my-server-backups"
    )
    printed = machine.types("".join(lines))
    assert {"alice", alice.app.id} <= set(re.findall(r"[\w-]+", printed))
    assert python == "/opt/my-server/.venv/bin/python --version\n"  # test_bundles.py installs it there


def test_each_runbook_is_tried() -> None:
    for title in re.findall(r"^## (.*)$", PAGE, re.MULTILINE):
        name = title.lower().replace(" ", "_")
        assert {f"test_{name}", f"test_a_{name}"} & globals().keys(), title


def test_the_pages_words_are_commands(default_project: Path) -> None:
    """Those between the lines, too."""
    words = re.findall(r"`(?:my-server )?((?:users|keys|grants|clients) [a-z-]+)", PAGE)
    assert len(words) > 5
    server = Server(default_project, {})
    for group, name in {tuple(text.split()) for text in words}:
        assert re.search(rf"^\W*{name}\s", server.command(group, "--help"), re.MULTILINE), f"{group} {name}"
