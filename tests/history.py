"""Tests that need earlier releases: without a history they are skipped with one line; CI stops there."""

import os

import pytest
from rendering import WITHOUT_HISTORY

if WITHOUT_HISTORY and os.environ.get("CI") == "true":
    pytest.exit(WITHOUT_HISTORY, 2)

needs_history = pytest.mark.skipif(bool(WITHOUT_HISTORY), reason=WITHOUT_HISTORY)
"""A test that looks at releases before this commit."""
