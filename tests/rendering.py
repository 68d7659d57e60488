"""The template as its users get it: every combination of answers, computed from copier.yml."""

import itertools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import copier
import yaml
from jinja2 import Environment

REPOSITORY = Path(__file__).parent.parent
TEMPLATE = REPOSITORY / "template"
AXES = ("storage", "login", "tokens")

Answers = dict[str, str]

# Copier compiles each part of each path anew, thousands of times for one update: half of its time.
_compile = Environment.compile
_compiled: dict[object, Any] = {}


def _compile_once(self: Environment, source: Any, *names: Any, **options: Any) -> Any:
    key = (type(self), source, names, *options.items())
    if key not in _compiled:
        _compiled[key] = _compile(self, source, *names, **options)
    return _compiled[key]


Environment.compile = _compile_once  # type: ignore[method-assign]


def settings(release: str | None = None) -> dict[str, Any]:
    """Return what copier.yml says, now or in the commit of a release."""
    if release:
        text = git(REPOSITORY, "show", f"{release}:copier.yml")
    else:
        text = (REPOSITORY / "copier.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def questions(release: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the questions of copier.yml."""
    return {name: question for name, question in settings(release).items() if not name.startswith("_")}


def choices(question: str, release: str | None = None) -> list[str]:
    """Return the values that may be chosen."""
    return list(questions(release)[question]["choices"].values())


def combinations(*names: str, release: str | None = None) -> list[Answers]:
    """Return all combinations of answers to these questions."""
    offered = (choices(name, release) for name in names)
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*offered)]


def projects(release: str | None = None) -> list[Answers]:
    """Return every combination of the axes; what is no axis changes with the default ones only."""
    others = [name for name, question in questions(release).items() if "choices" in question]
    others = [name for name in others if name not in AXES]
    return [
        axes | rest
        for rest in combinations(*others, release=release)
        for axes in combinations(*AXES, release=release)
        if differences(rest) == 0 or differences(axes) == 0
    ]


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


def releases() -> dict[str, str]:
    """Return the releases, oldest first: by version, the commit that added its heading to CHANGELOG.md."""
    found: dict[str, str] = {}
    commit = ""
    for line in git(REPOSITORY, "log", "--reverse", "-p", "-U0", "--", "CHANGELOG.md").splitlines():
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
    git(REPOSITORY, "clone", "--quiet", "--no-tags", str(REPOSITORY), str(to))
    for version, released in releases().items():
        git(to, "tag", version, released)
    changed = git(REPOSITORY, "diff", "--name-only", "--no-renames", "-z", "HEAD")
    new = git(REPOSITORY, "ls-files", "-z", "--others", "--exclude-standard")
    for name in filter(None, f"{changed}{new}".split("\0")):
        if (REPOSITORY / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, to / name)
        else:
            (to / name).unlink()
    commit(to, "What is not committed yet")
    git(to, "tag", tag)
    return to


def git(folder: Path, *words: str) -> str:
    """Run git in a folder and return what it prints."""
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path, message: str) -> None:
    """Commit everything, also when there is nothing."""
    git(folder, "add", "--all")
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    git(folder, *author, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", message)


def render(template: Path, to: Path, release: str | None = None, **answers: str) -> Path:
    """Write a project, of the newest release or of this one."""
    copier.run_copy(str(template), to, data=answers, vcs_ref=release, defaults=True, quiet=True)
    return to


def update(project: Path, **answers: str) -> None:
    """Do what `copier update --defaults` does, with `-d` for each answer; nothing is trusted."""
    copier.run_update(project, data=answers, defaults=True, overwrite=True, quiet=True)


def files(project: Path) -> dict[str, bytes]:
    """Return all files of a project, with what is in them."""
    found = (path for path in project.rglob("*") if path.is_file())
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in found}
