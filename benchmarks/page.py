"""The tables and the picture of docs/performance.md."""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
_PAGE, _PICTURE = DOCS / "performance.md", DOCS / "pictures" / "performance.svg"
_BEGIN = "<!-- Made by benchmarks/run.py: do not edit below. -->\n"
_END = "<!-- Made by benchmarks/run.py: until here. -->\n"
_STYLE = """
  svg { --paper: #ffffff; --ink: #1f2328; --quiet: #59636e; --ours: #0b57d0; --other: #c8d1da }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #f0f6fc; --quiet: #a3adb8; --ours: #79b8ff; --other: #3d444d }
  }
  .paper { fill: var(--paper) } .ours { fill: var(--ours) } .other { fill: var(--other) }
  text { font: 13px system-ui, sans-serif; fill: var(--quiet) }
  .work { font-weight: 600; fill: var(--ink) }
"""
_WIDTH, _NAMES, _ROW = 920, 260, 20


@dataclass(frozen=True)
class Result:
    """The middle of the rounds of one side."""

    name: str
    answers_per_second: float
    processor_microseconds: float
    milliseconds_99: float

    @property
    def ours(self) -> bool:
        """Whether it is this project."""
        return self.name.partition(",")[0] in ("sqlite", "postgresql", "redis")


# What is promised of a work: the side that it is compared with, and for each of ours the least ratio to it.
def goals(work: str, result: Result) -> dict[str, float]:
    """Return the least ratios of a side of ours to others, by how the names of these begin."""
    if not result.ours:
        return {}
    storage, _, tokens = result.name.partition(", ")
    if work.startswith("tools/call"):
        return {"FastMCP, no": 0.95 if storage == "sqlite" or tokens == "jwt" else 0.9}
    if work == "refresh":
        if storage == "sqlite":
            return {"oidc-provider": 1, "Cloudflare": 2, "django": 20}
        return {f"sqlite, {tokens}": 0.8}
    return {"oidc-provider": {"registration": 0.6}.get(work, 1.0)}


def table(work: str, results: list[Result]) -> str:
    """Return the table of a work: each side, and its ratios where one is promised."""
    rows = [
        f"| {one.name} | {one.answers_per_second:,.0f} | {one.processor_microseconds:,.0f} |"
        f" {one.milliseconds_99:.1f} | {'; '.join(_ratios(work, one, results))} |"
        for one in results
    ]
    head = "| Side | Answers a second | Processor, µs an answer | 99 of 100 within, ms | Ratios |"
    return "\n".join([f"### {work}\n", head, "|---|--:|--:|--:|---|", *rows, ""])


def _ratios(work: str, one: Result, results: list[Result]) -> Iterable[str]:
    for begins, least in goals(work, one).items():
        for other in results:
            if other.name.startswith(begins):
                ratio = one.answers_per_second / other.answers_per_second
                reached = "reached" if ratio >= least else "not reached"
                spent = other.processor_microseconds / one.processor_microseconds
                told = f"{ratio:.2f} of {other.name.partition(',')[0]}, {spent:.2f} by processor time"
                yield f"{told} (goal {least:g}: {reached})"


def write(results: dict[str, list[Result]], versions: list[str], *, seconds: int, rounds: int) -> None:
    """Write tables and picture."""
    before, _, rest = _PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    how = f"{rounds} rounds of {seconds} s for each side, the sides in turn; the middle of the rounds"
    told = [
        f"{_machine()}. {how}. Servers on one processor, 16 connections of `wrk` from another.\n",
        f"{', '.join(versions)}; Python {platform.python_version()}.\n",
        *(table(work, found) for work, found in results.items()),
    ]
    _PAGE.write_text(f"{before}{_BEGIN}\n{chr(10).join(told)}\n{_END}{after}", encoding="utf-8")
    _PICTURE.write_text(_picture(results), encoding="utf-8")


def _machine() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    processor = names[0] if names else platform.machine()
    linux = platform.release().partition("-")[0]
    return f"{os.cpu_count()} processors ({processor}), {memory:.0f} GiB, Linux {linux}"


def _picture(results: dict[str, list[Result]]) -> str:
    """Return bars: for each work, what each side answers in a second."""
    drawn, y = [], 10
    for work, found in results.items():
        y += 26
        drawn.append(f'<text class="work" x="10" y="{y}">{escape(work)}, answers a second</text>')
        most = max(one.answers_per_second for one in found)
        for one in found:
            y += _ROW
            width = max(1.0, (_WIDTH - _NAMES - 90) * one.answers_per_second / most)
            kind = "ours" if one.ours else "other"
            drawn += [
                f'<text x="10" y="{y}">{escape(one.name)}</text>',
                f'<rect class="{kind}" x="{_NAMES}" y="{y - 12}" width="{width:.0f}" height="14"/>',
                f'<text x="{_NAMES + width + 8:.0f}" y="{y}">{one.answers_per_second:,.0f}</text>',
            ]
        y += 10
    label = "Answers a second of each side, for each work"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 10}" role="img"'
        f' aria-label="{label}">\n<style>{_STYLE}</style>'
    )
    paper = f'<rect class="paper" width="{_WIDTH}" height="{y + 10}"/>'
    return "\n".join([head, paper, *drawn, "</svg>", ""])
