"""An update that is refused or interrupted leaves all as it was; odd repositories are updated, too."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import effort
import pytest
from rendering import commit, files, git, render
from updating import BRANCH, ME, PROVIDER, committed, release, run

pytestmark = [effort.push, effort.early]


def state(project: Path) -> dict[str, object]:
    """Return all that an update may change, and what it keeps in git's folder."""
    own = Path(git(project, "rev-parse", "--absolute-git-dir").strip())
    return {
        "files": {name: read for name, read in files(project).items() if not name.startswith(".git/")},
        "HEAD": git(project, "rev-parse", "--symbolic-full-name", "HEAD") + git(project, "rev-parse", "HEAD"),
        "branches": git(project, "branch", "--list"),
        "status": git(project, "status", "--porcelain", "--ignored"),
        "left": [path.name for path in own.glob("authserver-update.*")],
    }


def updated(project: Path) -> None:
    """See that the project is on the update's branch, and clean."""
    assert git(project, "branch", "--show-current").strip() == BRANCH
    assert git(project, "status", "--porcelain") == ""
    assert (project / PROVIDER).read_text().endswith("# a fix\n")
    assert "_src_path: " in (project / ".copier-answers.yml").read_text()
    assert "/template\n" not in (project / ".copier-answers.yml").read_text()


# ------------------------------------------------------------------------------------ no commit is refused


def hook(name: str) -> Callable[[Path], None]:
    """Return what gives a project a hook that refuses everything."""

    def add(project: Path) -> None:
        path = project / ".git" / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\necho refused >&2\nexit 1\n")
        path.chmod(0o755)

    return add


def signing(project: Path) -> None:
    git(project, "config", "commit.gpgSign", "true")
    git(project, "config", "gpg.format", "ssh")
    git(project, "config", "user.signingKey", "/nowhere")


def everything(project: Path) -> None:
    """All of it."""
    for name in ("pre-commit", "commit-msg", "prepare-commit-msg", "post-checkout", "reference-transaction"):
        hook(name)(project)
    signing(project)


@pytest.mark.parametrize(
    "refusing",
    effort.first([everything, signing, hook("pre-commit"), hook("reference-transaction")], effort.push),
    ids=["everything", "signing", "pre-commit", "reference-transaction"],
)
def test_no_hook_and_no_missing_key_or_identity_stops_an_update(
    project: Path, source: Path, refusing: Callable[[Path], None], tmp_path: Path
) -> None:
    refusing(project)
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    nobody = dict.fromkeys(ME, "") | {"HOME": str(tmp_path), "UV_CACHE_DIR": uv_cache()}
    code, said = run(
        project, "unset $(env | sed -n 's/=.*//; /^GIT_/p'); sh src/authserver/update.sh", **nobody
    )
    assert code == 0, said
    updated(project)
    assert git(project, "log", "-1", "--format=%an").strip() == "authserver-update"


