"""The database's clock, carried forward between two looks at it.

Every time that is written comes from the server's clock, but asking for it costs a round trip. So each answer that
brings the clock along sets it here, and the monotonic clock carries it on, for a moment. What is shown is never
later than the server's clock: time on the way back counts for nothing, so a timer cannot be seen to be due early.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

#: Seconds for which the two clocks are taken to run at the same speed.
FRESH = 1.0


class Clock:
    """What one process knows of the server's clock."""

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._seen = 0.0

    def see(self, now: datetime) -> None:
        """Take in the server's clock, as an answer brought it; of two looks, the one that is further counts."""
        carried = self.now()
        if carried is None or now > carried:
            self._at, self._seen = now, time.monotonic()

    def now(self) -> datetime | None:
        """Return the server's time, or a moment before it; None when nobody looked lately."""
        passed = time.monotonic() - self._seen
        if self._at is None or passed > FRESH:
            return None
        return self._at + timedelta(seconds=passed)
