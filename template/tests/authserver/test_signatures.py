"""Advisories are believed where somebody signed them whom the project knows."""

import json
from pathlib import Path

import pytest
from operators import Operator
from signer import Signer, needs_ssh_keygen

from authserver.doctor import signatures
from authserver.doctor.manifest import file_hash, this_project

FILE = "src/authserver/model/clients.py"


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The list of signers of this project: nobody yet."""
    file = tmp_path / "listed"
    file.write_text("# Nobody yet.\n\n   # maintainers ssh-ed25519 AAAA\n")
    monkeypatch.setattr(signatures, "SIGNERS", file)
    return file


@pytest.fixture
def signer(tmp_path: Path, listed: Path) -> Signer:
    """Somebody whom the project knows."""
    signer = Signer(tmp_path)
    listed.write_text(f"# Them:\n{signer.line}")
    return signer


@pytest.fixture
def advisory(tmp_path: Path) -> Path:
    """An advisory that says that this project's file is fixed."""
    own = file_hash(this_project().source / FILE.removeprefix("src/"))
    told = {
        "format": 1,
        "id": "0001",
        "title": "A flaw",
        "severity": "high",
        "affected": ["0.1.0"],
        "fixed": "9.0.0",
        "files": [{"path": FILE, "flawed": ["0" * 64], "fixed": own}],
        "fragments": [],
        "canary": "tests/authserver/test_advisory_0001.py",
    }
    file = tmp_path / "0001.json"
    file.write_text(json.dumps(told))
    return file


def judged(operator: Operator, advisory: Path) -> str:
    return operator.types("doctor", "--advisory", str(advisory))


def refused(operator: Operator, advisory: Path, capsys: pytest.CaptureFixture[str]) -> str:
    return operator.fails("doctor", "--advisory", str(advisory)) + capsys.readouterr().out


