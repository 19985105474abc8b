"""What steps have in common that wait for something from outside: how long, and since when.

Postgres keeps the time; between two looks nothing runs. What a step wants to know when it is executed again it gives
back when it begins to wait.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flowforge.model import duration
from flowforge.steps.base import Assignment
from flowforge.steps.failures import ConfigError


def waited(assignment: Assignment) -> dict[str, Any]:
    """Return what the step gave back when it began to wait; empty the first time."""
    found = None if assignment.wake is None else assignment.wake.waited
    return found if isinstance(found, dict) else {}


def span(value: Any, name: str) -> timedelta | None:
    """Return a duration of the configuration, None for none."""
    if value is None:
        return None
    try:
        return duration.parse(value)
    except ValueError as error:
        raise ConfigError(f"'{name}': {error}") from None


def deadline(assignment: Assignment, value: Any, known: dict[str, Any]) -> datetime | None:
    """Return when the step has waited long enough: as it was when it began to wait, else from now on."""
    if "deadline" in known:
        return None if known["deadline"] is None else datetime.fromisoformat(known["deadline"])
    limits = [limit for limit in (span(value, "timeout"), assignment.step.waits) if limit is not None]
    return assignment.claimed_at + min(limits) if limits else None


def text(moment: datetime | None) -> str | None:
    """Return a time as it is kept."""
    return None if moment is None else moment.isoformat()


def over(assignment: Assignment, moment: datetime | None) -> bool:
    """Say whether a time has come."""
    return moment is not None and moment <= assignment.claimed_at


def earliest(*moments: datetime | None) -> datetime | None:
    """Return the first of some times."""
    return min((moment for moment in moments if moment is not None), default=None)
