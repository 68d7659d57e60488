"""What doctor finds, and what it leaves in peace."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from operators import Operator
from pydantic import SecretStr

from authserver import choices
from authserver.all_settings import Settings
from authserver.doctor.advisories import Advisory, judge
from authserver.doctor.left_behind import left_behind, revision_before_update
from authserver.doctor.manifest import (
    Manifest,
    Project,
    changed_files,
    file_hash,
    load_manifest,
    this_project,
)
from authserver.doctor.settings import check_settings
from authserver.findings import Finding, Level
from authserver.upstream import is_tested

HEALTHY = {"public_url": "https://mcp.example.com"}


@pytest.fixture
def healthy(store: dict[str, str], operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """The operator of a server that is ready for production, but that the tests' store may be anywhere."""
    checks: Any = getattr(choices.storage, "checks", list)

    def without_its_place(settings: Settings) -> list[Finding]:
        return [finding for finding in checks(settings) if finding.about != "AUTH_STORAGE_URL"]

    monkeypatch.setattr(choices.storage, "checks", without_its_place, raising=False)
    return operator.at(store | HEALTHY)


def test_a_server_that_is_ready_is_called_so(healthy: Operator) -> None:
    said = healthy.types("doctor").splitlines()
    assert said[-1] == "nothing unsafe"
    assert all(line.startswith("note: ") for line in said[:-1]), said


def test_what_is_unsafe_ends_with_1(healthy: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    del healthy.store["public_url"]
    assert healthy.fails("doctor") == "1"
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "1 unsafe"
    [unsafe] = [line for line in said if line.startswith("unsafe: ")]
    assert unsafe.startswith("unsafe: AUTH_PUBLIC_URL: ")


@pytest.mark.parametrize("axis", choices.__all__)
def test_each_choice_has_its_say(
    healthy: Operator, axis: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding = Finding(Level.UNSAFE, axis, "it is not well")
    monkeypatch.setattr(getattr(choices, axis), "checks", lambda settings: [finding], raising=False)
    assert healthy.fails("doctor") == "1"
    assert f"unsafe: {axis}: it is not well.\n" in capsys.readouterr().out


def test_programs_read_it_as_json(healthy: Operator) -> None:
    for row in healthy.rows("doctor"):
        assert row.keys() == {"rule", "severity", "about", "finding", "remedy"}
        assert row["severity"] == "note"
        assert re.fullmatch("[a-z]+(-[a-z]+)*", row["rule"])


# ------------------------------------------------------------------------------------------ settings


def found(store: dict[str, str], level: Level, **settings: Any) -> set[str]:
    """Return what settings are found to be unsafe, or worth a note."""
    judged = check_settings(Settings.model_validate(store | HEALTHY | settings))
    return {finding.about for finding in judged if finding.level == level}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("public_url", "http://localhost:8000"),
        ("public_url", "https://localhost:8443"),
        ("limit_sign_ins_per_minute", 0),
        ("access_token_seconds", 7 * 86_400),
        ("trusted_proxies", "0.0.0.0/0"),
        ("trusted_proxies", "10.0.0.1,::/0"),
        ("allowed_origins", "http://inspector.example.com"),
    ],
)
def test_an_unsafe_setting_is_named(store: dict[str, str], name: str, value: Any) -> None:
    assert found(store, Level.UNSAFE) == set()
    assert found(store, Level.UNSAFE, **{name: value}) == {f"AUTH_{name.upper()}"}


def test_a_long_time_in_which_theft_goes_unnoticed_is_named(store: dict[str, str]) -> None:
    long = {"refresh_replay_seconds": 7200, "access_token_seconds": 7201}
    assert found(store, Level.UNSAFE, **long) == {"AUTH_REFRESH_REPLAY_SECONDS"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("registration", "open"),
        ("limit_registrations_per_minute", 0),
        ("secret_key_previous", "the key before the rotation, long enough"),
        ("refresh_token_seconds", 366 * 86_400),
        ("grant_seconds", 1000 * 86_400),
        ("session_seconds", 30 * 86_400),
        ("redirect_schemes", "cursor://anysphere.cursor-mcp/,vscode"),
        ("new_store", True),
    ],
)
def test_a_doubtful_setting_gets_a_note(store: dict[str, str], name: str, value: Any) -> None:
    calm = {"registration": "static", "new_store": False}
    assert f"AUTH_{name.upper()}" not in found(store, Level.NOTE, **calm)
    assert f"AUTH_{name.upper()}" in found(store, Level.NOTE, **calm | {name: value})


