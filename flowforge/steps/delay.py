"""The delay step: a wait that holds no worker, because Postgres keeps the time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flowforge.model import duration
from flowforge.model.outcome import Outcome, Waiting
from flowforge.steps.base import Assignment
from flowforge.steps.failures import ConfigError, rendered
from flowforge.steps.settings import StepSettings


class Delay:
    """Waits for `duration` (milliseconds or text such as 5s), or `until` a time."""

    def __init__(self, settings: StepSettings | None = None) -> None:
        pass

    def execute(self, assignment: Assignment) -> Outcome:
        """Return when the step completes; a time in the past completes it at once."""
        config = rendered(assignment)
        span, until = config.get("duration"), config.get("until")
        if (span is None) == (until is None):
            raise ConfigError("a delay needs either 'duration' or 'until'")
        return Waiting(due=_instant(until) if span is None else _span(span), output={})


def _span(value: Any) -> timedelta:
    try:
        return duration.parse(value)
    except ValueError as error:
        raise ConfigError(f"'duration': {error}") from None


def _instant(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value.strip())
    except (ValueError, TypeError, AttributeError):
        raise ConfigError(f"'until': {str(value)[:100]!r} is not a time such as 2026-03-01T09:00:00Z") from None
    if moment.tzinfo is None:
        raise ConfigError(f"'until': {value} has no offset, add Z or +01:00")
    return moment
