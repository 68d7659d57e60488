"""Tests that need the releases before: skipped with one line where the source has no history, but not in CI."""

import os

import pytest
from rendering import WITHOUT_HISTORY

if WITHOUT_HISTORY and os.environ.get("CI") == "true":
    pytest.exit(WITHOUT_HISTORY, 2)

needs_history = pytest.mark.skipif(bool(WITHOUT_HISTORY), reason=WITHOUT_HISTORY)
"""A test that looks at releases before this commit."""
