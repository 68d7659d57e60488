"""The security channel at work: a flaw in release 9.0.0, its fix in 9.0.1, and four projects between them."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import advisory
import effort
import pytest
from forks import Program, own_tests
from manifest import PATH, entries, sha256
from rendering import clone, commit, git, render, update
from signer import Signer, needs_ssh_keygen

pytestmark = [effort.push, effort.early, needs_ssh_keygen]

FLAWED_FILE = "src/authserver/model/clients.py"
SOUND = "if asked == registered:"
FLAWED = "if asked.startswith(registered):"
CANARY = "tests/authserver/test_advisory_9001.py"

CANARY_TEXT = '''"""Advisory 9001: a redirect URI was compared by how it begins."""

from conftest import Live
from oauth_client import OAuthClient


def test_a_code_never_goes_where_a_registered_uri_only_begins(live: Live) -> None:
    client = OAuthClient(live, redirect_uris=["https://app.example/callback"])
    for more in (".evil", "/../../open", "?next=https://evil.example", "x"):
        asked = client.authorization_url(redirect_uri=f"https://app.example/callback{more}")
        answer = client.http.get(asked)
        assert answer.status_code == 400, answer.headers.get("location")
'''


@dataclass(frozen=True)
class Channel:
    """The template with both releases, a project of the first, and the advisory of the second."""

    template: Path
    project: Path
    advisory: Path
    signer: Signer


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    template = clone(tmp_path_factory.mktemp("channel") / "template", "0.0.1")
    signer = Signer(template.parent)
    with (template / "template/src/authserver/allowed_signers").open("a") as signers:
        signers.write(signer.line)
    source = template / "template" / FLAWED_FILE
    source.write_text(source.read_text().replace(SOUND, FLAWED))
    _release(template, "9.0.0")
    source.write_text(source.read_text().replace(FLAWED, SOUND))
    (template / "template" / CANARY).write_text(CANARY_TEXT)
    _release(template, "9.0.1")
    project = render(template, template.parent / "my-server", "9.0.0")
    git(project, "init", "--quiet")
    commit(project, "Start")
    made = _written(template)
    signer.sign(made)
    return Channel(template, project, made, signer)


def _written(template: Path, *fragments: str, file: str = FLAWED_FILE) -> Path:
    """Write the source of the advisory, and make what it says."""
    folder = template / "docs" / "advisories"
    for other in folder.glob("0*.toml"):
        other.unlink()
    (folder / "9001.toml").write_text(
        f"""title = "Compared by how it begins"
severity = "high"
since = "9.0.0"
until = "9.0.1"
fixed = "9.0.1"
fragments = {json.dumps(fragments or [".startswith(registered)"])}
[files]
"{file}" = []
"""
    )
    [made] = advisory.write(template)
    return made


def _release(template: Path, version: str) -> None:
    """Commit a release: its heading, its hashes, its tag."""
    changelog = template / "CHANGELOG.md"
    text = changelog.read_text().replace("## Unreleased\n\n", "")
    changelog.write_text(text.replace("\n## ", f"\n## {version}\n\n* Work.\n\n## ", 1))
    manifest = template / "template" / PATH
    text = re.sub(r'"release": "[^"]+"', f'"release": "{version}"', manifest.read_text())
    for entry in entries(text):
        plain = template / "template" / entry["path"]
        if not plain.with_name(f"{plain.name}.jinja").exists():
            text = text.replace(entry["sha256"], sha256(plain.read_bytes()))
    manifest.write_text(text)
    commit(template, f"Release {version}")
    git(template, "tag", version)


def untouched(project: Path) -> None:
    """Leave it."""


def moved(project: Path) -> None:
    """Give the file another name, and its users the new one."""
    (project / FLAWED_FILE).rename(project / "src/authserver/registrations.py")
    _import_from(project, "authserver.registrations")


def deleted(project: Path) -> None:
    """Delete it: its code lies among the user's own, written in another way."""
    flawed = project / FLAWED_FILE
    code = flawed.read_text().replace("startswith(registered)", "startswith(\n        registered\n    )")
    (project / "src/app/oauth.py").write_text(code.replace('"""', '"""My own. ', 1))
    flawed.unlink()
    _import_from(project, "app.oauth")


