"""Named points at which a test can make the process die as if killed.

`FLOWFORGE_CRASH_AT=relay.after_xadd` kills the process with SIGKILL the first time that point is reached. Unset,
a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

_AT = os.environ.get("FLOWFORGE_CRASH_AT")


def crash_point(name: str) -> None:
    """Die here if a test asked for it."""
    if _AT is not None and name == _AT:
        os.kill(os.getpid(), signal.SIGKILL)
