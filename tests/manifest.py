"""The hashes of the files that projects get, for `doctor`: `uv run python tests/manifest.py` writes them.

A file that not all projects have, or not all the same, is listed with the answers that it is written with.
"""

import hashlib
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rendering import (
    AXES,
    REPOSITORY,
    Answers,
    choices,
    clone,
    combinations,
    files,
    render,
    title,
    without_history,
)

PATH = "src/authserver/manifest.json"
_FOLDERS = ("src/authserver/", "tests/authserver/")


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def release(changelog: str) -> str:
    """Return the newest release that a changelog names, and whether there is more since."""
    heading = re.search(r"^## (\d+\.\d+\.\d+)$", changelog, re.MULTILINE)
    since = re.search(r"^## Unreleased\n+(?!##)\S", changelog, re.MULTILINE)
    return (heading[1] if heading else "0.0.0") + ("+unreleased" if since else "")


def manifest(rendered: Callable[[Answers], Path]) -> str:
    """Return the manifest of these projects: an entry a line, so that git merges it."""
    written: dict[tuple[str, str], list[Answers]] = defaultdict(list)
    for answers in combinations(*AXES):
        for path, content in files(rendered(answers)).items():
            if path.startswith(_FOLDERS) and path != PATH:
                written[path, sha256(content)].append(answers)
    entries = ",\n".join(
        json.dumps({"path": path, "sha256": found} | _with_answers(written[path, found]))
        for path, found in sorted(written, key=lambda key: (key[0], title(written[key][0])))
    )
    number = release((REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"))
    return f'{{"release": {json.dumps(number)}, "files": [\n{entries}\n]}}\n'


def _with_answers(found: list[Answers]) -> dict[str, Any]:
    """Return the answers that a file is written with; they must be a product, one set for each axis."""
    product = {axis: [value for value in choices(axis) if _any(found, axis, value)] for axis in AXES}
    count = len(product["storage"]) * len(product["login"]) * len(product["tokens"])
    assert count == len(found), f"no product of answers: {found}"
    answers = {axis: values for axis, values in product.items() if values != choices(axis)}
    return {"answers": answers} if answers else {}


def _any(found: list[Answers], axis: str, value: str) -> bool:
    return any(answers[axis] == value for answers in found)


def entries(text: str) -> Iterator[dict[str, Any]]:
    """Return the files of a manifest."""
    yield from json.loads(text)["files"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        plain = without_history(clone(folder / "clone", "999.0.0"), folder / "template")
        made = manifest(lambda answers: render(plain, folder / title(answers) / "my-server", **answers))
    (REPOSITORY / "template" / PATH).write_text(made, encoding="utf-8")
