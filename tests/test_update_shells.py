"""`update.sh` is replaced while it runs: shells that read by lines, or by blocks, do not stumble over it."""

import os
import shutil
from pathlib import Path

import effort
import pytest
from history import needs_history
from rendering import TEMPLATE, git, render
from updating import BRANCH, PROVIDER, committed, release, run

pytestmark = [effort.push, effort.early]

SHELLS = ("bash", "dash", "busybox", "zsh", "mksh")
"""mksh goes on elsewhere in the script of 0.2.0: there the first update is `uvx copier update`."""

OLD = {"0.2.0": 1189, "90c923b": 1269}
"""Who has the old script: 0.2.0, and who had no tags soon after; the byte after `copier update`."""


@pytest.fixture
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH on which `sh` is another shell."""
    found = shutil.which(request.param)
    if found is None:
        pytest.skip(f"{effort.MISSING}updates by {request.param} (it is not here)")
    (tmp_path / "shell").mkdir()
    (tmp_path / "shell" / "sh").symlink_to(found)
    return f"{tmp_path / 'shell'}:{os.environ['PATH']}"


by_each_shell = pytest.mark.parametrize("path", effort.first(SHELLS, effort.push), indirect=True)
by_those_of_0_2_0 = pytest.mark.parametrize("path", effort.first(SHELLS[:-1], effort.push), indirect=True)


@needs_history
@by_those_of_0_2_0
@pytest.mark.parametrize("old", effort.first(OLD, effort.push))
@pytest.mark.usefixtures("one_environment")
def test_the_script_of_0_2_0_brings_a_project_here(source: Path, tmp_path: Path, old: str, path: str) -> None:
    """0.1.0 has no script: there it is `uvx copier update`."""
    project = committed(render(source, tmp_path / "my-server", old))
    code, said = run(project, PATH=path)
    assert code == 0, said
    assert said.endswith("and its tests pass.\n")
    assert git(project, "branch", "--show-current").strip() == "authserver-update-999.0.0"
    assert git(project, "status", "--porcelain") == ""
    assert "_commit: 999.0.0\n" in (project / ".copier-answers.yml").read_text()


@effort.release
@by_each_shell
def test_a_script_that_is_all_different_takes_its_place(project: Path, source: Path, path: str) -> None:
    script = source / "template/src/authserver/update.sh"
    work = script.with_name("updating.sh")
    script.write_text("echo wrong\n" * 1000 + script.read_text())
    work.write_text("echo wrong\n" * 1000 + work.read_text())
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    code, said = run(project, PATH=path)
    assert code == 0, said
    assert "wrong" not in said
    assert git(project, "branch", "--show-current").strip() == BRANCH


@pytest.mark.parametrize("path", SHELLS, indirect=True)
def test_a_script_with_line_ends_of_windows_says_one_line(tmp_path: Path, path: str) -> None:
    """As where `.gitattributes` is gone, and git turns line ends round."""
    script = tmp_path / "src/authserver/update.sh"
    script.parent.mkdir(parents=True)
    text = (TEMPLATE / "src/authserver/update.sh").read_bytes()
    script.write_bytes(text.replace(b"\n", b"\r\n"))
    code, said = run(tmp_path, PATH=path)
    assert (code, said) == (1, "src/authserver/update.sh has CRLF: clone with core.autocrlf=false\n")


@effort.release
def test_a_clone_that_turns_line_ends_round_is_updated(source: Path, project: Path, tmp_path: Path) -> None:
    """`.gitattributes` says how they are; git's setting is for what it says nothing of."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--config", "core.autocrlf=true", str(project), str(clone))
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    code, said = run(clone)
    assert code == 0, said
    assert git(clone, "status", "--porcelain") == ""
    assert b"\r" not in (clone / PROVIDER).read_bytes()


@needs_history
def test_where_the_old_script_is_read_on_the_new_one_takes_over(source: Path) -> None:
    """By lines, from the byte after `copier update`; by blocks of 1023, from 2046; or from where it ended."""
    text = (TEMPLATE / "src/authserver/update.sh").read_bytes()
    read, run_it = b'updating="$(cat src/authserver/updating.sh)"', b'exec sh -c "$updating" update.sh'
    branch = b'git branch --quiet -D "$branch"'
    for old, at in OLD.items():
        was = git(source, "show", f"{old}:template/src/authserver/update.sh").encode()
        before, _, rest = was.partition(b"\ncopier update ")
        assert at == len(before) + len(b"\ncopier update ") + rest.index(b"\n") + 1
        first, *then = text[at:].splitlines()
        assert set(first) == set(b"#")
        assert then[:3] == [read, b"undo", run_it]
        assert was[:2046].splitlines()[-1] in (
            b'git commit --quiet -m "Update authserver to $release"',
            b"test ! -e uv.lock || uv ",
        )
        assert text[2046:].splitlines()[:5] == [b" 2> /dev/null || :", read, b"undo", branch, run_it]
        assert len(text) < len(was)
