"""Bundles for machines without a network: `bundle.sh` makes them, `install.py` takes them, people log in."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import effort
import pytest
from bundles import Bundle
from jsonschema import Draft7Validator
from oauth_client import OAuthClient, alive
from person import Person
from referencing import Registry, Resource
from rendering import REPOSITORY, commit
from servers import Server
from signer import Signer, needs_ssh_keygen
from updating import committed

from authserver import install

DOCUMENT = (REPOSITORY / "docs" / "deploying.md").read_text(encoding="utf-8")
OFFLINE = DOCUMENT[DOCUMENT.index("\n## Without a network") :].split("\n## ")[1]

pytestmark = [needs_ssh_keygen, effort.early]


@pytest.fixture
def project(default_project: Path, tmp_path: Path) -> Path:
    """A project in git, with its lock."""
    return committed(shutil.copytree(default_project, tmp_path / "my-server"))


def trusted(signer: Signer) -> Path:
    """Write the file that lists who may sign bundles."""
    path = signer.key.with_name("bundle_signers")
    path.write_text(f'builder namespaces="authserver-bundle" {signer.key.with_suffix(".pub").read_text()}')
    return path


def installs(target: Path, bundle: Bundle, signers: Path) -> str:
    """Run install.py; return what it says."""
    words = (target, "--from", bundle.folder, "--signers", signers)
    command = [sys.executable, str(install.__file__), *map(str, words)]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def with_a_wheel(bundle: Bundle, **modules: str) -> Bundle:
    """Let a bundle hold a project that does next to nothing."""
    modules = {"__init__": "", "server": "", "cli": "def main():\n    print('it runs')\n"} | modules
    written = {f"authserver/{name}.py": text for name, text in modules.items()} | {
        "my_server-0.1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: my-server\nVersion: 0.1.0\n",
        "my_server-0.1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "my_server-0.1.0.dist-info/entry_points.txt": "[console_scripts]\nmy-server = authserver.cli:main\n",
    }
    record = "my_server-0.1.0.dist-info/RECORD"
    with zipfile.ZipFile(bundle.wheel, "w") as wheel:
        for name, text in written.items():
            wheel.writestr(name, text)
        wheel.writestr(record, "".join(f"{name},,\n" for name in [*written, record]))
    digest = hashlib.sha256(bundle.wheel.read_bytes()).hexdigest()
    (bundle.folder / "requirements.txt").write_text(f"my_server==0.1.0 --hash=sha256:{digest}\n")
    return bundle


@effort.push
def test_a_bundle_becomes_a_program(tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    target = tmp_path / "my-server"
    bundle = with_a_wheel(Bundle(tmp_path / "bundle")).seal(signer, release="first")
    killed = tmp_path / "my-server.releases" / "killed"
    killed.mkdir(parents=True)
    (killed / "bundle.json").write_text("hal")
    assert "first is installed" in installs(target, bundle, trusted(signer))
    command = target / ".venv" / "bin" / "my-server"
    assert subprocess.run([command], capture_output=True, text=True, check=True).stdout == "it runs\n"
    assert not list(target.glob(".venv/lib/*/site-packages/pip*"))
    assert not killed.exists()


@effort.release
def test_what_does_not_start_is_not_switched_to(tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    target = tmp_path / "my-server"
    bundle = with_a_wheel(Bundle(tmp_path / "bundle"), server="import nothing").seal(signer)
    said = installs(target, bundle, trusted(signer))
    assert said.startswith("Nothing was changed: authserver failed: ModuleNotFoundError")
    assert said.count("\n") == 1
    assert not target.exists()
    assert not (tmp_path / "my-server.releases").exists()


@effort.push
def test_what_cannot_be_bundled_is_said_in_a_line(project: Path, tmp_path: Path) -> None:
    def says(*words: str) -> str:
        command = ["sh", "src/authserver/bundle.sh", *words]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        return done.stderr

    here = str(tmp_path)
    assert "--unsigned" in says(here)
    assert "missing cannot be read" in says(here, "--key", "missing")
    assert "Name the folder" in says("missing", "--unsigned")
    assert "--key needs a value" in says(here, "--key")
    assert "--sign is not known" in says(here, "--sign")
    assert "is no target" in says(here, "--unsigned", "--for", "windows")
    answers = project / ".copier-answers.yml"
    with answers.open("a", encoding="utf-8") as file:
        file.write("app: notes.server:mcp\n")
    assert "half of it" in says(here, "--unsigned")  # docs/adopting.md
    answers.write_text(answers.read_text(encoding="utf-8").replace("app: notes.", "app: app."))
    assert "Commit your work first" in says(here, "--unsigned")
    (project / "uv.lock").unlink()
    commit(project, "Forget it")
    assert "uv.lock is not committed" in says(here, "--unsigned")
    assert {path.name for path in tmp_path.iterdir()} == {"my-server"}


@effort.push
def test_the_bill_of_materials_is_what_its_schema_says(project: Path) -> None:
    [command] = re.findall(r"^ *(uv export .*cyclonedx.*)$", DOCUMENT, re.MULTILINE)
    subprocess.run(["sh", "-euc", command], cwd=project, capture_output=True, check=True)
    bill = json.loads((project / "sbom.cdx.json").read_text(encoding="utf-8"))
    require_valid(bill)
    named = {component["name"] for component in bill["components"]}
    assert {"fastmcp", "cryptography", "argon2-cffi"} <= named
    assert "pytest" not in named  # what runs, not what tests it
    assert all("purl" in component for component in bill["components"])


def require_valid(bill: dict[str, object]) -> None:
    """Compare a bill with the schema of CycloneDX 1.5; raises AssertionError."""
    found = files("cyclonedx.schema._res")
    schemas = [
        json.loads(found.joinpath(f"{name}.SNAPSHOT.schema.json").read_text(encoding="utf-8"))
        for name in ("bom-1.5", "spdx", "jsf-0.82")
    ]
    registry = Registry().with_resources((one["$id"], Resource.from_contents(one)) for one in schemas)
    assert bill["specVersion"] == "1.5"
    assert not list(Draft7Validator(schemas[0], registry=registry).iter_errors(bill))
    assert list(Draft7Validator(schemas[0], registry=registry).iter_errors(bill | {"version": "x"}))


def is_cut_off() -> bool:
    """Say whether a program can be run without a network here."""
    return not subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode


@effort.release
@pytest.mark.skipif(not is_cut_off(), reason="not done here: without a network (unshare is not allowed)")
def test_a_machine_without_a_network_installs_and_updates(project: Path, tmp_path: Path) -> None:
    """By the commands of the page; people log in to what came of them, and still are after the update."""
    for name in (".ssh", "media", "opt", "etc/my-server"):
        (tmp_path / name).mkdir(parents=True)
    signers = trusted(Signer(tmp_path / ".ssh", "id_ed25519"))
    signers.rename(tmp_path / "etc" / "my-server" / signers.name)
    made, first, update, back = re.findall(r"^```sh\n(.*?)^```$", OFFLINE, re.MULTILINE | re.DOTALL)

    def run(commands: str, *before: str) -> str:
        places = {"/media/usb": tmp_path / "media", "/opt": tmp_path / "opt", "/etc": tmp_path / "etc"}
        commands = commands.replace("install.py /", "install.py --signers /etc/my-server/bundle_signers /")
        for written, place in places.items():
            commands = commands.replace(written, str(place))
        done = subprocess.run(
            [*before, "bash", "-euc", commands],
            cwd=project,
            env=os.environ | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(made)
    cut_off = ("unshare", "-rn")
    target = tmp_path / "opt" / "my-server"
    assert "is installed. Restart" in run(first, *cut_off)
    require_valid(json.loads((target / "sbom.cdx.json").read_text(encoding="utf-8")))
    log = tmp_path / "outbound"
    server = Server(project, {"data_dir": str(tmp_path / "data")}, OUTBOUND_LOG=str(log))
    server.environment["PYTHONPATH"] = str(Path(__file__).parent / "offline")
    command = (str(target / ".venv/bin/my-server"), "serve", "--port", str(server.port))
    with server.running(command=command, folder=tmp_path):
        owner = Person(server, "owner")
        assert owner.join(server.first_account_link).status_code == 200
        client = OAuthClient(server)
        tokens = client.tokens(owner)
        assert alive(server, tokens["access_token"])
    media = tmp_path / "media"
    shutil.rmtree(media)
    media.mkdir()
    # An update: another page, in a later commit.
    branding = project / "src" / "app" / "server.py"
    branding.write_text(branding.read_text(encoding="utf-8") + "\n# A later one.\n", encoding="utf-8")
    commit(project, "Later")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        affected = [{"package": {"ecosystem": "PyPI", "name": name}} for name in ("my-server", "fastmcp")]
        record = {"id": "PYSEC-1", "modified": datetime.now(UTC).isoformat(), "affected": affected}
        file.writestr("PYSEC-1.json", json.dumps(record))
    run(made.replace("bundle.sh", f"bundle.sh --flaws {tmp_path}/all.zip"))
    before = target.resolve()
    assert "is installed. Restart" in run(update, *cut_off)
    assert target.resolve() != before
    known = [command[0], "known-flaws", str(target / "known-flaws.zip")]
    said = subprocess.run(known, capture_output=True, text=True, check=False)
    # Its own name is nobody's on PyPI.
    assert (said.returncode, said.stdout.count("vulnerable: ")) == (1, 1), said.stderr
    with server.running(command=command, folder=tmp_path):
        assert alive(server, tokens["access_token"])
        assert client.refresh(tokens["refresh_token"]).status_code == 200
    assert "is installed again" in run(back, *cut_off)
    assert target.resolve() == before
    assert set(log.read_text().splitlines()) == {"watching"}
