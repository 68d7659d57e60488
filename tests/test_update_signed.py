"""Where a project knows who signs releases, `update.sh` takes no other ones."""

from collections.abc import Callable
from pathlib import Path

import effort
import pytest
from rendering import commit, git, render
from signer import Signer, needs_ssh_keygen
from updating import BRANCH, PROVIDER, committed, release, run

pytestmark = [effort.push, effort.early, needs_ssh_keygen]

LISTED = "src/authserver/allowed_signers"


def signed(source: Path, signer: Signer, *words: str) -> None:
    """Run git with a key to sign with."""
    names = ("-c", "user.name=them", "-c", "user.email=them@example.com")
    git(source, *names, "-c", "gpg.format=ssh", "-c", f"user.signingKey={signer.key}", *words)


def tag(source: Path, signer: Signer, version: str) -> None:
    """Sign the newest commit as a release."""
    signed(source, signer, "tag", "--force", "--sign", "-m", version, version, "HEAD")


@pytest.fixture
def signer(source: Path, tmp_path: Path) -> Signer:
    """The maintainers, who listed their key and signed release 999.0.0."""
    signer = Signer(tmp_path)
    (source / "template" / LISTED).write_text(f"# Them\n{signer.line}")
    commit(source, "List our key")
    tag(source, signer, "999.0.0")
    return signer


@pytest.fixture
def known(source: Path, signer: Signer, tmp_path: Path, one_environment: None) -> Path:
    """A project of that release."""
    return committed(render(source, tmp_path / "my-server"))


def by_them(source: Path, signer: Signer) -> None:
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    tag(source, signer, "999.1.0")


def by_a_new_key_that_the_old_one_announced(source: Path, signer: Signer) -> None:
    new = Signer(source.parent, "new")
    listed = source / "template" / LISTED
    listed.write_text(new.line + signer.line)
    signer.sign(listed, "authserver-signers")
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    tag(source, new, "999.1.0")


def by_nobody(source: Path, signer: Signer) -> None:
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))


def by_a_stranger(source: Path, signer: Signer) -> None:
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    tag(source, Signer(source.parent, "maintainers2"), "999.1.0")


def by_a_stranger_who_announced_themselves(source: Path, signer: Signer) -> None:
    stranger = Signer(source.parent, "stranger")
    listed = source / "template" / LISTED
    listed.write_text(stranger.line + signer.line)
    stranger.sign(listed, "authserver-signers")
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    tag(source, stranger, "999.1.0")


def with_an_old_tag_under_a_new_name(source: Path, signer: Signer) -> None:
    commit(source, "Nothing")
    old = git(source, "rev-parse", "refs/tags/999.0.0").strip()
    git(source, "update-ref", "refs/tags/999.1.0", old)


def with_another_old_release(source: Path, signer: Signer) -> None:
    by_them(source, signer)
    git(source, "tag", "--force", "999.0.0", "999.1.0^{commit}")


@pytest.mark.parametrize("new", effort.first([by_them, by_a_new_key_that_the_old_one_announced], effort.push))
def test_what_known_signers_signed_is_taken(
    known: Path, source: Path, signer: Signer, new: Callable[[Path, Signer], None]
) -> None:
    new(source, signer)
    code, said = run(known)
    assert code == 0, said
    assert "NOT VERIFIED" not in said
    assert git(known, "branch", "--show-current").strip() == BRANCH


@pytest.mark.parametrize(
    "new",
    effort.first(
        [
            by_a_stranger,
            by_nobody,
            by_a_stranger_who_announced_themselves,
            with_an_old_tag_under_a_new_name,
            with_another_old_release,
        ],
        effort.push,
    ),
)
def test_what_nobody_known_signed_is_refused(
    known: Path, source: Path, signer: Signer, new: Callable[[Path, Signer], None]
) -> None:
    """Attack 40: release something, or show an old release as a new one. Source: CWE-347, TUF 1.5.2."""
    new(source, signer)
    code, said = run(known)
    assert code == 1, said
    assert "NOT VERIFIED: no signer that this project knows" in said
    assert git(known, "branch", "--list") == "* main\n"
    assert git(known, "status", "--porcelain") == ""


@effort.release
@pytest.mark.parametrize("sign", [True, False], ids=["signed", "not signed"])
def test_without_tags_the_newest_commit_is_looked_at(
    known: Path, source: Path, signer: Signer, sign: bool
) -> None:
    """Attack 40: the same, in a copy of the template that has no tags. Source: CWE-347."""
    for name in git(source, "tag").split():
        git(source, "tag", "--delete", name)
    signed(source, signer, "commit", "--quiet", "--amend", "--no-edit", "--gpg-sign")
    answers = known / ".copier-answers.yml"
    first = git(source, "rev-parse", "--short", "HEAD").strip()
    answers.write_text(answers.read_text().replace("_commit: 999.0.0", f"_commit: {first}"))
    commit(known, "Of a commit")
    file = source / "template" / PROVIDER
    file.write_text(f"{file.read_text()}# a fix\n")
    git(source, "add", "--all")
    signed(source, signer, "commit", "--quiet", "-m", "Fix it", *(["--gpg-sign"] if sign else []))
    code, said = run(known)
    assert code == (0 if sign else 1), said
    assert ("NOT VERIFIED" in said) == (not sign)


@effort.release
def test_without_a_signer_it_is_said(project: Path, source: Path) -> None:
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    code, said = run(project)
    assert code == 0
    assert "NOT VERIFIED: no signer is known" in said
