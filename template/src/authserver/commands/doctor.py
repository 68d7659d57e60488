"""`doctor`: what is unsafe, and what is not as the template wrote it."""
# ruff: noqa: PLC0415

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from authserver.commands import Json, opened, say
from authserver.commands.app import AppError, load_app

if TYPE_CHECKING:
    from authserver.findings import Finding


async def doctor(*, advisory: Path | None = None, as_json: Json = False) -> None:
    """Say what is unsafe for production, and which files are not as the template wrote them.

    Ends with 1 when something is unsafe.

    Parameters
    ----------
    advisory
        Say instead whether this advisory concerns the project. Ends with 1 unless its flaw is fixed, and
        somebody whom the project knows signed that.
    """
    from authserver.doctor.advisories import judge, read_advisory, read_file
    from authserver.doctor.left_behind import left_behind
    from authserver.doctor.manifest import compare, load_manifest, this_project
    from authserver.doctor.signatures import check_signature, signers_unknown
    from authserver.doctor.state import examine

    project, manifest = this_project(), load_manifest()
    if advisory is not None:
        content = read_file(advisory)
        doubts = list(check_signature(advisory, content))
        found = [*judge(read_advisory(advisory, content), project, manifest), *doubts]
    else:
        async with opened() as server:
            found = [finding async for finding in examine(server)]
            found += [finding async for finding in _examine_app()]
        found += [*compare(project, manifest), *left_behind(project, manifest), *signers_unknown()]
    for finding in found:
        say(json.dumps(asdict(finding)) if as_json else str(finding))
    harmful = sum(not finding.harmless for finding in found)
    if not as_json:
        say(f"{harmful or 'nothing'} unsafe")
    if harmful:
        sys.exit(1)


async def _examine_app() -> AsyncIterator["Finding"]:
    """Judge the tools of `app`; that it cannot be imported hides nothing else."""
    from authserver.doctor.components import examine_components
    from authserver.findings import unsafe

    try:
        mcp, server = load_app()
    except AppError as error:
        yield unsafe("app", str(error), "Mend it: the server does not start")
        return
    async for finding in examine_components(mcp, server):
        yield finding
