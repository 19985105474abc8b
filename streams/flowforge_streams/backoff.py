"""Waiting longer after every failure, with jitter, so that a fleet does not come back in one wave."""

import random
from collections.abc import Callable
from datetime import timedelta


class Backoff:
    """The delays between consecutive failures: none, then doubling from *first* up to *limit*, jittered."""

    def __init__(
        self,
        first: timedelta = timedelta(milliseconds=50),
        limit: timedelta = timedelta(seconds=2),
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._first = first.total_seconds()
        self._limit = limit.total_seconds()
        self._jitter = jitter
        self._failures = 0

    def next(self) -> float:
        """Count one more failure and return the seconds to wait: half to all of the doubled delay."""
        self._failures += 1
        if self._failures == 1:
            return 0.0
        # The exponent is bounded before it is used: a failure that lasts for days must not overflow.
        ceiling = min(self._limit, self._first * 2.0 ** min(self._failures - 2, 30))
        return ceiling * (0.5 + self._jitter() / 2)

    def reset(self) -> None:
        """Forget the failures: something worked."""
        self._failures = 0
