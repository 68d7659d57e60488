"""The clock of this process: all else reads time here, so that tests move it here.

What expires in a store expires by the store's clock (`storage`); this one is for what no store decides.
"""

import time


def now() -> float:
    """Return the time in seconds since 1970 (UTC)."""
    return time.time()


def elapsed() -> float:
    """Return the seconds of a clock that is never set. It may stand still while a machine sleeps."""
    return time.monotonic()
