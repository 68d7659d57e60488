"""The template as its users get it: every combination of answers, computed from copier.yml."""

import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import copier
import yaml

REPOSITORY = Path(__file__).parent.parent
TEMPLATE = REPOSITORY / "template"
AXES = ("storage", "login", "tokens")

Answers = dict[str, str]


def questions() -> dict[str, dict[str, Any]]:
    """Return the questions of copier.yml."""
    settings = yaml.safe_load((REPOSITORY / "copier.yml").read_text(encoding="utf-8"))
    return {name: question for name, question in settings.items() if not name.startswith("_")}


def choices(question: str) -> list[str]:
    """Return the values that may be chosen."""
    return list(questions()[question]["choices"].values())


def combinations(*names: str) -> list[Answers]:
    """Return all combinations of answers to these questions."""
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*map(choices, names))]


def differences(answers: Answers) -> int:
    """Return in how many answers a combination differs from the default one."""
    return sum(answer != choices(name)[0] for name, answer in answers.items())


def title(answers: Answers) -> str:
    """Return the name of a combination."""
    return "-".join(answers.values())


def clone(to: Path, tag: str) -> Path:
    """Clone the repository with all that is not committed yet, and tag it."""
    git(REPOSITORY, "clone", "--quiet", str(REPOSITORY), str(to))
    for name in git(REPOSITORY, "ls-files", "-z").split("\0"):
        if name and not (REPOSITORY / name).exists():
            (to / name).unlink()
    for name in git(REPOSITORY, "ls-files", "-z", "--modified", "--others", "--exclude-standard").split("\0"):
        if name and (REPOSITORY / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, to / name)
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


def render(template: Path, to: Path, **answers: str) -> Path:
    """Write a project."""
    copier.run_copy(str(template), to, data=answers, defaults=True, quiet=True)
    return to


def files(project: Path) -> dict[str, bytes]:
    """Return all files of a project, with what is in them."""
    found = (path for path in project.rglob("*") if path.is_file())
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in found}