def test_without_a_signer_nothing_is_believed(
    operator: Operator, advisory: Path, listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Attack 40: list a flawed file as the fixed one. Source: CWE-345."""
    advisory.with_name("0001.json.sig").write_text("anything")
    said = refused(operator, advisory, capsys)
    assert "not verified: no signer is known: " in said
    assert "src/authserver/allowed_signers" in said
    assert said.endswith("1 unsafe\n")


@needs_ssh_keygen
def test_without_a_signature_nothing_is_believed(
    operator: Operator, advisory: Path, signer: Signer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Attack 40: leave the signature out. Source: CWE-347."""
    assert "not verified: no signature: there is no 0001.json.sig" in refused(operator, advisory, capsys)


@needs_ssh_keygen
def test_what_a_known_signer_signed_is_believed(operator: Operator, advisory: Path, signer: Signer) -> None:
    signer.sign(advisory)
    said = judged(operator, advisory)
    assert said.startswith(f"fixed: {FILE}: ")
    assert said.endswith("nothing unsafe\n")


@needs_ssh_keygen
@pytest.mark.parametrize("how", ["changed", "stranger", "purpose", "garbage", "long", "expired"])
def test_a_wrong_signature_is_refused(
    operator: Operator, advisory: Path, signer: Signer, tmp_path: Path, how: str, listed: Path
) -> None:
    """Attack 40: change what was signed, sign it oneself, take another signature. Source: CWE-347."""
    signature = signer.sign(advisory, "git" if how == "purpose" else "authserver-advisory")
    match how:
        case "changed":
            advisory.write_text(advisory.read_text().replace("high", "low"))
        case "stranger":
            Signer(tmp_path, "stranger").sign(advisory)
        case "garbage":
            signature.write_text("\x1b[2J\0")
        case "long":
            signature.write_text("x" * (2 << 20))
        case "expired":
            listed.write_text(signer.line.replace("namespaces", 'valid-before="20200101",namespaces'))
    line = operator.fails("doctor", "--advisory", str(advisory))
    assert line.startswith("my-server: ")
    assert "\n" not in line
    assert "too long" in line if how == "long" else "believe nothing of it" in line


@needs_ssh_keygen
@pytest.mark.parametrize("by", ["maintainers", "next", "stranger"])
def test_a_new_key_is_announced_by_the_old_one(
    operator: Operator, advisory: Path, signer: Signer, tmp_path: Path, by: str
) -> None:
    """Attack 40: announce oneself. Source: NIST SP 800-57 part 1, 8.2.3.2."""
    new = Signer(tmp_path, "next")
    announcement = advisory.with_name("allowed_signers")
    announcement.write_text(signer.line + new.line)
    {"maintainers": signer, "next": new, "stranger": Signer(tmp_path, "stranger")}[by].sign(
        announcement, "authserver-signers"
    )
    new.sign(advisory)
    if by == "maintainers":
        assert judged(operator, advisory).endswith("nothing unsafe\n")
        signer.sign(advisory)  # both, for a time
        assert judged(operator, advisory).endswith("nothing unsafe\n")
    else:
        assert "believe nothing of it" in operator.fails("doctor", "--advisory", str(advisory))


def test_without_ssh_keygen_it_says_so(
    operator: Operator, advisory: Path, listed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed.write_text("maintainers ssh-ed25519 AAAA\n")
    advisory.with_name("0001.json.sig").write_text("anything")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "ssh-keygen is not here" in operator.fails("doctor", "--advisory", str(advisory))


def test_the_list_that_comes_with_the_template_lists_keys_only() -> None:
    """Never a private one."""
    text = signatures.SIGNERS.read_text()
    assert "PRIVATE" not in text
    for line in text.splitlines():
        assert not line or line.startswith("#") or 'namespaces="' in line


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("path", "src/authserver/.."),
        ("path", "src/authserver/."),
        ("path", "src/authserver/model/../../../etc/passwd"),
        ("path", "/etc/passwd"),
        ("path", "src/authserver//clients.py"),
        ("path", "src/authserver/model/"),
        ("path", "src\\authserver\\clients.py"),
        ("path", "tests/authserver/conftest.py"),
        ("answers", {"__doc__": ["x"]}),
        ("answers", {"\u001b[2J": ["x"]}),
        ("answers", {"login": "x"}),
        ("flawed", ["zz"]),
    ],
)
def test_a_bad_file_is_one_line(operator: Operator, advisory: Path, key: str, value: object) -> None:
    """Attack 40: let doctor read, or print, what it should not. Source: CWE-22, CWE-150."""
    told = json.loads(advisory.read_text())
    told["files"][0][key] = value
    advisory.write_text(json.dumps(told))
    line = operator.fails("doctor", "--advisory", str(advisory))
    assert line.startswith(f"my-server: {advisory}: this is no advisory that can be read: ")
    assert f"files.0.{key}" in line
    assert line.isprintable()


@pytest.mark.parametrize("key", ["title", "id"])
def test_what_is_printed_of_an_advisory_can_be_shown(operator: Operator, advisory: Path, key: str) -> None:
    for text in ("\u009b2J", "\u202egpj", "x" * 1000, ""):
        told = json.loads(advisory.read_text())
        advisory.write_text(json.dumps(told | {key: text}))
        line = operator.fails("doctor", "--advisory", str(advisory))
        assert f": {key}: " in line
        assert line.isprintable()


def test_a_folder_is_no_file(
    operator: Operator, advisory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(advisory.read_text())
    told["files"][0]["path"] = "src/authserver/model"
    advisory.write_text(json.dumps(told))
    assert "missing: src/authserver/model: " in refused(operator, advisory, capsys)
    assert "directory" in operator.fails("doctor", "--advisory", str(tmp_path))
    advisory.write_text(" " * (2 << 20))
    assert "too long" in operator.fails("doctor", "--advisory", str(advisory))
    advisory.write_text("[" * 100_000)
    assert operator.fails("doctor", "--advisory", str(advisory)).isprintable()


def test_doctor_says_that_nothing_is_verified(listed: Path) -> None:
    assert [finding.level for finding in signatures.signers_unknown()] == ["note"]
    listed.write_text("maintainers ssh-ed25519 AAAA\n")
    assert not list(signatures.signers_unknown())
