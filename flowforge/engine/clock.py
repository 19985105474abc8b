"""The clock that leases are watched by: it never jumps, and it goes on while the machine sleeps.

The monotonic clock of Linux stands still in a suspended machine, and would call a lease fresh that ended hours ago.
"""

from __future__ import annotations

import sys
import time

if sys.platform == "linux":

    def now() -> float:
        """Return seconds since some moment in the past."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    now = time.monotonic
