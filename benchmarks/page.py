"""The page docs/performance.md: its tables and its pictures, of what a run found."""

from collections.abc import Iterable
from html import escape
from typing import Any

import explained
import goals
from footprint import CONNECTIONS
from runs import REPOSITORY, Found

_PAGE = REPOSITORY / "docs" / "performance.md"
_PICTURE = REPOSITORY / "docs" / "pictures" / "performance.svg"
_BEGIN = "<!-- Made by benchmarks/run.py, {}: do not edit. -->\n"
_END = "<!-- Made by benchmarks/run.py, {}: until here. -->\n"
_WORKS = ("calls", "refresh", "introspection", "documents", "registration")
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


def tables(part: str, found: Found) -> list[str]:
    """Return the tables of what a part found, as lines."""
    if part in _WORKS:
        return [line for work, sides in found.items() for line in _sides(work, sides)]
    return _TABLES[part](found)


def write(kept: Found) -> None:
    """Write the parts of the page that are made, and the picture; what was not measured is left out."""
    parts = {part: one["found"] for part, one in kept["parts"].items()}
    promises = goals.goals(parts)
    made = {
        "promises": [
            f"{sum(one.reached for one in promises)} of {len(promises)} are reached.\n",
            "| What | Promised | Measured | |",
            "|---|---|--:|---|",
            *(one.row for one in promises),
        ],
        "reasons": list(explained.reasons(promises, parts)),
        "growth": list(explained.growing(parts)),
        "figures": [
            *_how(kept),
            *(line for part, found in parts.items() for line in [f"### {part}\n", *tables(part, found)]),
        ],
    }
    page = _PAGE.read_text(encoding="utf-8")
    for name, lines in made.items():
        begin, end = _BEGIN.format(name), _END.format(name)
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = "\n".join([f"{before}{begin}", *lines, f"\n{end}{after}"])
    _PAGE.write_text(page, encoding="utf-8")
    _PICTURE.write_text(_picture({work: parts[part][work] for part, work in _pictured(parts)}), "utf-8")


def _pictured(parts: dict[str, Any]) -> list[tuple[str, str]]:
    return [(part, work) for part in _WORKS for work in parts.get(part, {})]


def _how(kept: Found) -> list[str]:
    measured = {(one["rounds"], one["seconds"], one["on"]) for one in kept["parts"].values()}
    rounds = "; ".join(f"{rounds} rounds of {seconds} s, {on}" for rounds, seconds, on in sorted(measured))
    minutes = sum(one["took_seconds"] for one in kept["parts"].values()) / 60
    return [
        f"Commit {kept['code']}; {rounds}; {minutes:.0f} minutes in all. {kept['machine']}.\n",
        "The sides in turn, the middle of the rounds; servers on one processor, 16 connections of `wrk` from another.\n",
        f"{', '.join(kept['versions'])}.\n",
    ]


def _sides(work: str, sides: list[dict[str, Any]]) -> list[str]:
    return [
        f"**{work}**\n",
        "| Side | Answers a second | Processor, µs an answer | 99 of 100 within, ms | Ratios, by processor time |",
        "|---|--:|--:|--:|---|",
        *(
            f"| {one['name']} | {one['answers_per_second']:,.0f} | {one['processor_microseconds']:,.0f} |"
            f" {one['milliseconds_99']:.1f} | {'; '.join(_ratios(work, one, sides))} |"
            for one in sides
        ),
        "",
    ]


def _ratios(work: str, one: dict[str, Any], sides: list[dict[str, Any]]) -> Iterable[str]:
    for begins in goals.ratios(work, one["name"]):
        for other in sides:
            if other["name"].startswith(begins):
                ratio = one["answers_per_second"] / other["answers_per_second"]
                spent = other["processor_microseconds"] / one["processor_microseconds"]
                yield f"{ratio:.2f} of {other['name'].partition(',')[0]}, {spent:.2f}"


