"""What `install.py` takes, and what it refuses before it changes anything. It needs Linux with glibc."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import RELEASE, Bundle
from signer import Signer, needs_ssh_keygen

from authserver import install
from authserver.install import About, Refused

try:
    HERE = install.target_here()
except Refused as why:
    pytest.skip(f"not done here: {why}", allow_module_level=True)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where it is installed; nothing is there yet."""
    folder = tmp_path / "opt"
    folder.mkdir()
    return folder / "my-server"


@pytest.fixture
def signers(tmp_path: Path) -> Path:
    """Who may sign bundles; nobody yet."""
    return tmp_path / "bundle_signers"


@pytest.fixture
def signer(tmp_path: Path, signers: Path) -> Signer:
    """Somebody who may."""
    signer = Signer(tmp_path)
    signers.write_text(f'them namespaces="authserver-bundle" {signer.key.with_suffix(".pub").read_text()}')
    return signer


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path / "bundle")


Types = Callable[..., str]


@pytest.fixture
def types(
    target: Path, signers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Types:
    """Return a function that runs install.py, and returns what it says. If it refuses, nothing is changed."""

    def run(*words: object) -> str:
        typed = ["install.py", str(target), *map(str, words), "--signers", str(signers)]
        monkeypatch.setattr(sys, "argv", typed)
        monkeypatch.setattr(os, "umask", lambda mask: mask)
        before = whole(target)
        try:
            install.main()
        except SystemExit as end:
            said = str(end.code)
        else:
            return capsys.readouterr().out
        assert whole(target) == before
        assert said.isprintable()
        return said

    return run


def whole(target: Path) -> dict[str, str]:
    """Return all that is there."""
    return {str(path): str(path.resolve()) for path in target.parent.rglob("*")}


def installed(target: Path, release: str, made_at: int, bundle: Bundle | None = None) -> Path:
    """Put a release there, as if it had been installed whole; by its bundle, or by none."""
    told = {"project": "my-server", "release": release, "made_at": made_at, "target": "any"}
    place = target.with_name("my-server.releases") / release
    if bundle:
        sums = install.read_sums(bundle.folder, Path(), unsigned=True)
        place = install.place_of(target, About(**told), sums)  # type: ignore[arg-type]
    place.mkdir(parents=True)
    (place / "bundle.json").write_text(json.dumps(told))
    (place / "installed").touch()
    os.utime(place / "installed", (made_at, made_at))
    return place


@needs_ssh_keygen
@pytest.mark.parametrize(
    "how", ["nobody", "no signature", "stranger", "purpose", "changed", "garbage", "long"]
)
def test_a_bundle_that_nobody_known_signed_is_refused(
    bundle: Bundle, signer: Signer, signers: Path, tmp_path: Path, types: Types, how: str
) -> None:
    """Attack 40: make a bundle oneself, change one, leave its signature out. Source: CWE-347."""
    bundle.seal(signer)
    sums, signature = bundle.folder / "SHA256SUMS", bundle.folder / "SHA256SUMS.sig"
    match how:
        case "nobody":
            signers.write_text("# Nobody yet.\n")
        case "no signature":
            signature.unlink()
        case "stranger":
            Signer(tmp_path, "stranger").sign(sums, "authserver-bundle")
        case "purpose":
            signer.sign(sums, "authserver-advisory")
        case "changed":
            bundle.seal(None)
        case "garbage":
            signature.write_text("\x1b[2J\0")
        case "long":
            signature.write_text("x" * (2 << 20))
    if how == "changed":
        sums.write_text(sums.read_text().replace("wheels/", "wheels/./"))
    said = types("--from", bundle.folder)
    assert said.startswith("Nothing was changed: ")
    weak = how in ("nobody", "no signature")
    assert (
        "To take it all the same: --unsigned" in said
        if weak
        else "signed this bundle" in said or how == "long"
    )
    # Said aloud, it goes on where there is nothing to judge by; never with a wrong signature.
    [wheel] = (bundle.folder / "wheels").iterdir()
    wheel.unlink()
    assert ("is missing" in types("--from", bundle.folder, "--unsigned")) == weak


@needs_ssh_keygen
@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("tampered", "'wheels/my_server-0.1.0-py3-none-any.whl' is not as it was signed"),
        ("missing", "'wheels/my_server-0.1.0-py3-none-any.whl' is missing"),
        ("extra", r"'wheels/\x1b[2J' does not belong there"),
        ("link", "'wheels/more' does not belong there"),
        ("about", "bundle.json is not as it was signed"),
    ],
)
def test_a_bundle_is_what_was_signed(
    bundle: Bundle, signer: Signer, types: Types, tmp_path: Path, how: str, why: str
) -> None:
    """Attack 40: change a wheel, take one away, add one. Source: CWE-354, CWE-494."""
    bundle.seal(signer)
    [wheel] = (bundle.folder / "wheels").iterdir()
    match how:
        case "tampered":
            wheel.write_text("another wheel")
        case "missing":
            wheel.unlink()
        case "extra":
            (bundle.folder / "wheels" / "\x1b[2J").touch()
        case "link":
            (bundle.folder / "wheels" / "more").symlink_to(tmp_path)
        case "about":
            (bundle.folder / "bundle.json").write_text("{}")
    assert why in types("--from", bundle.folder)


