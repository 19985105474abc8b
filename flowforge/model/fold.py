"""The inverse of decide: a run rebuilt from its events alone, at any moment of its history.

fold(events) equals the rows. What events do not carry (payloads, tokens, counts of dependencies) is not rebuilt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from flowforge.model.event import Event, EventType
from flowforge.model.status import RunStatus, StepStatus


class FoldedStep(NamedTuple):
    """What the history says about one step."""

    status: StepStatus = StepStatus.PENDING
    attempt: int = 0
    worker: str | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: dict[str, Any] | None = None


@dataclass(slots=True)
class FoldedRun:
    """What the history says about a run."""

    status: RunStatus = RunStatus.PENDING
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: dict[str, Any] | None = None
    #: By step id; steps that were never touched are not in it.
    steps: dict[str, FoldedStep] = field(default_factory=dict)


_RUN_STATUS = {
    EventType.RUN_STARTED: RunStatus.RUNNING,
    EventType.RUN_COMPLETED: RunStatus.COMPLETED,
    EventType.RUN_FAILED: RunStatus.FAILED,
    EventType.RUN_CANCELLING: RunStatus.CANCELLING,
    EventType.RUN_CANCELLED: RunStatus.CANCELLED,
    EventType.RUN_RETRIED: RunStatus.PENDING,
    EventType.RUN_PAUSED: RunStatus.PAUSED,
    EventType.RUN_RESUMED: RunStatus.RUNNING,
    EventType.RUN_COMPENSATING: RunStatus.COMPENSATING,
}


def fold(events: Iterable[Event]) -> FoldedRun:
    """Rebuild a run from its events, in order; leave some off at the end to see it as it was."""
    run = FoldedRun()
    for event in events:
        if event.step is None:
            _fold_run(run, event)
        else:
            run.steps[event.step] = _fold_step(run.steps.get(event.step, FoldedStep()), event)
    return run


def _fold_run(run: FoldedRun, event: Event) -> None:
    run.status = _RUN_STATUS.get(event.type, run.status)
    data = event.data or {}
    match event.type:
        case EventType.RUN_CREATED:
            run.created_at = event.at
        case EventType.RUN_STARTED:
            run.started_at = run.started_at or event.at
        case EventType.RUN_FAILING | EventType.RUN_COMPENSATING:
            run.error = data["error"]
        case EventType.RUN_CANCELLING:
            # A run that is left half undone by force fails, and keeps its reason until then.
            run.error = None if not data.get("undoing") else run.error
        case EventType.RUN_FAILED:
            run.error, run.finished_at = data["error"], event.at
        case EventType.RUN_COMPLETED | EventType.RUN_CANCELLED:
            run.error, run.finished_at = None, event.at
        case EventType.RUN_RETRIED:
            run.error, run.finished_at = data.get("error"), None
            for step in data["steps"]:
                run.steps[step] = FoldedStep(attempt=run.steps.get(step, FoldedStep()).attempt)
            for step in data.get("waiting", ()):
                run.steps[step] = run.steps[step]._replace(status=StepStatus.WAITING, error=None, finished_at=None)


def _fold_step(step: FoldedStep, event: Event) -> FoldedStep:  # noqa: C901, PLR0911 - one line per kind of event
    data = event.data or {}
    attempt = step.attempt if event.attempt is None else event.attempt
    match event.type:
        case EventType.STEP_QUEUED:
            return step._replace(status=StepStatus.QUEUED, queued_at=event.at, worker=None)
        case EventType.STEP_STARTED:
            return step._replace(
                status=StepStatus.RUNNING,
                attempt=attempt,
                worker=data["worker"],
                started_at=event.at,
                finished_at=None,
            )
        case EventType.STEP_WAITING:
            return step._replace(status=StepStatus.WAITING, error=None)
        case EventType.STEP_RETRYING:
            return step._replace(status=StepStatus.WAITING, error=data["error"])
        case EventType.STEP_RELEASED | EventType.STEP_WOKEN:
            return step._replace(attempt=attempt - 1)
        case EventType.STEP_COMPENSATED:
            return step._replace(status=StepStatus.COMPENSATED)
        case EventType.STEP_COMPLETED:
            return step._replace(status=StepStatus.COMPLETED, error=None, finished_at=event.at)
        case EventType.STEP_FAILED:
            return step._replace(status=StepStatus.FAILED, error=data["error"], finished_at=event.at)
        case EventType.STEP_SKIPPED:
            error = data.get("error")
            return step._replace(status=StepStatus.SKIPPED, error=error, finished_at=event.at)
        case EventType.STEP_CANCELLED:
            return step._replace(status=StepStatus.CANCELLED, finished_at=event.at)
    return step
