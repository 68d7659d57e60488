"""The stair of docs/architecture.md: its picture and its table. `uv run python tests/stair.py` writes both.

A room is a file or a folder of `authserver`. It imports rooms of lower steps only. `test_stair.py` compares
this list with the code and with both documents.
"""

import ast
from collections.abc import Iterator
from html import escape
from pathlib import Path

from rendering import AXES, REPOSITORY, TEMPLATE, choices

SOURCE = TEMPLATE / "src"
DOCUMENT = REPOSITORY / "docs" / "architecture.md"
PICTURE = REPOSITORY / "docs" / "pictures" / "stair.svg"

THE_CHOICE = "login/*"
"""The room of the login that was chosen; `login` is the protocol that all of them fulfil."""

STEPS: list[tuple[tuple[str, ...], str]] = [
    (
        (
            "errors",
            "limits",
            "clock",
            "audit",
            "findings",
            "folders",
            "install",
            "private_files",
            "uris",
        ),
        "the ground: used by all, and using nothing of ours",
    ),
    (
        ("settings", "warned", "logs"),
        "what can be set in every project; warnings; the log",
    ),
    (
        ("model", "requests", "pages", "tls"),
        "records and rules; reading a request; drawing a page; TLS without a proxy",
    ),
    (("storage",), "the protocol of a store, and the chosen engine: every atomic step"),
    (("crypto",), "random values and digests; sealing; keys made from the secret key"),
    (("tokens", "backup"), "the chosen format of access tokens; all that is stored, in a file"),
    (
        ("issuing", "login", "refused_scopes"),
        "answers with tokens; the protocol of a login; what calls lacked",
    ),
    (("provider",), "FastMCP's ten methods, in the order of the flow"),
    (
        ("browser", "endpoints", "background", "upstream"),
        "pages; programs; what runs beside; worked around",
    ),
    (
        ("with_password", "components"),
        "what logins with a password share: form, second factor; what the tools of `app` need",
    ),
    ((THE_CHOICE, "middleware"), "the chosen login; what every request passes"),
    (("choices", "routes"), "the three answers; every path"),
    (("all_settings",), "what can be set in this project, those of the choices too"),
    (("server",), "AuthorizationServer: puts all together"),
    (("authserver",), "`__init__`: the three names that your `app` imports"),
    (("doctor",), "what is unsafe, and which files are not the release's"),
    (("commands",), "what an operator types"),
    (("cli", "asgi"), "where a process begins"),
]
"""From the ground up: the rooms of a step, and what is there."""


def modules() -> dict[str, Path]:
    """Return the modules of `authserver` by name."""
    return {
        ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (SOURCE / "authserver").rglob("*.py")
    }


def room(module: str) -> str:
    """Return the room that a module belongs to."""
    _, *inside = module.split(".")
    if not inside:
        return "authserver"
    return THE_CHOICE if inside[0] == "login" and inside[1:] else inside[0]


def choice(module: str) -> str | None:
    """Return the choice that a module belongs to, `authserver.storage.sqlite`; None for others."""
    _, *inside = module.split(".")
    chosen = len(inside) > 1 and inside[0] in AXES and inside[1] in choices(inside[0])
    return ".".join(["authserver", *inside[:2]]) if chosen else None


def imports() -> Iterator[tuple[str, str]]:
    """Yield who imports whom, as names of modules; also for types and inside functions."""
    found = modules()
    for module, path in found.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                for name in node.names:
                    for imported in (f"{node.module}.{name.name}", f"{node.module}"):
                        if imported in found:
                            yield module, imported
                            break
            elif isinstance(node, ast.Import):
                yield from ((module, name.name) for name in node.names if name.name in found)


# ---------------------------------------------------------------- the table and the picture

_BEGIN = "<!-- Made by tests/stair.py: do not edit below. -->\n"
_END = "<!-- Made by tests/stair.py: until here. -->\n"
_ROW, _SHIFT, _WIDTH, _MARGIN = 40, 17, 920, 20
_NAMES_AND_WORDS = 4
_STYLE = """
  svg { --paper: #ffffff; --ink: #1f2328; --quiet: #59636e; --step: #f0f3f6;
        --line: #c8d1da; --axis: #0b57d0 }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #f0f6fc; --quiet: #a3adb8; --step: #1b222b;
          --line: #3d444d; --axis: #79b8ff }
  }
  .paper { fill: var(--paper) } .step { fill: var(--step); stroke: var(--line) }
  text { font: 14px system-ui, sans-serif; fill: var(--quiet) }
  .room { font: 600 14px ui-monospace, monospace; fill: var(--ink) } .axis { fill: var(--axis) }
  .arrow { stroke: var(--quiet); stroke-width: 2; fill: none } .head { fill: var(--quiet) }
"""


def table() -> str:
    """Return the table, the highest step first."""
    rows = [
        f"| {number} | {', '.join(f'`{name}`' for name in rooms)} | {what} |"
        for number, (rooms, what) in reversed(list(enumerate(STEPS, 1)))
    ]
    return "\n".join(["| Step | Rooms | What is there |", "|---|---|---|", *rows, ""])


def document() -> str:
    """Return the document with the table as it should be."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table()}\n{_END}{after}"


def picture() -> str:
    """Return the picture, as SVG that follows the browser's light or dark."""
    height = _ROW * len(STEPS) + 2 * _MARGIN
    steps = []
    for number, (rooms, what) in enumerate(STEPS):
        x, y = _MARGIN + _SHIFT * number, height - _MARGIN - _ROW * (number + 1)
        names = "<tspan> · </tspan>".join(_name(name) for name in rooms)
        words = escape(what.replace("`", "")) if len(rooms) <= _NAMES_AND_WORDS else ""
        width = _WIDTH - _MARGIN - x
        steps.append(
            f'<rect class="step" x="{x}" y="{y}" width="{width}" height="{_ROW - 4}" rx="4"/>\n'
            f'<text x="{x + 12}" y="{y + 23}">{names}<tspan dx="14">{words}</tspan></text>'
        )
    arrow = (
        '<path class="arrow" d="M 150 60 L 60 290"/><path class="head" d="M 54 302 l 0 -14 l 12 5 z"/>\n'
        f'<text x="{_MARGIN}" y="34">Imports go down, never up.</text>\n'
        f'<text x="{_MARGIN}" y="54"><tspan class="axis">Blue: one of several was chosen.</tspan></text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="The rooms of authserver as a stair: each imports lower ones only">\n'
        f'<style>{_STYLE}</style>\n<rect class="paper" width="{_WIDTH}" height="{height}"/>\n'
        + "\n".join([*steps, arrow, "</svg>\n"])
    )


def _name(name: str) -> str:
    chosen = name in {"storage", "tokens", THE_CHOICE}
    return f'<tspan class="room{" axis" if chosen else ""}">{escape(name)}</tspan>'


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    DOCUMENT.write_text(document(), encoding="utf-8")
