"""What a project declares, followed to its end in what is installed here: the packages that it would have.

This environment has those of all choices, resolved by uv as of the same day: nothing is resolved again.
"""

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def declared(project: Path, *groups: str) -> frozenset[str]:
    """Return the packages of a project, with those of dependency groups; raises AssertionError.

    It does where a requirement is met by nothing that is installed.
    """
    told = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    lists = [told["project"]["dependencies"], *(told["dependency-groups"][group] for group in groups)]
    found: set[tuple[str, str]] = set()
    _follow((one for requirements in lists for one in requirements), "", found)
    return frozenset(name for name, _ in found)


def _follow(requirements: Iterable[str], extra: str, found: set[tuple[str, str]]) -> None:
    for requirement in map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        assert requirement.specifier.contains(distribution(name).version, prereleases=True), str(requirement)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in found:
                found.add((name, wanted))
                _follow(_requires(name), wanted, found)


@cache
def _requires(name: str) -> tuple[str, ...]:
    return tuple(distribution(name).requires or ())
