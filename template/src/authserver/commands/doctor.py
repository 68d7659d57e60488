"""`doctor`: what is unsafe, and what is not as the template wrote it."""
# ruff: noqa: PLC0415

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from authserver.commands import Json, opened, say
from authserver.commands.app import AppError, load_app

if TYPE_CHECKING:
    from authserver.findings import Finding
    from authserver.server import AuthorizationServer


async def doctor(
    *,
    advisory: Path | None = None,
    backups: Path | None = None,
    certificate: Path | None = None,
    as_json: Json = False,
) -> None:
    """Say what is unsafe for production, and which files are not as the template wrote them.

    Ends with 1 when something is unsafe.

    Parameters
    ----------
    advisory
        Say instead whether this advisory concerns the project. Ends with 1 unless its flaw is fixed, and
        somebody whom the project knows signed that.
    backups
        The folder into which `backup --keep` writes: judge the newest one, too.
    certificate
        The file with the certificate of the proxy in front: judge how long it is good, too.
    """
    from authserver.doctor.advisories import judge, read_advisory, read_file
    from authserver.doctor.backups import check_backups
    from authserver.doctor.manifest import load_manifest, this_project
    from authserver.doctor.signatures import check_signature

    if advisory is not None:
        content = read_file(advisory)
        doubts = list(check_signature(advisory, content))
        found = [*judge(read_advisory(advisory, content), this_project(), load_manifest()), *doubts]
        found = [replace(finding, rule="advisory") for finding in found]
    else:
        async with opened() as server:
            found = [finding async for finding in _examine(server, certificate)]
        found += check_backups(backups) if backups is not None else ()
        found += _examine_files()
    for finding in found:
        say(json.dumps(finding.row()) if as_json else str(finding))
    harmful = sum(not finding.harmless for finding in found)
    if not as_json:
        say(f"{harmful or 'nothing'} unsafe")
    if harmful:
        sys.exit(1)


async def _examine(server: "AuthorizationServer", certificate: Path | None) -> AsyncIterator["Finding"]:
    """Judge the open server and the tools of `app`; that it cannot be imported hides nothing else."""
    from authserver.doctor import components
    from authserver.doctor.certificate import proxys_certificate_ends
    from authserver.doctor.state import examine
    from authserver.findings import judged

    async for finding in examine(server):
        yield finding
    if certificate is not None:
        for finding in judged([proxys_certificate_ends], certificate):
            yield finding
    try:
        loaded = load_app()
    except AppError as error:
        for finding in judged([components.broken_app], str(error)):
            yield finding
        return
    async for finding in components.examine_components(*loaded):
        yield finding


def _examine_files() -> list["Finding"]:
    """Compare the project with its release."""
    from authserver.doctor.left_behind import left_behind
    from authserver.doctor.manifest import changed_files, load_manifest, this_project
    from authserver.doctor.signatures import signers_unknown
    from authserver.findings import judged

    project, manifest = this_project(), load_manifest()
    return [*judged((changed_files, left_behind), project, manifest), *judged([signers_unknown])]