def uv_cache() -> str:
    return subprocess.run(["uv", "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()


def test_without_what_the_lock_needs_all_is_as_before(project: Path, source: Path) -> None:
    declared = source / "template/pyproject.toml.jinja"
    text = declared.read_text()
    assert "dependencies = [\n" in text
    declared.write_text(
        text.replace("dependencies = [\n", 'dependencies = [\n    "no-such-package-here>=1",\n', 1)
    )
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    before = state(project)
    code, said = run(project, UV_OFFLINE="1")
    assert code == 1
    assert said.splitlines()[-1] == "Nothing was changed: `uv lock` failed; it says why above."
    assert state(project) == before


# --------------------------------------------------------------------------------------------- interrupted


@pytest.fixture
def stopping(tmp_path: Path) -> str:
    """A PATH on which uv sends a signal to the process group when it comes to a step, as Ctrl-C does."""
    folder = tmp_path / "stopping"
    folder.mkdir()
    for name in ("uv", "uvx"):
        real = shutil.which(name)
        script = f"""#!/bin/sh
case " $* " in *"$STEP"*) kill -"$SIGNAL" 0; sleep 60 ;; esac
exec {real} "$@"
"""
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def stopped(project: Path, **environment: str) -> tuple[int, str]:
    """Run the update as the leader of a process group; return how it ends, and what it said."""
    process = subprocess.Popen(
        # What runs in the background ignores SIGINT, and so would the script: it could not trap it.
        ["env", "--default-signal=INT,HUP,TERM", "sh", "src/authserver/update.sh"],
        cwd=project,
        env=os.environ | ME | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said, _ = process.communicate(timeout=600)
    return process.returncode, said


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("lock", "INT"),
        *(
            pytest.param(step, name, marks=effort.release)
            for step, name in (
                ("check-update", "INT"),
                ("update --defaults", "INT"),
                ("pytest", "INT"),
                ("pytest", "TERM"),
                ("update --defaults", "HUP"),
            )
        ),
    ],
)
def test_whenever_it_is_interrupted_all_is_as_before(
    project: Path, source: Path, stopping: str, step: str, name: str
) -> None:
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    before = state(project)
    code, said = stopped(project, PATH=stopping, STEP=step, SIGNAL=name)
    assert code == 130, said
    assert said.endswith("Interrupted: all is as it was before.\n")
    assert state(project) == before


def test_one_that_was_killed_is_in_nobodys_way(project: Path, source: Path, stopping: str) -> None:
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    before = state(project)
    code, _ = stopped(project, PATH=stopping, STEP="update --defaults", SIGNAL="KILL")
    assert code == -signal.SIGKILL
    after = state(project)
    assert after.pop("left")
    assert not before.pop("left")
    assert after == before
    code, said = run(project)
    assert code == 0, said
    updated(project)
    assert state(project)["left"] == []


# ------------------------------------------------------------------------------------------- odd repositories


def in_a_folder(project: Path, tmp_path: Path) -> Path:
    """Make it one of several projects in one repository."""
    shutil.rmtree(project / ".git")
    whole = tmp_path / "all of it"
    shutil.move(project, whole / "services" / "my-server")
    (whole / "README.md").write_text("# All\n")
    git(whole, "init", "--quiet", "--initial-branch", "main")
    commit(whole, "Start")
    return whole / "services" / "my-server"


def in_a_worktree(project: Path, tmp_path: Path) -> Path:
    """Check it out beside itself."""
    git(project, "worktree", "add", "--quiet", "-b", "here", str(tmp_path / "beside"))
    return tmp_path / "beside"


def shallow(project: Path, tmp_path: Path) -> Path:
    """Clone it without its history."""
    (project / "README.md").write_text("# Mine\n")
    commit(project, "Mine")
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{project}", "shallow")
    return tmp_path / "shallow"


def with_a_submodule(project: Path, tmp_path: Path) -> Path:
    """Let it hold another repository, which is nowhere but here, and which its tests need."""
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    (other / "answer.txt").write_text("42")
    commit(other, "Start")
    git(
        project, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "vendor/other"
    )
    test = "def test_it() -> None:\n    open('vendor/other/answer.txt').close()\n"
    (project / "tests/app/test_other.py").write_text(test)
    commit(project, "Another")
    shutil.rmtree(other)
    return project


def read_only(project: Path, tmp_path: Path) -> Path:
    """Protect each file from being written."""
    for path in project.rglob("*"):
        if path.is_file():
            path.chmod(0o444)
    git(project, "config", "core.fileMode", "false")
    return project


Layout = Callable[[Path, Path], Path]


@pytest.mark.parametrize(
    "layout",
    effort.first([in_a_folder, in_a_worktree, shallow, with_a_submodule, read_only], effort.push),
)
def test_odd_repositories_are_updated_like_others(
    project: Path, source: Path, layout: Layout, tmp_path: Path
) -> None:
    release(source, "999.1.0", (PROVIDER, "# a fix\n"), ("tests/authserver/test_new.py", ""))
    here = layout(project, tmp_path)
    code, said = run(here)
    assert code == 0, said
    updated(here)
    changed = git(here, "diff", "--name-only", "--relative", "HEAD^", "HEAD").split()
    assert "tests/authserver/test_new.py" in changed
    assert len(changed) <= 6, changed


@effort.release
def test_where_git_says_which_repository_it_works_in_it_is_this_one(project: Path, source: Path) -> None:
    """As it does to hooks, aliases and `rebase --exec`: each git in the clone would work on the project."""
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    own = project / ".git"
    told = {"GIT_DIR": own, "GIT_WORK_TREE": project, "GIT_INDEX_FILE": own / "index", "GIT_PREFIX": ""}
    code, said = run(project, **{name: str(value) for name, value in told.items()})
    assert code == 0, said
    updated(project)
    assert git(project, "rev-list", "--count", "main..HEAD").strip() == "1"
    assert state(project)["left"] == []


@effort.release
def test_an_ignored_file_in_the_way_is_not_written_over(project: Path, source: Path) -> None:
    (project / ".git/info/exclude").write_text("notes.txt\n")
    (project / "src/authserver/notes.txt").write_text("mine")
    release(source, "999.1.0", ("src/authserver/notes.txt", "the template's"))
    before = state(project)
    code, said = run(project)
    assert code == 1
    assert said.endswith("Nothing was changed: git could not check out the update; it says why above.\n")
    assert state(project) == before


@effort.release
def test_two_at_once_make_one_branch(project: Path, source: Path) -> None:
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    words = ["sh", "src/authserver/update.sh"]
    given = os.environ | ME | {"PYTEST_ADDOPTS": "tests/app -n0"}
    both = [subprocess.Popen(words, cwd=project, env=given) for _ in range(2)]
    assert 0 in [process.wait(timeout=1800) for process in both]
    updated(project)
    assert git(project, "rev-list", "--count", "main..HEAD").strip() == "1"
    assert state(project)["left"] == []


@effort.release
def test_on_a_full_disk_all_is_as_before(project: Path, source: Path) -> None:
    """No file may be longer than some kilobytes: it fails wherever it writes."""
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    before = state(project)
    code, _ = run(project, "trap '' XFSZ; ulimit -f 200; sh src/authserver/update.sh")
    assert code != 0
    assert state(project) == before


@effort.release
def test_what_an_old_script_left_half_done_is_named(project: Path) -> None:
    answers = project / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace("999.0.0", "999.1.0"))
    code, said = run(project)
    assert code == 1
    assert said.startswith("An earlier update stopped half-way, it seems.")


@effort.release
@pytest.mark.usefixtures("one_environment")
def test_the_template_may_be_named_from_the_projects_folder(source: Path, tmp_path: Path) -> None:
    project = render(source, tmp_path / "my-server")
    answers = project / ".copier-answers.yml"
    named = answers.read_text().replace(f"_src_path: {source}\n", "_src_path: ../copier-fastmcp-oauth\n")
    answers.write_text(named)
    committed(project)
    release(source, "999.1.0", (PROVIDER, "# a fix\n"))
    code, said = run(project)
    assert code == 0, said
    updated(project)
    assert "_src_path: ../copier-fastmcp-oauth\n" in answers.read_text()