def test_an_env_file_with_a_secret_is_for_its_owner(store: dict[str, str]) -> None:
    """Attack 26: read the secret key as another user of the machine. Source: threat model."""
    env = Path(".env")
    env.write_text("AUTH_REGISTRATION=open\n")
    env.chmod(0o644)
    assert found(store, Level.UNSAFE) == set()
    env.write_text(f"AUTH_SECRET_KEY={'k' * 40}\n")
    assert found(store, Level.UNSAFE) == {".env"}
    env.chmod(0o600)
    assert found(store, Level.UNSAFE) == set()


def test_a_key_file_that_others_can_read_is_named(store: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("k" * 40)
    store.pop("secret_key", None)
    file.chmod(0o600)
    assert "AUTH_SECRET_KEY_FILE" not in found(store, Level.NOTE, secret_key_file=file)
    file.chmod(0o640)
    assert "AUTH_SECRET_KEY_FILE" in found(store, Level.NOTE, secret_key_file=file)


def test_no_finding_holds_a_secret(healthy: Operator) -> None:
    """Attack 26: read a secret in what doctor prints. Source: threat model."""
    settings = Settings.model_validate(healthy.store)
    told = healthy.types("doctor")
    for name in type(settings).model_fields:
        secret = getattr(settings, name)
        if isinstance(secret, SecretStr):
            assert secret.get_secret_value() not in told


def test_the_clock_of_the_store_is_compared(
    healthy: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = type(choices.storage.create(Settings.model_validate(healthy.store)))
    real = kind.now

    async def late(self: Any) -> float:
        return await real(self) - 60

    monkeypatch.setattr(kind, "now", late)
    assert healthy.fails("doctor") == "1"
    assert "unsafe: clock: " in capsys.readouterr().out


def test_a_fastmcp_that_nobody_tried_is_known() -> None:
    assert is_tested("4.2.3")
    assert is_tested("4.10.0rc1")
    assert not is_tested("4.2.2")
    assert not is_tested("5.0.0")


# --------------------------------------------------------------------------------------------- files


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A small project."""
    package = tmp_path / "src" / "authserver"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__pycache__" / "clients.pyc").touch()
    (package / "clients.py").write_text("def same(a, b):\n    return a == b\n")
    (tmp_path / "src" / "app").mkdir()
    (tmp_path / "tests" / "authserver").mkdir(parents=True)
    (tmp_path / "tests" / "authserver" / "test_clients.py").write_text("# tests\n")
    return Project(tmp_path / "src", tmp_path)


@pytest.fixture
def manifest(project: Project) -> Manifest:
    """The manifest of the small project."""
    assert project.root
    paths = ("src/authserver/clients.py", "tests/authserver/test_clients.py")
    return Manifest("1.0.0", {path: file_hash(project.root / path) for path in paths}, {})


def said(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.about: f"{finding.level} {finding.what}".split(":")[0] for finding in findings}


def test_files_as_they_were_written_are_not_spoken_of(project: Project, manifest: Manifest) -> None:
    assert said(changed_files(project, manifest)) == {}
    file = project.source / "authserver" / "clients.py"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))  # as an editor on Windows may
    assert said(changed_files(project, manifest)) == {}


def test_files_are_altered_missing_or_yours(project: Project, manifest: Manifest) -> None:
    assert project.root
    (project.source / "authserver" / "clients.py").write_text("# mine\n")
    (project.source / "authserver" / "extra.py").write_text("# mine\n")
    (project.root / "tests" / "authserver" / "test_clients.py").unlink()
    assert said(changed_files(project, manifest)) == {
        "src/authserver/clients.py": "note altered",
        "src/authserver/extra.py": "note yours",
        "tests/authserver/test_clients.py": "note missing",
    }


def test_a_project_without_its_tests_misses_none(project: Project, manifest: Manifest) -> None:
    installed = replace(project, root=None)
    assert said(changed_files(installed, manifest)) == {}


def test_this_project_is_one_of_its_release() -> None:
    manifest = load_manifest()
    assert manifest.hashes.keys() >= {"src/authserver/choices.py", "src/authserver/provider.py"}
    for axis in choices.__all__:
        module = getattr(choices, axis).__name__.rpartition(".")[2]
        assert any(path.startswith(f"src/authserver/{axis}/{module}") for path in manifest.hashes)
    project = this_project()
    assert project.root == Path(__file__).parents[2]


# -------------------------------------------------------------------------- what an update left behind


def git(project: Project, *words: str) -> None:
    names = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
    subprocess.run(["git", *names, *words], cwd=project.root, check=True, capture_output=True)


@pytest.fixture
def updated(project: Project, manifest: Manifest) -> Manifest:
    """A later release without two of the files, brought by an update that is not committed yet."""
    assert project.root
    listed = {path: project.root / path for path in manifest.hashes}
    gone = project.source / "authserver" / "gone.py"
    gone.write_text("# as it was written\n")
    listed["src/authserver/gone.py"] = gone
    file = project.source / "authserver" / "manifest.json"
    files = [{"path": path, "sha256": file_hash(place)} for path, place in listed.items()]
    file.write_text(json.dumps({"release": "1.0.0", "files": files}))
    git(project, "init", "--quiet")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=Start")
    (project.source / "authserver" / "clients.py").write_text("# mine\n")
    git(project, "commit", "--quiet", "--all", "--message=Mine")
    for name in ("clients.py", "gone.py"):
        (project.source / "authserver" / name).unlink()
    file.write_text(json.dumps({"release": "1.1.0", "files": []}))
    return Manifest("1.1.0", {}, {})


def test_an_edit_that_an_update_left_behind_is_named(project: Project, updated: Manifest) -> None:
    left = {"src/authserver/clients.py": "note left behind"}
    assert said(left_behind(project, updated)) == left
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message=Update")
    assert said(left_behind(project, updated)) == left


def test_nothing_is_left_behind_where_nothing_was_altered(project: Project, updated: Manifest) -> None:
    git(project, "reset", "--quiet", "--hard")
    assert said(left_behind(project, updated)) == {}  # the first commit has the manifest
    git(project, "reset", "--quiet", "--hard", "HEAD^")
    (project.source / "authserver" / "manifest.json").write_text(
        json.dumps({"release": "1.1.0", "files": []})
    )
    (project.source / "authserver" / "gone.py").unlink()
    assert said(left_behind(project, updated)) == {}


@pytest.mark.parametrize("lost", ["history", "git"])
def test_without_history_nothing_is_said(
    project: Project, updated: Manifest, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    assert project.root
    if lost == "git":
        monkeypatch.setenv("PATH", "")
    else:
        shutil.rmtree(project.root / ".git")
    assert said(left_behind(project, updated)) == {}


def test_no_edit_of_yours_was_left_behind_by_the_last_update() -> None:
    """Copier drops it without a word. The next commit of yours ends this; `doctor` goes on to say it."""
    project = this_project()
    words = ["git", "log", "-1", "--format=%h^"]
    last = subprocess.run(words, cwd=project.root, capture_output=True, text=True, check=False).stdout.strip()
    if revision_before_update(project.root) in ("HEAD", last):
        found = "\n".join(str(finding) for finding in left_behind(project, load_manifest()))
        assert not found, found


# ---------------------------------------------------------------------------------------- advisories

FLAWED = "def same(a, b):\n    return a.startswith(b)  # close enough\n"


@pytest.fixture
def advisory(project: Project, manifest: Manifest) -> Advisory:
    """An advisory on the small project: 0.9.0 had a flaw that 1.0.0 has not."""
    place = project.source / "authserver" / "clients.py"
    fixed = place.read_bytes()
    place.write_text(FLAWED)
    flawed = file_hash(place)
    place.write_bytes(fixed)
    file = {"path": "src/authserver/clients.py", "flawed": [flawed], "fixed": file_hash(place)}
    return Advisory.model_validate_json(
        json.dumps(
            {
                "format": 1,
                "id": "0001",
                "title": "Compared by how it begins",
                "severity": "high",
                "affected": ["0.9.0"],
                "fixed": "1.0.0",
                "files": [file],
                "fragments": ["return a.startswith(b)"],
                "canary": "tests/authserver/test_advisory_0001.py",
                "something new": True,
            }
        )
    )


@pytest.fixture
def clients_file(project: Project) -> Path:
    return project.source / "authserver" / "clients.py"


def levels(advisory: Advisory, project: Project, manifest: Manifest) -> dict[str, Level]:
    return {finding.about: finding.level for finding in judge(advisory, project, manifest)}


CLIENTS = "src/authserver/clients.py"


def test_a_flawed_file_is_vulnerable(
    advisory: Advisory, project: Project, manifest: Manifest, clients_file: Path
) -> None:
    assert levels(advisory, project, manifest) == {CLIENTS: Level.FIXED}
    clients_file.write_text(FLAWED)
    assert levels(advisory, project, manifest) == {CLIENTS: Level.VULNERABLE}
    clients_file.write_text(f"# mine\n{FLAWED}".replace("return a", "return (\n        a"))
    assert levels(advisory, project, manifest) == {CLIENTS: Level.ALTERED}
    clients_file.write_text(FLAWED.replace("(b)", "(\n        b\n    )"))
    assert levels(advisory, project, manifest) == {CLIENTS: Level.VULNERABLE}


def test_flawed_code_is_found_wherever_it_lies(
    advisory: Advisory, project: Project, manifest: Manifest, clients_file: Path
) -> None:
    assert project.root
    clients_file.unlink()
    assert levels(advisory, project, manifest) == {CLIENTS: Level.MISSING}
    for place in ("src/app/mine.py", "lib/deep/other.py"):
        file = project.root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FLAWED.upper().lower())
        assert levels(advisory, project, manifest)[place] == Level.VULNERABLE
    environment = project.root / "env" / "lib"
    environment.mkdir(parents=True)
    (environment.parent / "pyvenv.cfg").touch()
    (environment / "other.py").write_text(FLAWED)
    assert "env/lib/other.py" not in levels(advisory, project, manifest)


def test_a_file_of_a_later_release_is_fixed_and_one_of_an_affected_release_is_not(
    advisory: Advisory, project: Project, manifest: Manifest, clients_file: Path
) -> None:
    clients_file.write_text("# later\n")
    later = replace(manifest, release="1.1.0", hashes={CLIENTS: file_hash(clients_file)})
    assert levels(advisory, project, later) == {CLIENTS: Level.FIXED}
    for release in ("0.9.0", "0.9.0+unreleased"):
        assert levels(advisory, project, replace(later, release=release)) == {CLIENTS: Level.ALTERED}


def test_a_file_of_other_answers_does_not_affect(
    advisory: Advisory, project: Project, manifest: Manifest, clients_file: Path
) -> None:
    clients_file.unlink()
    [file] = advisory.files
    for axis, level in (("storage", Level.NOT_AFFECTED), ("asked_by_later_releases", Level.MISSING)):
        other = file.model_copy(update={"answers": {axis: ("another",)}})
        elsewhere = advisory.model_copy(update={"files": (other,)})
        assert levels(elsewhere, project, manifest) == {CLIENTS: level}


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "id": "\\u001b[2J"}']
)
def test_a_file_that_is_no_advisory_is_one_line(operator: Operator, text: str) -> None:
    Path("0001.json").write_text(text)
    line = operator.fails("doctor", "--advisory", "0001.json")
    assert line.startswith("my-server: 0001.json: ")
    assert "\n" not in line
    assert "No such file" in operator.fails("doctor", "--advisory", "0002.json")


def test_an_advisory_of_a_path_outside_is_refused(advisory: Advisory, operator: Operator) -> None:
    text = advisory.model_dump_json().replace(CLIENTS, "src/authserver/../../../etc/passwd")
    Path("0001.json").write_text(text)
    assert "files.0.path" in operator.fails("doctor", "--advisory", "0001.json")


def test_an_advisory_that_would_find_everything_is_refused(advisory: Advisory, operator: Operator) -> None:
    Path("0001.json").write_text(advisory.model_dump_json().replace("return a.startswith(b)", " "))
    assert "fragments.0" in operator.fails("doctor", "--advisory", "0001.json")


def test_doctor_ends_with_1_unless_all_is_fixed(
    advisory: Advisory, operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    """It reads no setting: what would be unsafe in production does not matter."""
    here = this_project()
    file = advisory.files[0].model_copy(update={"path": "src/authserver/model/clients.py"})
    own = file_hash(here.source / "authserver" / "model" / "clients.py")
    for known, end in (({"fixed": own}, "fixed: "), ({"flawed": (own,)}, "vulnerable: ")):
        told = advisory.model_copy(update={"files": (file.model_copy(update=known),)})
        Path("0001.json").write_text(told.model_dump_json())
        judged = ("doctor", "--advisory", "0001.json")
        operator.fails(*judged)  # nobody signed it: test_signatures.py
        out = capsys.readouterr().out
        assert f"{end}{file.path}: " in out
        assert out.splitlines()[-1] == ("1 unsafe" if end == "fixed: " else "2 unsafe")


def test_no_conflict_of_an_update_was_left_in_a_file() -> None:
    """Copier ends well with a conflict in a file, and bots commit it. Python would not run; a page would."""
    root = Path(__file__).parents[2]
    mark = re.compile(rb"^(<{7} before|>{7} after) updating\r?$", re.MULTILINE)
    files = [*root.glob("*"), *root.glob("src/**/*"), *root.glob("tests/**/*"), *root.glob(".git[hl]*/**/*")]
    assert not [path for path in files if path.is_file() and mark.search(path.read_bytes())]
