"""Runs that were never executed, as their capsules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flowforge.forensics.bundle import Bundle
from flowforge.forensics.source import Case
from flowforge.model.capsule import Capsule
from flowforge.model.documents import Run, RunEvent, Step
from flowforge.model.status import RunStatus, StepStatus

BEGIN = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
RUN = UUID("01890000-0000-7000-8000-000000000001")

#: An event as tests write it: seconds, type, step, attempt, data.
Told = tuple[float, str, str | None, int | None, dict[str, Any]]


def at(seconds: float) -> datetime:
    """Return a moment of the run."""
    return BEGIN + timedelta(seconds=seconds)


def error(code: str = "HTTP_503", message: str = "answered 503") -> dict[str, Any]:
    """Return an error document."""
    return {"code": code, "message": message, "step": "charge", "attempt": 1, "retryable": True, "hint": None}


def retried() -> list[Told]:
    """Return the history of a run whose only step failed once and was tried again."""
    return [
        (0, "workflow.created", None, None, {"trigger": "test"}),
        (0, "workflow.started", None, None, {}),
        (0, "step.queued", "charge", None, {}),
        (1, "step.started", "charge", 1, {"worker": "w-1"}),
        (3, "step.retrying", "charge", 1, {"error": error(), "retry_at": at(7).isoformat()}),
        (7, "step.queued", "charge", None, {}),
        (8, "step.started", "charge", 2, {"worker": "w-2"}),
        (10, "step.completed", "charge", 2, {}),
        (10, "workflow.completed", None, None, {}),
    ]


def case(told: list[Told], run_id: UUID = RUN, **changes: Any) -> Case:
    """Return a run with a history."""
    step_id = changes.pop("step", "charge")
    step = Step(step_id, step_id, "http", StepStatus.COMPLETED, 2, 0, "w-2", {}, None, None, at(7), at(8), at(10))
    values: dict[str, Any] = {
        "id": run_id,
        "workflow": "orders",
        "version": 1,
        "status": RunStatus.COMPLETED,
        "input": {"order": 1},
        "output": {},
        "error": None,
        "trigger": "test",
        "created_at": at(0),
        "started_at": at(0),
        "finished_at": at(10),
        "steps": (step,),
    }
    run = Run(**(values | changes))
    events = tuple(
        RunEvent(run_id, no, kind, at(seconds), name, attempt, data)
        for no, (seconds, kind, name, attempt, data) in enumerate(told, 1)
    )
    http = {"id": step_id, "type": "http", "config": {"method": "POST", "url": "http://x.example"}}
    return Case(Capsule(run, events, {"name": "orders", "steps": [http]}, at(20)))


def bundle(*cases: Case) -> Bundle:
    """Return runs as a source."""
    return Bundle(list(cases), at(20))
