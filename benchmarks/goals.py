"""What is promised of speed, and whether a run reached it: the list of issue 17."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from growth import FEW

Parts = dict[str, Any]
"""What each part found, by its name."""

NONE = "FastMCP, no"
_OURS = ("sqlite", "postgresql", "redis")


@dataclass(frozen=True)
class Goal:
    """One promise: what was measured, and what it must be at least, or at most."""

    topic: str
    """What explains it where it is not reached: see explained.py."""
    what: str
    measured: float
    bound: float
    unit: str = ""
    at_most: bool = False

    @property
    def reached(self) -> bool:
        """Whether it is, as it is written: to two digits."""
        measured = round(self.measured, 2)
        return measured <= self.bound if self.at_most else measured >= self.bound

    @property
    def row(self) -> str:
        """A row of the table of promises."""
        sign = "at most" if self.at_most else "at least"
        verdict = "reached" if self.reached else "**not reached**"
        return (
            f"| {self.what} | {sign} {self.bound:g}{self.unit} | {self.measured:.2f}{self.unit} | {verdict} |"
        )


def is_ours(name: str) -> bool:
    """Say whether the name of a side is one of this project."""
    return name.partition(",")[0] in _OURS


def goals(parts: Parts) -> list[Goal]:
    """Return all promises that parts of a run tell of."""
    found: list[Goal] = []
    for part, of in _GOALS.items():
        if part in parts:
            found += of(parts[part])
    return found


def ratios(work: str, name: str) -> dict[str, float]:
    """Return the least ratios of a side to others, by how the names of these begin."""
    if not is_ours(name):
        return {}
    storage, _, tokens = name.partition(", ")
    if work.startswith("tools/call"):
        return {NONE: 0.95 if storage == "sqlite" or tokens == "jwt" else 0.9}
    if work == "refresh":
        if storage == "sqlite":
            return {"oidc-provider": 1, "Cloudflare": 2, "better-auth": 20, "django": 20}
        return {f"sqlite, {tokens}": 0.8}
    return {"oidc-provider,": 0.6 if work == "registration" else 1}


def _of_works(works: dict[str, list[dict[str, Any]]]) -> Iterator[Goal]:
    for work, sides in works.items():
        for side in sides:
            for begins, least in ratios(work, side["name"]).items():
                for other in sides:
                    if other["name"].startswith(begins):
                        ratio = side["answers_per_second"] / other["answers_per_second"]
                        against = _against(work, other["name"])
                        yield Goal(work, f"{work}: {side['name']}, beside {against}", ratio, least)


def _against(work: str, name: str) -> str:
    return f"{name}: its discovery" if work == "JWKS" else name


def _of_storm(found: dict[str, Any]) -> Iterator[Goal]:
    for storage, told in found.items():
        what = f"{storage}: 99 of 100 checks while {told['sign_ins']:.0f} passwords a second are checked"
        yield Goal("storm", what, told["busy"], 20, " ms", at_most=True)


def _of_purge(found: dict[str, Any]) -> Iterator[Goal]:
    for storage, told in found.items():
        what = f"{storage}: the longest check while {told['grants']:,} expired grants are deleted"
        yield Goal("purge", what, told["busy"], 20, " ms", at_most=True)


def _of_growth(found: dict[str, Any]) -> Iterator[Goal]:
    for storage, told in found.items():
        for work, name in (("check", "a check"), ("rotate", "a refresh")):
            what = f"{storage}: {name} at {told['tokens']:,} living tokens, beside one at {FEW:,}"
            ratio = told[f"{work}_many"] / told[f"{work}_few"]
            yield Goal("growth", what, ratio, 1.2, at_most=True)


def _of_workers(found: dict[str, Any]) -> Iterator[Goal]:
    calls = found["calls"]
    ratio = calls["2"]["answers_per_second"] / calls["1"]["answers_per_second"]
    yield Goal("workers", "calls: two workers beside one, the load on the same two processors", ratio, 1.7)
    one, *others = found["writers"].items()
    for writers, rate in others:
        yield Goal("writers", f"SQLite: {writers} processes that write, beside one", rate / one[1], 1)


def _of_footprint(found: dict[str, Any]) -> Iterable[Goal]:
    return [
        Goal("footprint", f"{what}: processor", found["times"][what]["processor"], 1.5, " s", at_most=True)
        for what in ("`copier copy`", "`--help`")
    ]


_GOALS = {
    **dict.fromkeys(("calls", "refresh", "introspection", "documents", "registration"), _of_works),
    "storm": _of_storm,
    "purge": _of_purge,
    "growth": _of_growth,
    "workers": _of_workers,
    "footprint": _of_footprint,
}
