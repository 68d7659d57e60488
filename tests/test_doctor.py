"""What doctor says of what was rendered: nothing as it was shipped, and each line that somebody loosens."""

import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import Rendered
from doctor_page import COMMAND, PAGE, rules, written
from rendering import DEFAULTS, Answers, choices, combinations, render

from authserver.doctor import process, units
from authserver.doctor.containers import _SHIPPED, weaker_container
from authserver.doctor.units import weaker_unit
from authserver.findings import Finding, Level, rule_name
from authserver.folders import FOLDERS
from authserver.settings import CoreSettings

# ldap3 warns where it is imported.
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")

SETTINGS = CoreSettings()
DEPLOYED = [DEFAULTS | answers for answers in combinations("storage", "login")]


def test_the_page_lists_every_rule() -> None:
    assert PAGE.read_text(encoding="utf-8") == written(), f"run: {COMMAND}"


def test_no_rule_has_the_name_of_another() -> None:
    """But of choices: two of them may judge the same, by the same name."""
    named = [rule for title, found in rules() if not title.startswith("`") for rule in found]
    assert len({rule_name(rule) for rule in named}) == len(named)


def test_the_page_names_no_rule_that_is_not_there() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## RFC 9700")[2].partition("## All rules")[0]
    there = {rule_name(rule) for _, found in rules() for rule in found}
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", text))
    assert named
    assert named <= there


def found(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """Return what is found of the files in `deploy`."""
    monkeypatch.setattr(FOLDERS, "project", project)
    monkeypatch.setattr(units, "_PLACES", ())
    return [*weaker_unit(SETTINGS), *weaker_container(SETTINGS)]


@pytest.mark.parametrize(
    "answers",
    [DEFAULTS | one for one in combinations("storage", "login")],
    ids=lambda one: "-".join(one.values()),
)
def test_what_is_shipped_is_as_shipped(
    rendered: Rendered, monkeypatch: pytest.MonkeyPatch, answers: Answers
) -> None:
    assert found(rendered(answers), monkeypatch) == []


@pytest.fixture(scope="module")
def shipped(plain_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with everything that it can be deployed with."""
    folder = tmp_path_factory.mktemp("shipped") / "my-server"
    return render(plain_template, folder, deploy=choices("deploy"), storage="postgresql")


@pytest.fixture
def project(shipped: Path, tmp_path: Path) -> Path:
    return shutil.copytree(shipped / "deploy", tmp_path / "my-server" / "deploy").parent


LINES = [(name, line) for name, lines in _SHIPPED.items() for line in lines]


@pytest.mark.parametrize(("name", "line"), LINES)
def test_each_line_that_holds_a_container_back_is_missed(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    """Attack 31: do more than the container allows, after it was loosened. Source: NIST SP 800-190 4.4."""
    assert found(project, monkeypatch) == []
    file = project / "deploy" / name
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(line, "# was here", 1), encoding="utf-8")
    [finding] = found(project, monkeypatch)
    assert finding.level == Level.UNSAFE
    assert finding.about == f"deploy/{name}"
    assert line in finding.what


@pytest.mark.parametrize(
    ("name", "after", "line"),
    [
        ("container/compose.yaml", "    restart: unless-stopped\n", "    privileged: true\n"),
        ("container/compose.yaml", "    restart: unless-stopped\n", "    network_mode: host\n"),
        ("container/compose.yaml", "    restart: unless-stopped\n", "    cap_add: [SYS_ADMIN]\n"),
        ("container/compose.yaml", "    restart: unless-stopped\n", "    user: root\n"),
        ("container/compose.yaml", "    restart: unless-stopped\n", "    volumes: [/run/docker.sock:/s]\n"),
        ("container/Dockerfile", "EXPOSE 8000\n", "USER root\n"),
        ("kubernetes/deployment.yaml", "    spec:\n", "      hostNetwork: true\n"),
        ("kubernetes/deployment.yaml", "      volumes:\n", "        - hostPath: {path: /}\n"),
    ],
)
def test_each_line_that_opens_a_container_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: str, line: str
) -> None:
    file = project / "deploy" / name
    text = file.read_text(encoding="utf-8")
    assert after in text
    file.write_text(text.replace(after, after + line, 1), encoding="utf-8")
    [finding] = found(project, monkeypatch)
    assert (finding.level, finding.about) == (Level.UNSAFE, f"deploy/{name}")
    assert line.strip().removeprefix("- ") in finding.what


def test_a_unit_of_the_project_that_was_loosened_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project / "deploy/systemd/my-server-backup.service"
    file.write_text(file.read_text().replace("\nPrivateDevices=yes\n", "\n"))
    [finding] = found(project, monkeypatch)
    assert finding.about == "deploy/systemd/my-server-backup.service"
    assert finding.what == "PrivateDevices=yes is gone"


def test_an_image_says_that_it_is_a_container(default_project: Path) -> None:
    """By which doctor judges the process in it."""
    text = (default_project / "deploy/container/Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^ENV .*\bcontainer=oci$", text, re.MULTILINE)
    assert "container" in process._HELD_BACK
    assert "container" not in os.environ, "this test would judge its own process"
