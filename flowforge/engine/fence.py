"""The fence: stops attempts whose lease could not be confirmed, before anybody else may start them.

    2/3 of a lease without a confirmed renewal: stop the attempt and settle nothing

It waits for nobody: not for Postgres, whose silence is what it guards against, and not for the event loop. Whoever
is stopped here has a third of the lease to be gone; functions are given half of that before they are killed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeAlias

from flowforge.engine import clock
from flowforge.engine.holdings import Held, Holdings, Stop

log = logging.getLogger(__name__)

#: Runs a function in the event loop: `loop.call_soon_threadsafe`.
Tell: TypeAlias = Callable[[Callable[[], None]], object]

#: The part of a lease after which an attempt is stopped, and the part that a function then gets to end by itself.
STOP_AFTER, KILL_AFTER = 2 / 3, 1 / 6


class Fence:
    """A thread that looks at the age of renewals, and at nothing else."""

    def __init__(self, holdings: Holdings, lease: timedelta, tell: Tell) -> None:
        self._holdings, self._lease, self._tell = holdings, lease.total_seconds(), tell
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fence", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopping.wait(self._lease / 16):
            self.check()

    def check(self) -> None:
        """Stop what was renewed too long ago."""
        limit = clock.now() - self._lease * STOP_AFTER
        stop([held for held in self._holdings.all() if held.renewed < limit], Stop.LOST, self._tell)


def stop(which: Sequence[Held], why: Stop, tell: Tell) -> None:
    """Tell the event loop to stop attempts, unless they are stopping or settling already."""
    for held in which:
        if held.stop is None and not held.settling:
            if why is Stop.LOST:
                log.warning("lease of %s is gone; stopping the attempt", held.name)
            tell(lambda held=held: held.interrupt(why))  # type: ignore[misc]
