"""What a run of the tests did is counted in its report: `uv run pytest --junit-xml=report.xml`."""

from collections.abc import Callable

import pytest

Count = Callable[[str, object], None]
"""pytest's `record_property`: what was done, how often."""


@pytest.fixture(autouse=True)
def _count_attacks(request: pytest.FixtureRequest, record_property: Count) -> None:
    if (getattr(request.function, "__doc__", None) or "").startswith("Attack"):
        record_property("attacks", 1)
