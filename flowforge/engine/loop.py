"""The shape of every background duty: one unit of work at a time, a pause between, an end when asked.

A duty that fails because a server is away tries again with growing pauses; anything else is a defect, is logged
with its traceback, and does not stop the duty. Tests call `run_once` and never wait.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod

from flowforge.errors import BackendError
from flowforge_streams.errors import StreamError

log = logging.getLogger(__name__)


class Loop(ABC):
    """One duty of a worker."""

    #: Seconds between two units when there is nothing to do.
    pause: float = 1.0
    #: The longest pause after repeated failures, in seconds.
    longest_pause: float = 5.0

    #: Whether the last unit asked a server anything; a unit that had nothing to ask does not end an outage.
    proven: bool = True

    def __init__(self) -> None:
        self._stopping = asyncio.Event()
        self._nudged = asyncio.Event()
        self._failures = 0

    @property
    def name(self) -> str:
        """What the duty is called in logs."""
        return type(self).__name__.lower()

    @abstractmethod
    async def run_once(self) -> float | None:
        """Do one unit of work; return the seconds to pause, None for the usual pause."""

    def nudge(self) -> None:
        """End the current pause: there is something to do."""
        self._nudged.set()

    def stop(self) -> None:
        """Ask the duty to end after the unit at hand."""
        self._stopping.set()
        self._nudged.set()

    async def run(self) -> None:
        """Do the duty until stopped."""
        while not self._stopping.is_set():
            self._nudged.clear()
            pause = await self._guarded()
            if pause > 0 and not self._nudged.is_set():
                await self._sleep(pause)

    async def _guarded(self) -> float:
        try:
            pause: float | None = await self.run_once()
        except (BackendError, StreamError) as error:
            return self._failed(error, traceback=False)
        except Exception as error:  # noqa: BLE001 - a defect in one unit must not end the duty
            return self._failed(error, traceback=True)
        if self._failures and self.proven:
            log.info("%s works again", self.name)
            self._failures = 0
        return float(self.pause if pause is None else pause)

    def _failed(self, error: Exception, *, traceback: bool) -> float:
        """Log a failure, once per outage unless it changes, and return the pause before the next try."""
        self._failures += 1
        if traceback:
            log.error("%s failed", self.name, exc_info=error)
        elif self._failures == 1:
            log.warning("%s waits: %s", self.name, error)
        ceiling = min(self.longest_pause, 0.1 * 2.0 ** min(self._failures, 8))
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            return
