"""Take one guard of the authorization server away at a time, and see a test fail.

`uv run python tests/mutations.py [words of names]` does it for all of mutations.toml, or for those, each in a
copy of the template. It prints those that no test noticed; it ends with 1 if there are any.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from forks import Program

LIST = Path(__file__).with_suffix(".toml")
TEMPLATE = LIST.parents[1] / "template"
SOURCES = Path("src/authserver")
CHOICES = SOURCES / "choices.py"
TESTS = Path("tests/authserver")

# ldap3 warns; which warnings a login may raise is for its own project to say.
_OPTIONS = ["-n0", "-x", "-pno:cacheprovider", "--assert=plain", "-ofilterwarnings=default"]
_SECONDS = 600
_PASSED, _FAILED, _NO_ANSWER = 0, 10, 11
_LEFT_OUT = shutil.ignore_patterns(".*", "*.jinja", "data")


class CannotMutate(Exception):
    """The text of the guard is not there, or more than once."""


@dataclass(frozen=True)
class Mutation:
    """One guard: where its text is, what stands there without it, and which test must notice, by login."""

    name: str
    file: str
    text: str
    becomes: str
    test: str
    login: str = "password"

    def apply(self, project: Path) -> None:
        """Change a copy of the template."""
        path = project / SOURCES / self.file
        before = path.read_text(encoding="utf-8")
        if before.count(self.text) != 1:
            raise CannotMutate(f"{self.name}: the text stands {before.count(self.text)} times in {self.file}")
        path.write_text(before.replace(self.text, self.becomes), encoding="utf-8")


def mutations() -> list[Mutation]:
    """Return the list."""
    listed = tomllib.loads(LIST.read_text(encoding="utf-8"))
    return [Mutation(name=name, **mutation) for name, mutation in listed.items()]


def run(tests: list[str], login: str, mutation: Mutation | None = None) -> tuple[int, str]:
    """Run tests on a copy of the template that has this login, with a mutation or as it is.

    Return _PASSED, _FAILED or any other number, and what was printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "template"
        shutil.copytree(TEMPLATE, project, ignore=_LEFT_OUT)
        chosen = (project / CHOICES).read_text(encoding="utf-8")
        chosen = re.sub(r"import \w+ as login", f"import {login} as login", chosen)
        (project / CHOICES).write_text(chosen, encoding="utf-8")
        if mutation:
            mutation.apply(project)
        words = tuple(str(TESTS / test) for test in tests)
        try:
            done = Program(project, words, run=_run).finish(_SECONDS)
        except subprocess.TimeoutExpired as endless:
            return _NO_ANSWER, str(endless)
        return done.returncode, done.stdout + done.stderr


class _Outcome:
    """A pytest plugin that tells a test that failed from one that could not run."""

    failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.when != "teardown" and report.failed


def _run(tests: tuple[str, ...]) -> int:
    """Run tests in this process, and return the outcome."""
    outcome = _Outcome()
    end = pytest.main([*_OPTIONS, *tests], [outcome])
    return _PASSED if end == 0 else _FAILED if outcome.failed else _NO_ANSWER


def main(words: list[str]) -> int:
    """Try the mutations whose name has one of these words in it; return how many were not noticed."""
    chosen = [
        mutation for mutation in mutations() if not words or any(word in mutation.name for word in words)
    ]
    if not chosen:
        sys.exit("no mutation is called so")
    for login in sorted({mutation.login for mutation in chosen}):
        end, printed = run(sorted({mutation.test for mutation in chosen if mutation.login == login}), login)
        if end != _PASSED:
            sys.exit(f"the tests fail with all guards in place\n{printed}")
    bad = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutation, trouble in zip(chosen, pool.map(_trouble, chosen), strict=True):
            if trouble:
                bad += 1
                print(f"{mutation.name}: {trouble}", flush=True)
    print(f"{len(chosen)} mutations, {len(chosen) - bad} noticed")
    return bad


def _trouble(mutation: Mutation) -> str:
    try:
        end, printed = run([mutation.test], mutation.login, mutation)
    except CannotMutate as error:
        return str(error)
    if end == _PASSED:
        return f"NOT NOTICED by {mutation.test}"
    return "" if end == _FAILED else f"{mutation.test} neither passed nor failed\n{printed}"


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
