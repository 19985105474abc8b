"""Events: the words of a run's history, one for every transition.

The names are the source documents'. An event carries enough to rebuild statuses, attempts, times and errors;
payloads stay in the rows.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple


class EventType(StrEnum):
    """Every type of event."""

    __hash__ = str.__hash__

    RUN_CREATED = "workflow.created"
    RUN_STARTED = "workflow.started"
    RUN_COMPLETED = "workflow.completed"
    RUN_FAILING = "workflow.failing"
    RUN_FAILED = "workflow.failed"
    RUN_CANCELLING = "workflow.cancelling"
    RUN_CANCELLED = "workflow.cancelled"
    RUN_RETRIED = "workflow.retried"
    RUN_PAUSED = "workflow.paused"
    RUN_RESUMED = "workflow.resumed"
    RUN_COMPENSATING = "workflow.compensating"
    SIGNAL_RECEIVED = "workflow.signal_received"
    INCIDENT_OPENED = "workflow.incident_opened"
    DUPLICATE_PREVENTED = "workflow.duplicate_prevented"
    RECEIPT_GENERATED = "workflow.receipt.generated"
    STEP_QUEUED = "step.queued"
    STEP_STARTED = "step.started"
    STEP_WAITING = "step.waiting"
    STEP_DECIDED = "step.decided"
    STEP_WOKEN = "step.woken"
    STEP_RETRYING = "step.retrying"
    STEP_RELEASED = "step.released"
    STEP_COMPLETED = "step.completed"
    STEP_FAILED = "step.failed"
    STEP_SKIPPED = "step.skipped"
    STEP_CANCELLED = "step.cancelled"
    STEP_COMPENSATED = "step.compensated"


class Event(NamedTuple):
    """One event of one run; its number follows from its place in the history."""

    type: EventType
    at: datetime
    step: str | None = None
    attempt: int | None = None
    data: dict[str, Any] | None = None
