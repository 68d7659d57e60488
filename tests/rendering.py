"""The template as its users get it: every combination of answers, computed from copier.yml."""

import fcntl
import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import copier
import plumbum
import yaml
from copier._main import Worker
from jinja2 import Environment

REPOSITORY = Path(__file__).parent.parent
TEMPLATE = REPOSITORY / "template"
AXES = ("storage", "login", "tokens")

Answers = dict[str, str]

# A hook has these of the repository that is committed to; here git looks at folders.
for _name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
    os.environ.pop(_name, None)
    plumbum.local.env.pop(_name, "")  # Copier's, made when it was imported


def _history() -> tuple[bool, str]:
    """Say whether this is a clone of its own, and what its history needs to be here, if it is not."""
    ask = ["git", "rev-parse", "--show-toplevel", "--is-shallow-repository"]
    said = subprocess.run(ask, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    folder, shallow = said.stdout.splitlines() or ("", "")
    if folder and Path(folder).samefile(REPOSITORY):
        return True, "this clone is shallow. Run: git fetch --unshallow" if shallow == "true" else ""
    # Git does not look into what belongs to somebody else, and says so.
    refused = said.stderr.splitlines()[:1] if (REPOSITORY / ".git").exists() else []
    return False, refused[0] if refused else "this is no clone. Use git clone"


IS_CLONE, WITHOUT_HISTORY = _history()

# Copier compiles each part of each path anew, thousands of times for one update: half of its time.
_compile = Environment.compile
_compiled: dict[object, Any] = {}


def _compile_once(self: Environment, source: Any, *names: Any, **options: Any) -> Any:
    key = (type(self), source, names, *options.items())
    if key not in _compiled:
        _compiled[key] = _compile(self, source, *names, **options)
    return _compiled[key]


Environment.compile = _compile_once  # type: ignore[method-assign]

# It also asks git for `core.fileMode` once for each file: two hundred processes for each rendering.
_sync_bit = Worker._sync_git_index_executable_bit


def _sync_bit_where_git_wants_it(self: Worker, path: Path, mode: int) -> None:
    if _wants_bits(self.subproject.local_abspath):
        _sync_bit(self, path, mode)


@cache
def _wants_bits(project: Path) -> bool:
    command = ["git", "config", "--type=bool", "--get", "core.fileMode"]
    return subprocess.run(command, cwd=project, capture_output=True, check=False).stdout == b"false\n"


Worker._sync_git_index_executable_bit = _sync_bit_where_git_wants_it  # type: ignore[method-assign, assignment]


@cache
def settings(release: str | None = None) -> dict[str, Any]:
    """Return what copier.yml says, now or in the commit of a release. Nobody changes it."""
    here = REPOSITORY / "copier.yml"
    text = git(REPOSITORY, "show", f"{release}:copier.yml") if release else here.read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def questions(release: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the questions of copier.yml."""
    return {name: question for name, question in settings(release).items() if not name.startswith("_")}


def asked(release: str | None = None) -> list[str]:
    """Return the questions of which one answer is chosen. Where several may be, they are no combination."""
    found = questions(release).items()
    return [name for name, question in found if "choices" in question and not question.get("multiselect")]


def choices(question: str, release: str | None = None) -> list[str]:
    """Return the values that may be chosen."""
    return list(questions(release)[question]["choices"].values())


def modules(package: Path, axis: str) -> set[str]:
    """Return the modules of an axis. Of the storage each is a folder, and the files are shared."""
    found = [path for path in (package / axis).iterdir() if not path.stem.startswith("__")]
    return {path.stem for path in found if axis != "storage" or path.is_dir()}


DEFAULTS: Answers = {axis: choices(axis)[0] for axis in AXES}
"""The answers of a project that nobody was asked about."""


def combinations(*names: str, release: str | None = None) -> list[Answers]:
    """Return all combinations of answers to these questions."""
    offered = (choices(name, release) for name in names)
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*offered)]


def projects(release: str | None = None) -> list[Answers]:
    """Return every combination of the axes; what is no axis changes with the default ones only."""
    others = [name for name in asked(release) if name not in AXES]
    return [
        axes | rest
        for rest in combinations(*others, release=release)
        for axes in combinations(*AXES, release=release)
        if differences(rest) == 0 or differences(axes) == 0
    ]


def default_answers() -> Answers:
    """Return the default answer to each question of which one answer is chosen."""
    return {name: questions()[name]["default"] for name in asked()}


def covering(found: list[Answers]) -> list[Answers]:
    """Return some of the combinations: any two answers that meet in one of all meet in one of these."""

    def pairs(answers: Answers) -> set[object]:
        return set(itertools.combinations(answers.items(), 2))

    missing = set().union(*map(pairs, found))
    chosen = []
    while missing:
        chosen.append(max(found, key=lambda answers: len(pairs(answers) & missing)))
        missing -= pairs(chosen[-1])
    return chosen


def one_for_each_answer(found: list[Answers]) -> list[Answers]:
    """Return some of the combinations, the first among them: each answer is given in one of them."""
    chosen = found[:1]
    missing = {answer for answers in found for answer in answers.items()} - set(chosen[0].items())
    while missing:
        chosen.append(max(found, key=lambda answers: len(missing & set(answers.items()))))
        missing -= set(chosen[-1].items())
    return chosen


@cache
def releases(repository: Path = REPOSITORY) -> dict[str, str]:
    """Return the releases, oldest first: by version, the commit that added its heading to CHANGELOG.md.

    Where the history is not here, there are none.
    """
    found: dict[str, str] = {}
    commit = ""
    if WITHOUT_HISTORY:
        return found
    for line in git(repository, "log", "--reverse", "-p", "-U0", "--", "CHANGELOG.md").splitlines():
        if begun := re.fullmatch(r"commit ([0-9a-f]{40})", line):
            commit = begun[1]
        elif heading := re.fullmatch(r"\+## ([0-9]+\.[0-9]+\.[0-9]+)", line):
            found.setdefault(heading[1], commit)
    return found


def differences(answers: Answers) -> int:
    """Return in how many answers a combination differs from the default one."""
    return sum(answer != choices(name)[0] for name, answer in answers.items())


def title(answers: Answers) -> str:
    """Return the name of a combination."""
    return "-".join(answers.values())


def clone(to: Path, tag: str) -> Path:
    """Clone the repository with all that is not committed yet, and tag it, and all releases."""
    if WITHOUT_HISTORY:
        to.mkdir(parents=True)
        git(to, "init", "--quiet")
    else:
        git(REPOSITORY, "clone", "--quiet", "--no-tags", "--no-checkout", str(REPOSITORY), str(to))
        for version, released in releases().items():
            git(to, "tag", version, released)
    for path in sources(REPOSITORY):
        copy = to / path.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    commit(to, "What is not committed yet")
    git(to, "tag", tag)
    return to


def sources(folder: Path) -> list[Path]:
    """Return the files below a folder that are, or will be, committed."""
    with tempfile.TemporaryDirectory() as empty:
        if IS_CLONE:
            where: tuple[str, ...] = ()
        else:  # an empty repository, so that git reads .gitignore here, and nothing around here
            git(folder, "init", "--quiet", "--bare", empty)
            where = ("--git-dir", empty, "--work-tree", str(REPOSITORY))
        named = git(folder, *where, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    found = [folder / name for name in dict.fromkeys(filter(None, named.split("\0")))]
    return [path for path in found if path.is_file()]


def without_history(template: Path, to: Path) -> Path:
    """Copy a clone without its history: then rendering need not clone it."""
    return shutil.copytree(template, to, ignore=shutil.ignore_patterns(".git"))


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Return a folder that the first of all test processes makes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = folder.with_name(f"{folder.name}.done")
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder


def git(folder: Path, *words: str) -> str:
    """Run git in a folder and return what it prints."""
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path, message: str) -> None:
    """Commit everything, also when there is nothing."""
    git(folder, "add", "--all")
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    git(folder, *author, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", message)


def render(template: Path, to: Path, release: str | None = None, **answers: str | list[str]) -> Path:
    """Write a project, of the newest release or of this one."""
    copier.run_copy(str(template), to, data=answers, vcs_ref=release, defaults=True, quiet=True)
    return to


def update(project: Path, **answers: str | list[str]) -> None:
    """Do what `copier update --defaults` does, with `-d` for each answer; nothing is trusted."""
    copier.run_update(project, data=answers, defaults=True, overwrite=True, quiet=True)


def files(project: Path) -> dict[str, bytes]:
    """Return all files of a project, with what is in them."""
    found = (path for path in project.rglob("*") if path.is_file())
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in found}