def _table(head: str, rows: Iterable[Iterable[object]]) -> list[str]:
    """Return a table; a number has its thousands and one digit behind the point."""
    columns = head.split(" | ")
    lines = [
        " | ".join(f"{cell:,.1f}" if isinstance(cell, float) else str(cell) for cell in row) for row in rows
    ]
    return [f"| {head} |", f"|---{'|--:' * (len(columns) - 1)}|", *(f"| {line} |" for line in lines), ""]


def _storm(found: Found) -> list[str]:
    head = "Storage | Passwords checked a second | 99 of 100 checks within, ms: calm | in the storm"
    return _table(head, ([name, one["sign_ins"], one["calm"], one["busy"]] for name, one in found.items()))


def _purge(found: Found) -> list[str]:
    head = "Storage | Expired grants | The longest check, ms: calm | during the purge | 99 of 100 within"
    rows = ([n, f"{one['grants']:,}", one["calm"], one["busy"], one["busy_99"]] for n, one in found.items())
    return _table(head, rows)


def _growth(found: Found) -> list[str]:
    head = "Storage | Living tokens | Check, µs: few | many | Refresh, µs: few | many | Bytes a grant | Filled in, s"
    names = ("check_few", "check_many", "rotate_few", "rotate_many", "bytes_a_grant", "filled_seconds")
    return _table(
        head, ([n, f"{one['tokens']:,}", *(one[name] for name in names)] for n, one in found.items())
    )


def _workers(found: Found) -> list[str]:
    calls = (
        [workers, one["answers_per_second"], one["processor_microseconds"]]
        for workers, one in found["calls"].items()
    )
    return [
        *_table("Processes that answer calls | Answers a second | Processor, µs an answer", calls),
        *_table("Processes that write to SQLite | Refreshes a second", found["writers"].items()),
    ]


def _footprint(found: Found) -> list[str]:
    memory = (
        [name, one["started"] / 1e6, (one["connected"] - one["started"]) / 1e6]
        for name, one in found["memory"].items()
    )
    times = ([name, f"{one['processor']:.2f}", f"{one['wall']:.2f}"] for name, one in found["times"].items())
    return [
        *_table(f"Memory | MB | MB more with {CONNECTIONS:,} open connections", memory),
        *_table("Until it is done | Processor, s | Wall, s", times),
    ]


def _profile(found: Found) -> list[str]:
    layers = dict.fromkeys(layer for shares in found.values() for layer in shares)
    rows = (
        [layer, *(f"{shares.get(layer, 0):.0%}" for shares in found.values())]
        for layer in sorted(layers, key=lambda layer: -sum(one.get(layer, 0) for one in found.values()))
    )
    return _table(" | ".join(["Whose code was at work", *found]), rows)


_TABLES = {
    "storm": _storm,
    "purge": _purge,
    "growth": _growth,
    "workers": _workers,
    "footprint": _footprint,
    "profile": _profile,
}


def _picture(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return bars: for each work, what each side answers in a second."""
    drawn, y = [], 10
    for work, found in results.items():
        y += 26
        drawn.append(f'<text class="work" x="10" y="{y}">{escape(work)}, answers a second</text>')
        most = max(one["answers_per_second"] for one in found)
        for one in found:
            name, rate = escape(one["name"]), one["answers_per_second"]
            y += _ROW
            width = max(1.0, (_WIDTH - _NAMES - 90) * rate / most)
            kind = "ours" if goals.is_ours(one["name"]) else "other"
            drawn += [
                f'<text x="10" y="{y}">{name}</text>',
                f'<rect class="{kind}" x="{_NAMES}" y="{y - 12}" width="{width:.0f}" height="14"/>',
                f'<text x="{_NAMES + width + 8:.0f}" y="{y}">{rate:,.0f}</text>',
            ]
        y += 10
    label = "Answers a second of each side, for each work"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 10}" role="img"'
        f' aria-label="{label}">\n<style>{_STYLE}</style>'
    )
    paper = f'<rect class="paper" width="{_WIDTH}" height="{y + 10}"/>'
    return "\n".join([head, paper, *drawn, "</svg>", ""])
