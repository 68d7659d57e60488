"""Install this project from a bundle, or go back, without a network. `bundle.sh` makes bundles.

    python3 install.py /opt/my-server --from BUNDLE
    python3 install.py /opt/my-server --back        to what was installed before
    python3 install.py --target                     which bundle fits this machine: for `bundle.sh --for`

/opt/my-server is a link to what is installed. It is moved as the last step, and at once: whatever stops the
rest leaves all as it was. Restarting the server is yours. This runs before anything is installed, so it uses
only Python's own library and ssh-keygen. An update is judged by the `install.py` that is installed, not by
the one in the bundle.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

if sys.platform != "win32":  # there, `doctor` verifies signatures by this file, too
    import fcntl

PURPOSE = "authserver-bundle"
"""What a signature of a bundle is for (`ssh-keygen -n`): one for something else does not count."""

SUMS, ABOUT, WHEELS = "SHA256SUMS", "bundle.json", "wheels"
_WHOLE = "installed"
"""The file that a release gets when it is installed whole."""

_LONGEST = 1 << 20
"""Bytes of a file that is read before anybody has vouched for it. A thousand wheels are listed in 100 KiB."""

_KEPT = 3
"""So many releases stay: the one that is installed, the one before, and one that a server may still run."""

_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "LANG": "C.UTF-8",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
"""Nothing of the machine's own settings of pip: another index, or a folder with other packages."""


class Refused(Exception):
    """Why nothing was changed, in one line."""


@dataclass(frozen=True, slots=True)
class About:
    """What a bundle says of itself in `bundle.json`."""

    project: str
    release: str
    """The time and the name of its commit, and its target: the name of its folder."""
    made_at: int
    """When the commit was made: seconds since 1970."""
    target: str
    """The Python and platform that its wheels are for: `cp311-manylinux_2_36_x86_64`."""

    @staticmethod
    def read(content: bytes) -> "About":
        """Return what is told. Raises Refused."""
        try:
            told = json.loads(content)
            about = About(
                str(told["project"]), str(told["release"]), int(told["made_at"]), str(told["target"])
            )
        except (ValueError, KeyError, TypeError):
            about = About("", "", 0, "")
        names = (about.project, about.release, about.target)
        if not all(re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII) for name in names):
            raise Refused(f"{ABOUT} cannot be read")
        return about


def is_signed(content: bytes, signature: bytes, known: bytes, purpose: str) -> bool:
    """Say whether one of the known signers signed this, for this purpose.

    `known` lists them in the format of OpenSSH (ssh-keygen(1), ALLOWED SIGNERS). Raises OSError where
    ssh-keygen is not here.
    """
    with TemporaryDirectory() as folder:
        signers, copy = Path(folder) / "signers", Path(folder) / "signature"
        signers.write_bytes(known)
        copy.write_bytes(signature)
        files = ("-f", str(signers), "-s", str(copy))
        found = _ssh_keygen("find-principals", *files)
        names = found.stdout.decode(errors="replace").splitlines()
        if found.returncode or not names:
            return False
        return not _ssh_keygen("verify", *files, "-I", names[0], "-n", purpose, given=content).returncode


def lists_somebody(known: bytes) -> bool:
    """Say whether a file of signers lists anybody."""
    return any(line.strip() and not line.lstrip().startswith(b"#") for line in known.splitlines())