@needs_ssh_keygen
def test_a_list_that_leads_elsewhere_is_not_read(bundle: Bundle, signer: Signer, types: Types) -> None:
    """Attack 40: let it write elsewhere. Source: CWE-22."""
    for name in ("../../etc/passwd", "/etc/passwd", "wheels/../../x", "a b", ""):
        sums = bundle.folder / "SHA256SUMS"
        sums.write_text(f"{'0' * 64}  {name}\n")
        signer.sign(sums, "authserver-bundle")
        assert "SHA256SUMS of the bundle cannot be read" in types("--from", bundle.folder)


@needs_ssh_keygen
@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"project": "another"}, "the bundle is of another, not of my-server"),
        ({"target": "cp300-manylinux_2_5_x86_64"}, "and this is cp3"),
        ({"target": re.sub(r"_2_\d+_", "_2_999_", HERE)}, "and this is cp3"),
        ({"target": re.sub(r"_2_\d+_.*", "_2_5_sparc", HERE)}, "make one that fits by bundle.sh --for cp3"),
        ({"target": "\x1b"}, "bundle.json cannot be read"),
        ({"release": "../elsewhere"}, "bundle.json cannot be read"),
        ({"made_at": "soon"}, "bundle.json cannot be read"),
    ],
)
def test_a_bundle_of_something_else_is_refused(
    bundle: Bundle, signer: Signer, types: Types, told: dict[str, object], why: str
) -> None:
    bundle.seal(signer, **told)
    assert why in types("--from", bundle.folder)


@needs_ssh_keygen
def test_an_older_release_is_refused(bundle: Bundle, signer: Signer, types: Types, target: Path) -> None:
    """Attack 40: bring back a release with a flaw, rightly signed. Source: TUF 1.5.2 (rollback)."""
    target.symlink_to(installed(target, "newer", 2_000_000))
    installed(target, RELEASE, 1_000_000, bundle.seal(signer))
    said = types("--from", bundle.folder)
    assert "older than what is installed" in said
    assert "1970-01-12" in said
    assert f"{RELEASE} is installed" in types("--from", bundle.folder, "--older")
    assert f"{RELEASE} is installed already" in types("--from", bundle.folder)


@needs_ssh_keygen
def test_one_switches_and_goes_back(bundle: Bundle, signer: Signer, types: Types, target: Path) -> None:
    assert "nothing was installed before" in types("--back")
    first = installed(target, "first", 1)
    second = installed(target, RELEASE, 1_000_000, bundle.seal(signer))
    target.symlink_to(first)
    assert "nothing was installed before" in types("--back")
    oldest = [installed(target, f"oldest-{number}", 0) for number in range(3)]
    with install.alone(target):
        assert "another installation is under way" in types("--from", bundle.folder)
    assert "is installed. Restart" in types("--from", bundle.folder)
    assert target.resolve() == second
    assert sum(path.exists() for path in oldest) < len(oldest)  # they do not pile up
    assert "first is installed again" in types("--back")
    assert target.resolve() == first
    assert first.exists()
    assert f"{RELEASE} is installed again" in types("--back")


@needs_ssh_keygen
def test_a_release_is_known_by_what_was_signed(
    bundle: Bundle, signer: Signer, types: Types, target: Path
) -> None:
    """Attack 40: let somebody try a bundle unsigned, and be taken for the signed one. Source: CWE-345."""
    (bundle.folder / "more").touch()
    target.symlink_to(installed(target, RELEASE, 1_000_000, bundle.seal(None)))
    (bundle.folder / "more").write_text("another")
    (bundle.folder / "wheels" / "my_server-0.1.0-py3-none-any.whl").write_text("tampered")
    bundle.seal(signer)
    bundle.wheel.write_text("a wheel")
    said = types("--from", bundle.folder)
    assert "is installed" not in said
    assert "is not as it was signed" in said  # so it was looked at


def test_what_was_not_installed_so_is_left_alone(bundle: Bundle, types: Types, target: Path) -> None:
    target.mkdir()
    assert "move it away first" in types("--from", bundle.seal(None).folder, "--unsigned")
    assert "move it away first" in types("--back")


def test_what_is_no_bundle_is_one_line(types: Types, tmp_path: Path) -> None:
    assert "is no bundle" in types("--from", tmp_path)


def test_it_says_which_bundle_fits(types: Types) -> None:
    assert install._TARGET.fullmatch(types("--target").strip())
    with pytest.raises(Refused):
        About.read(b"[]")


def test_it_runs_with_pythons_own_library_only() -> None:
    """It is there before anything is installed."""
    command = [sys.executable, "-I", "-S", str(install.__file__), "--target"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == install.target_here()
