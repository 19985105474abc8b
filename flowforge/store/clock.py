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
#: Seconds between question and answer after which the answer does not set the clock.
LONGEST_WAY = 0.5


class Clock:
    """What one process knows of the server's clock."""

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._seen = 0.0

    @staticmethod
    def asks() -> float:
        """Return the moment at which somebody asks for what brings the clock along."""
        return time.monotonic()

    def see(self, now: datetime, asked: float) -> None:
        """Take in the server's clock, as the answer to a question brought it; of two looks, the further one counts.

        An answer that was long on its way says nothing: carried on from here, it would date what follows too early.
        """
        if time.monotonic() - asked > LONGEST_WAY:
            return
        carried = self.now()
        if carried is None or now > carried:
            self._at, self._seen = now, time.monotonic()

    def now(self) -> datetime | None:
        """Return the server's time, or a moment before it; None when nobody looked lately."""
        passed = time.monotonic() - self._seen
        if self._at is None or passed > FRESH:
            return None
        return self._at + timedelta(seconds=passed)
