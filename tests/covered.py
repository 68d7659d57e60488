"""Which lines of `authserver` its own tests run, in all combinations: where COVERAGE names a folder for it.

CI measures it with the README's command, and fails below the floor.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "template" / "src"

FLOOR_PERCENT = 97
"""Lower it only with a reason in the commit."""


@contextmanager
def measured(project: Path) -> Iterator[None]:
    """Measure what runs meanwhile of a project's sources, if anybody asks for it."""
    folder = os.environ.get("COVERAGE")
    if not folder:
        yield
        return
    from coverage import Coverage  # noqa: PLC0415  # most forks measure nothing

    sources = [str(project / "src" / "authserver")]
    coverage = Coverage(Path(folder) / "part", data_suffix=True, config_file=False, source=sources)
    coverage.start()
    try:
        yield
    finally:
        coverage.stop()
        coverage.save()


def report(folder: Path) -> tuple[float, str]:
    """Return the percentage of lines that were run in any project, and a table of the others."""
    from coverage import Coverage  # noqa: PLC0415

    coverage = Coverage(folder / "part", config_file=False)
    coverage.set_option("paths", {"source": [str(SOURCES), "*/my-server/src"]})
    coverage.combine([str(folder)])
    table = StringIO()
    percent = coverage.report(file=table, skip_covered=True, show_missing=True)
    return percent, table.getvalue()