def edited(project: Path) -> None:
    """Work on the very line of the flaw."""
    _edit(project, FLAWED, 'if asked.rstrip("/").startswith(registered):')


def rewritten(project: Path) -> None:
    """Write the flaw in other words."""
    _edit(project, FLAWED, "if asked[: len(registered)] == registered:")


def _edit(project: Path, old: str, new: str) -> None:
    file = project / FLAWED_FILE
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def _import_from(project: Path, module: str) -> None:
    """Let all that used the file use another one."""
    for file in [*project.glob("src/**/*.py"), *project.glob("tests/**/*.py")]:
        code = file.read_text().replace("from authserver.model.clients import", f"from {module} import")
        code = code.replace(
            "from authserver.model import clients, ",
            f"import {module} as clients\nfrom authserver.model import ",
        )
        file.write_text(code)


Change = Callable[[Path], None]


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (untouched, "vulnerable: src/authserver/model/clients.py", "fixed: src/authserver/model/clients.py"),
        *(
            pytest.param(change, found, found, marks=effort.release)
            for change, found in (
                (moved, "vulnerable: src/authserver/registrations.py"),
                (deleted, "vulnerable: src/app/oauth.py"),
                (edited, "vulnerable: src/authserver/model/clients.py"),
                (rewritten, "altered: src/authserver/model/clients.py"),
            )
        ),
    ],
    ids=["untouched", "moved", "deleted", "edited", "rewritten"],
)
def test_the_flaw_is_found_wherever_it_went(
    channel: Channel, tmp_path: Path, change: Change, before: str, after: str
) -> None:
    project = shutil.copytree(channel.project, tmp_path / "my-server")
    change(project)
    commit(project, "Mine")
    assert _doctor(project, channel.advisory) == (1, before)

    _update(project)

    mended = change is untouched
    assert _doctor(project, channel.advisory) == (int(not mended), after)
    canary = own_tests(project, CANARY)
    assert canary.returncode == int(not mended), canary.stdout + canary.stderr
    assert ("1 passed" if mended else "/login?request=") in canary.stdout


def _update(project: Path) -> None:
    """Update; where the fix and the user's work conflict, the user's work stays."""
    update(project)
    for name in set(git(project, "diff", "--name-only", "--diff-filter=U").split()):
        (project / name).write_text(git(project, "show", f"HEAD:{name}"))
    commit(project, "Update")


def _doctor(project: Path, file: Path) -> tuple[int, str]:
    """Return how doctor ends, and what it says first."""
    done = Program(project, ("doctor", "--advisory", str(file))).finish()
    return done.returncode, ": ".join((done.stdout or done.stderr).splitlines()[0].split(": ")[:2])


def test_an_advisory_that_could_not_tell_is_not_made(channel: Channel, tmp_path: Path) -> None:
    template = shutil.copytree(channel.template, tmp_path / "template")
    for fragment, why in (
        ("short", "too short"),
        ("this is in no file that was ever released", "none of the fragments"),
        ("def same_redirect_uri(asked: str, registered: str)", "still has a fragment"),
    ):
        with pytest.raises(advisory.CannotTell, match=why):
            _written(template, fragment)
    with pytest.raises(advisory.CannotTell, match="none of the fragments"):
        _written(template, file="src/authserver/audit.py")


def test_other_answers_may_not_have_the_file(channel: Channel, tmp_path: Path) -> None:
    told = json.loads(channel.advisory.read_text())
    [file] = told["files"]
    file |= {"path": "src/authserver/login/ldap/directory.py", "answers": {"login": ["ldap"]}}
    other = tmp_path / "other.json"
    other.write_text(json.dumps(told))
    channel.signer.sign(other)
    project = render(channel.template, tmp_path / "my-server", "9.0.1")
    assert _doctor(project, other) == (0, "not affected: src/authserver/login/ldap/directory.py")
    assert _doctor(project, channel.advisory) == (0, "fixed: src/authserver/model/clients.py")
