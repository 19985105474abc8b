"""Retry policies: whether a failure earns another attempt, and how long to wait for it.

Pure: jitter is an argument between 0 and 1, so a decision can be repeated exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from flowforge.model.outcome import StepError


class Backoff(StrEnum):
    """How the delay grows with each failure."""

    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again (source document 004, RetryStrategy; defaults from design.md section 4)."""

    max_attempts: int = 3
    backoff: Backoff = Backoff.EXPONENTIAL
    initial_delay: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    max_delay: timedelta = timedelta(minutes=5)
    jitter: bool = True
    #: Kinds or codes that are tried again; None means every error that says it is retryable.
    retry_on: tuple[str, ...] | None = None
    #: Longest time of all attempts together, waits included; None: no limit.
    max_elapsed: timedelta | None = None
    #: Attempts that may be lost with their worker before the step is parked as poison; None: as the installation says.
    max_crashes: int | None = None

    def allows(self, error: StepError, failures: int) -> bool:
        """Say whether another attempt follows the *failures*-th failure (counted from 1)."""
        if failures >= self.max_attempts:
            return False
        if self.retry_on is None:
            return error.retryable
        wanted = {name.lower() for name in self.retry_on}
        return error.code.lower() in wanted or any(kind.lower() in wanted for kind in error.kinds)

    def delay(self, failures: int, jitter: float, retry_after: timedelta | None = None) -> timedelta:
        """Return the wait after the *failures*-th failure.

        Jitter takes away up to half of the delay, so that a crowd of failures does not come back as a crowd,
        and the delay never exceeds what the policy promises. *retry_after* is a floor that the other side set;
        it is honoured up to an hour.
        """
        seconds = self.initial_delay.total_seconds()
        if self.backoff is Backoff.LINEAR:
            seconds *= failures
        elif self.backoff is Backoff.EXPONENTIAL:
            # The exponent is capped because a float overflows long after every max_delay is reached.
            seconds *= self.factor ** min(failures - 1, 64)
        seconds = min(seconds, self.max_delay.total_seconds())
        if self.jitter:
            seconds *= 1 - jitter / 2
        if retry_after is not None:
            seconds = max(seconds, min(retry_after.total_seconds(), 3600.0))
        return timedelta(seconds=seconds)
