"""What an update left behind: edits of files that the release before had, and this one has not.

Copier deletes such a file with what was changed in it, and says nothing. Git still has it.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from authserver.doctor.manifest import MANIFEST, Manifest, Project, content_hash, read_manifest
from authserver.findings import Finding, note


def left_behind(project: Project, manifest: Manifest) -> Iterator[Finding]:
    """Find that a file that you had altered is gone since the last update.

    Source: this template.

    Nothing is said where git cannot tell: no git, no history, or a release before 0.2.0, without a manifest.
    """
    before = revision_before_update(project.root) if project.root else None
    old = before and _content(project.root, before, MANIFEST)
    if not old:
        return
    for path, written in read_manifest(old).hashes.items():
        if path in manifest.hashes:
            continue
        content = _content(project.root, before, path)
        if content is not None and content_hash(content) != written:
            yield note(
                path,
                "left behind: the update took the file away, and with it what you had changed",
                f"git show {before}:./{path} shows it; UPGRADING.md says where its code is now",
            )


def revision_before_update(root: Path | None) -> str | None:
    """Return the revision that an update, committed or not, began with; None where git does not know."""
    if _git(root, "status", "--porcelain", "--", MANIFEST):
        return "HEAD"
    updated = (_git(root, "log", "-1", "--format=%h", "--", MANIFEST) or b"").decode().strip()
    return f"{updated}^" if updated and _git(root, "rev-parse", "--verify", f"{updated}^") else None


def _content(root: Path | None, revision: str | None, path: str) -> bytes | None:
    return _git(root, "show", f"{revision}:./{path}")


def _git(root: Path | None, *words: str) -> bytes | None:
    """Return what a command of git prints; None where it fails."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)  # noqa: S603, S607
    except OSError:
        return None
    return None if done.returncode else done.stdout
