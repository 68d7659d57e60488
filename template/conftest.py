"""What is here is tested from here: a run of the project around this folder leaves it out."""

from pathlib import Path

import pytest


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave all of it out where the run began elsewhere."""
    return None if config.rootpath == Path(__file__).parent else True
