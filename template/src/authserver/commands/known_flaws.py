"""`known-flaws`: which libraries that are installed here have flaws that a file knows."""
# ruff: noqa: PLC0415

import json
import sys
from dataclasses import asdict
from pathlib import Path

from authserver.commands import Json, say


def known_flaws(file: Path, /, *, accept: tuple[str, ...] = (), as_json: Json = False) -> None:
    """Say which of the installed libraries have known flaws. Nobody is asked: a file has them.

    Ends with 1 when one has, or when the file is old.

    Parameters
    ----------
    file
        The records of osv.dev about PyPI: its zip, or a folder of them.
    accept
        A flaw that is no failure, by its id or alias; may be repeated.
    """
    from authserver.doctor.known_flaws import installed, judge

    libraries = installed()
    found = list(judge(file, libraries, accept))
    for finding in found:
        say(json.dumps(asdict(finding)) if as_json else str(finding))
    harmful = sum(not finding.harmless for finding in found)
    if not as_json:
        say(f"{len(libraries)} libraries, {harmful or 'nothing'} unsafe")
    if harmful:
        sys.exit(1)
