"""A logger that cannot be flooded: at most two lines a second, the rest counted into the next line."""

import logging
import time
from collections.abc import Callable

_INTERVAL = 0.5  # seconds between two lines


class ThrottledLog:
    """Warnings of one source, at most two a second."""

    def __init__(self, logger: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._open_at = 0.0
        self._held_back = 0

    def warning(self, message: str, *args: object) -> None:
        """Log *message* unless the last line is less than half a second old."""
        now = self._clock()
        if now < self._open_at:
            self._held_back += 1
            return
        self._open_at = now + _INTERVAL
        if self._held_back:
            message, args = f"{message} (and %d like it)", (*args, self._held_back)
        self._held_back = 0
        self._logger.warning(message, *args)