def _ssh_keygen(*words: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    command = ["ssh-keygen", "-Y", *words]
    return subprocess.run(command, input=given, capture_output=True, check=False)  # noqa: S603


# ------------------------------------------------------------------------------------------ what is looked at


def read_sums(bundle: Path, signers: Path, *, unsigned: bool) -> dict[str, str]:
    """Return the SHA-256 of each file of a bundle, by its path in it; Refused if nobody known signed them.

    `unsigned` takes a bundle without a signature, or where no signer is known; never one with a wrong one.
    """
    sums, signature = bundle / SUMS, bundle / f"{SUMS}.sig"
    if not sums.is_file():
        raise Refused(f"{bundle} is no bundle: it has no {SUMS}")
    content = _read(sums)
    known = signers.read_bytes() if signers.is_file() else b""
    doubt = ""
    if not lists_somebody(known):
        doubt = f"{signers} lists no signer"
    elif not signature.is_file():
        doubt = f"there is no {signature.name}"
    elif not is_signed(content, _read(signature), known, PURPOSE):
        raise Refused(f"no signer that {signers} lists signed this bundle: believe nothing of it")
    if doubt and not unsigned:
        raise Refused(f"nobody known signed this bundle: {doubt}. To take it all the same: --unsigned")
    if doubt:
        print(f"NOT VERIFIED: {doubt}, so this bundle is what somebody gave you.", file=sys.stderr)
    found: dict[str, str] = {}
    for line in content.decode(errors="replace").splitlines():
        read = re.fullmatch(r"([0-9a-f]{64})  ([\w.+!@,=-][\w.+!@,=/-]*)", line, re.ASCII)
        if not read or ".." in PurePosixPath(read[2]).parts:
            raise Refused(f"{SUMS} of the bundle cannot be read: {line!r}")
        found[read[2]] = read[1]
    return found


def _read(path: Path) -> bytes:
    """Return what is in a small file, which nobody has vouched for yet."""
    with path.open("rb") as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise Refused(f"{path.name} of the bundle is too long")
    return content


def require_complete(bundle: Path, sums: Mapping[str, str]) -> None:
    """Raise Refused where a file is missing, or is there that was not signed."""
    found = set()
    for path in bundle.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            found.add(path.relative_to(bundle).as_posix())
    found -= {SUMS, f"{SUMS}.sig"}
    for names, what in ((sums.keys() - found, "is missing"), (found - sums.keys(), "does not belong there")):
        if names:
            raise Refused(f"{min(names)!r} {what}: get the bundle anew")


def require_fitting(about: About, installed: About | None, target: Path, *, older: bool) -> None:
    """Raise Refused where a bundle is of another project or machine, or older than the installed one."""
    if about.project != target.name:
        raise Refused(f"the bundle is of {about.project}, not of {target.name}")
    here = target_here()
    bundled, own = _TARGET.fullmatch(about.target), _TARGET.fullmatch(here)
    alike = bundled and own and bundled.group(1, 3) == own.group(1, 3)
    if not bundled or not own or not alike or int(bundled[2]) > int(own[2]):
        raise Refused(
            f"the bundle is for {about.target}, and this is {here}:"
            f" make one that fits by bundle.sh --for {here}"
        )
    if installed and about.made_at < installed.made_at and not older:
        raise Refused(
            f"the bundle is of {_day(about)}, older than what is installed, of {_day(installed)}: flaws that"
            " were mended since would be back. To install it all the same: --older"
        )


_TARGET = re.compile(r"(cp3\d+)-manylinux_2_(\d+)_(\w+)")


def target_here() -> str:
    """Return the Python and platform of this machine, as `bundle.sh --for` takes them. Raises Refused."""
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError, AttributeError):
        libc = ""
    version = re.fullmatch(r"glibc 2\.(\d+)", libc)
    if not version or sys.implementation.name != "cpython":
        raise Refused("bundles are for Linux with glibc and CPython")
    return f"cp3{sys.version_info.minor}-manylinux_2_{version[1]}_{platform.machine()}"


def _day(about: About) -> str:
    return datetime.fromtimestamp(about.made_at, UTC).isoformat()


# -------------------------------------------------------------------------------------------- what is changed


def install(target: Path, bundle: Path, signers: Path, *, unsigned: bool = False, older: bool = False) -> str:
    """Install a bundle beside what is there, and switch to it; return what was done.

    Raises Refused and OSError; then all is as it was.
    """
    sums = read_sums(bundle, signers, unsigned=unsigned)
    require_complete(bundle, sums)
    told = _read(bundle / ABOUT) if ABOUT in sums else b""
    if hashlib.sha256(told).hexdigest() != sums.get(ABOUT):
        raise Refused(f"{ABOUT} is not as it was signed: get the bundle anew")
    about = About.read(told)
    with alone(target):
        require_fitting(about, installed(target), target, older=older)
        if not importlib.util.find_spec("ensurepip"):
            raise Refused("Python's venv is not here: install python3-venv")
        place = place_of(target, about, sums)
        if target.resolve() == place:
            return f"{about.release} is installed already."
        if not (place / _WHOLE).exists():
            _forget_unfinished(place.parent)
            try:
                _fill(place, bundle, sums, about)
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                with suppress(OSError):  # others are there
                    place.parent.rmdir()
                raise
        switch(target, place)
        _forget_old(target, place.parent)
    return f"{about.release} is installed. Restart the server; until then, it runs what it ran."


def place_of(target: Path, about: About, sums: Mapping[str, str]) -> Path:
    """Return the folder of a release, named by all that was signed: no other bundle is ever taken for it."""
    digest = hashlib.sha256(repr(sorted(sums.items())).encode()).hexdigest()
    releases = target.parent.resolve() / f"{target.name}.releases"
    return releases / f"{about.release.partition('-')[0]}-{digest[:32]}"


