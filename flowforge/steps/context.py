"""What the functions of python steps may use: the context of their attempt, and ways to end it.

    from flowforge.steps.context import StepContext, StepFailure

    def charge(order: str, amount: Decimal, context: StepContext) -> dict[str, str]:
        ...

A parameter annotated with `StepContext`, or one without annotation named `context` or `ctx`, receives it. In a
unit test of such a function, `StepContext()` will do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any


class StepCancelled(BaseException):
    """The attempt is being cancelled; raised by `StepContext.heartbeat` to leave the function at that point."""


class StepFailure(Exception):
    """Fails the attempt in the function's own words."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "PYTHON_ERROR",
        retryable: bool = True,
        retry_after: timedelta | None = None,
        hint: str | None = None,
        details: Any = None,
    ) -> None:
        super().__init__(message)
        #: Upper-case word that `retry_on` can name.
        self.code = code
        #: Whether another attempt can help.
        self.retryable = retryable
        #: The earliest time for one.
        self.retry_after = retry_after
        #: What a person may do about it.
        self.hint = hint
        #: Any JSON value worth keeping with the error.
        self.details = details


class StepContext:
    """One attempt, as its function sees it; may be used from any thread of the function."""

    def __init__(  # noqa: PLR0913 - all optional, so that tests of functions can make one
        self,
        *,
        run_id: str = "",
        workflow: str = "",
        version: int = 0,
        step: str = "",
        attempt: int = 1,
        token: int = 1,
        idempotency_key: str = "",
        traceparent: str | None = None,
        report: Callable[[Any], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self.run_id = run_id
        self.workflow = workflow
        self.version = version
        self.step = step
        #: Counted from 1.
        self.attempt = attempt
        #: Grows with every claim of the step: a store that remembers the highest can refuse a late, older attempt.
        self.token = token
        #: The same for every attempt of this step of this run: give it to whatever must not happen twice.
        self.idempotency_key = idempotency_key
        #: W3C trace context of the attempt, to continue its trace.
        self.traceparent = traceparent
        #: Its lines become part of the attempt's log.
        self.logger = logging.getLogger("flowforge.step")
        self._report = report
        self._is_cancelled = is_cancelled

    def progress(self, value: Any) -> None:
        """Show how far the function is: any small JSON value; the last one counts."""
        if self._report is not None:
            self._report(value)

    def heartbeat(self) -> None:
        """Mark a point where a cancelled attempt may stop: raises StepCancelled there.

        The worker keeps the attempt alive by itself; a function that never calls this is only killed later.
        """
        if self.cancelled:
            raise StepCancelled

    @property
    def cancelled(self) -> bool:
        """Whether the attempt is asked to stop; it is killed soon after."""
        return self._is_cancelled is not None and self._is_cancelled()
