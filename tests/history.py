"""Tests that need earlier releases: without a history they are skipped with one line; CI stops there."""

import os

import pytest
from rendering import WITHOUT_HISTORY

needs_history = pytest.mark.skipif(bool(WITHOUT_HISTORY), reason=f"what needs the history: {WITHOUT_HISTORY}")
"""A test that looks at releases before this commit."""


def require_in_ci() -> None:
    """Refuse to begin where nobody would read what was skipped."""
    if WITHOUT_HISTORY and os.environ.get("CI") == "true":
        raise pytest.UsageError(f"CI=true needs the history: {WITHOUT_HISTORY}")