def _fill(place: Path, bundle: Path, sums: Mapping[str, str], about: About) -> None:
    """Copy a bundle, compare each copy with its sum, and make an environment of it."""
    place.mkdir(parents=True)
    for name, expected in sums.items():
        copy = place / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle / name, copy)
        with copy.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                raise Refused(f"{name!r} is not as it was signed: get the bundle anew")
    environment, wheels = place / ".venv", place / WHEELS
    _run("venv", sys.executable, "-m", "venv", str(environment))
    pip = (str(environment / "bin" / "python"), "-m", "pip")
    options = ("--no-index", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--require-hashes")
    _run(
        "pip",
        *(*pip, "install", *options, "--find-links", str(wheels), "-r", str(place / "requirements.txt")),
    )
    _run("pip", *pip, "check")
    _run("pip", *pip, "uninstall", "--yes", "pip", "setuptools")  # nobody needs them there any more
    _run("authserver", pip[0], "-c", "import authserver.server")
    _run(about.project, str(environment / "bin" / about.project), "--version")
    shutil.rmtree(wheels)
    (place / _WHOLE).touch()
    os.sync()


def _run(what: str, *command: str) -> None:
    done = subprocess.run(  # noqa: S603
        command, env=_ENVIRONMENT, cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        raise Refused(f"{what} failed: {said[-1] if said else done.returncode}")


def go_back(target: Path) -> str:
    """Switch to what was installed before; return what was done. Raises Refused and OSError."""
    with alone(target):
        before = _before(target)
        if not before.exists() or not target.exists() or before.samefile(target):
            raise Refused(f"nothing was installed before what {target} is now")
        switch(target, before.resolve())
        about = installed(target)
    return f"{about.release if about else target} is installed again. Restart the server."


def installed(target: Path) -> About | None:
    """Return what is installed, None for nothing."""
    told = target / ABOUT
    return About.read(told.read_bytes()) if told.is_file() else None


def switch(target: Path, place: Path) -> None:
    """Let the link lead elsewhere, in one step; note where it led."""
    if target.exists():
        _link(_before(target), target.resolve())
    _link(target, place)


def _link(link: Path, to: Path) -> None:
    new = link.with_name(f"{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(to)
    new.replace(link)


def _before(target: Path) -> Path:
    return target.with_name(f"{target.name}.before")


def _forget_unfinished(releases: Path) -> None:
    """Remove what was being installed when somebody killed it."""
    for place in releases.glob("*/"):
        if not (place / _WHOLE).exists():
            shutil.rmtree(place, ignore_errors=True)


def _forget_old(target: Path, releases: Path) -> None:
    """Remove the oldest releases."""
    needed = {target.resolve(), _before(target).resolve()}
    found = sorted(releases.glob(f"*/{_WHOLE}"), key=lambda mark: mark.stat().st_mtime, reverse=True)
    for mark in found[_KEPT:]:
        if mark.parent not in needed:
            shutil.rmtree(mark.parent, ignore_errors=True)


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Let nobody else install there. Raises Refused where somebody does, or something else is in place."""
    assert sys.platform != "win32"  # noqa: S101  # no target fits it
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if target.exists() and not target.is_symlink():
            raise Refused(f"{target} was not installed from a bundle: move it away first")
        yield
    except BlockingIOError:
        raise Refused("another installation is under way") from None
    finally:
        os.close(folder)


def main() -> None:
    """Do what was typed; what is wrong is one line, and exit code 1."""
    parser = argparse.ArgumentParser(description="Install this project from a bundle, or go back.")
    parser.add_argument("folder", nargs="?", type=Path, help="where it is installed: /opt/my-server")
    wish = parser.add_mutually_exclusive_group(required=True)
    wish.add_argument("--from", dest="bundle", type=Path, help="the bundle")
    wish.add_argument("--back", action="store_true", help="switch to what was installed before")
    wish.add_argument("--target", action="store_true", help="print which bundle fits this machine")
    parser.add_argument("--signers", type=Path, help="who may sign; default: /etc/my-server/bundle_signers")
    parser.add_argument("--unsigned", action="store_true", help="take a bundle that nobody known signed")
    parser.add_argument("--older", action="store_true", help="take one that is older than what is installed")
    typed = parser.parse_args()
    if not typed.target and typed.folder is None:
        parser.error("name the folder: /opt/my-server")
    os.umask(0o022)  # the service is another user
    try:
        if typed.target:
            print(target_here())
            return
        target = typed.folder.absolute()
        signers = typed.signers or Path("/etc") / target.name / "bundle_signers"
        if typed.back:
            print(go_back(target))
            return
        print(install(target, typed.bundle, signers, unsigned=typed.unsigned, older=typed.older))
    except (Refused, OSError) as error:
        sys.exit(f"Nothing was changed: {error}")
    except KeyboardInterrupt:
        sys.exit("Nothing was changed: interrupted")


if __name__ == "__main__":
    main()
