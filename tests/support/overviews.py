"""What a dashboard is told without servers: runs in every state, queues, workers, incidents; all at the same moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flowforge.model.capsule import Capsule
from flowforge.model.documents import Incident, Run, Step
from flowforge.model.overview import Glance, Held, QueueStanding, RunSummary, Transport, WorkerStanding
from flowforge.model.status import RunStatus, StepStatus
from flowforge.store.imported import Imported

NOW = datetime(2026, 3, 1, 12, 5, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def run_id(number: int) -> UUID:
    """Return an id whose last digits are a number; greater is newer."""
    return UUID(int=(0x0199 << 112) + (7 << 76) + (8 << 60) + number)


def summary(number: int, workflow: str = "orders.fulfil", status: str = "running", **more: Any) -> RunSummary:
    """Return a run that started *number* seconds after noon."""
    begun = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC) + number % 300 * SECOND
    ended = begun + 30 * SECOND if RunStatus(status).final else None
    what: dict[str, Any] = {
        "trigger": "api",
        "created_at": begun,
        "started_at": begun + 0.2 * SECOND,
        "finished_at": ended,
    }
    what |= {"seq": 1, "done": 1, "steps": 4, "version": 1} | more
    return RunSummary(id=run_id(number), workflow=workflow, status=RunStatus(status), **what)


def error(step: str = "charge_card", message: str = "503 from payments.example") -> dict[str, Any]:
    """Return the error of a run."""
    return {"code": "HTTP_503", "message": message, "step": step, "attempt": 4, "hint": "look at the provider"}


def several() -> list[RunSummary]:
    """Return a run in every state that matters."""
    waiting = Glance("approve", "approval", StepStatus.WAITING, 1, 3, NOW + timedelta(hours=20))
    retrying = Glance("charge_card", "http", StepStatus.WAITING, 2, 4, NOW + 6 * SECOND, failed_before=True)
    listening = Glance("go", "wait_signal", StepStatus.WAITING, 1, 3, NOW + timedelta(hours=3), signal="start")
    failed = Glance("charge_card", "http", StepStatus.FAILED, 4, 4)
    running = Glance("transform[7]", "python", StepStatus.RUNNING, 1, 3, NOW + 20 * SECOND, worker="w-1")
    return [
        summary(10, status="completed", done=4),
        summary(20, "agent.research", at=listening),
        summary(30, "etl.nightly", at=running, steps=40, done=12, trigger="cron", labels={"region": "eu"}),
        summary(40, status="failed", at=failed, error=error(), done=2),
        summary(50, at=retrying, done=2),
        summary(60, "invoice.approve", at=waiting, steps=3),
        summary(70, status="paused"),
        summary(80, status="pending", started_at=None, done=0),
        summary(90, status="cancelled"),
    ]


def document(one: RunSummary) -> Run:
    """Return a run with steps, as far as a summary says."""
    steps = [Step("validate", "Validate", "transform", StepStatus.COMPLETED, 1)]
    if one.at is not None:
        waits = {"approval": {"prompt": "Pay it?", "approvers": ["finance"]}, "missing": 1} if one.at.asks else None
        waits = {"signal": one.at.signal} if one.at.listens else waits
        steps.append(Step(one.at.id, one.at.id, one.at.type, one.at.status, one.at.attempt, waits_for=waits))
    when = (one.created_at, one.labels)
    return Run(
        one.id, one.workflow, one.version, one.status, {"n": 1}, None, one.error, one.trigger, *when, steps=tuple(steps)
    )


def transport(added: int = 100, seconds: int = 0) -> Transport:
    """Return two queues and two workers, one of them lost."""
    at = NOW + seconds * SECOND
    busy = Held(run_id(30), "etl.nightly", "transform[7]", NOW - 3 * SECOND, NOW + 20 * SECOND)
    left = Held(run_id(40), "orders.fulfil", "charge_card", NOW - 60 * SECOND, NOW - 11 * SECOND)
    alive = WorkerStanding("w-1", "vm", 811, "active", ("default",), 4, NOW - 90 * SECOND, NOW - 0.3 * SECOND, (busy,))
    lost = WorkerStanding("w-2", "vm", 812, "lost", ("agents",), 4, NOW - 90 * SECOND, NOW - 41 * SECOND, (left,))
    queues = (
        QueueStanding("agents", 0, 3, 2, 9 * SECOND, added, added - 3, 1, 7.7 * SECOND, 2),
        QueueStanding("default", 1, 12, 4, 1.9 * SECOND, 8 * added, 8 * added - 12, 0, 0.4 * SECOND),
    )
    return Transport(at, queues, (alive, lost), 2, NOW - 8 * SECOND, 1)


def incident(number: int = 7, **more: Any) -> Incident:
    """Return an open incident."""
    seen = (NOW - timedelta(hours=2), NOW - timedelta(minutes=5))
    made = Incident(number, "irrecoverable_error", "orders.fulfil", run_id(40), "charge_card", error(), 3, *seen)
    return replace(made, **more)


def imported(one: Capsule) -> Imported:
    """Return how a capsule is listed."""
    run, ago = one.run, NOW - timedelta(hours=1)
    times = (run.created_at, run.finished_at, one.exported_at, ago)
    return Imported(run.id, run.workflow, run.version, run.status.value, *times, "alice")
