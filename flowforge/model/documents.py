"""The documents that surfaces print: runs, steps, events, in the shape that scripts rely on.

The shape is a contract (`flowforge/<thing>/v1`): it grows, it never changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flowforge.model.json import Json
from flowforge.model.status import RunStatus, StepStatus


def rfc3339(moment: datetime | None) -> str | None:
    """Return a time as RFC 3339 in UTC, with microseconds; None stays None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run."""

    id: str
    name: str
    type: str
    status: StepStatus
    attempts: int = 0
    crashes: int = 0
    worker: str | None = None
    output: Json = None
    error: dict[str, Any] | None = None
    progress: Json = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    #: Lease end of a running step, due time of a waiting one, next dispatch of a queued one.
    due_at: datetime | None = None

    def document(self) -> dict[str, Any]:
        """Return the element of a run document's `steps`."""
        return {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "status": self.status.value,
            "attempts": self.attempts,
            "crashes": self.crashes,
            "worker": self.worker,
            "output": self.output,
            "error": self.error,
            "progress": self.progress,
            "queued_at": rfc3339(self.queued_at),
            "started_at": rfc3339(self.started_at),
            "finished_at": rfc3339(self.finished_at),
            "due_at": rfc3339(self.due_at),
        }


@dataclass(frozen=True, slots=True)
class Run:
    """One run; *steps* is None where they were not asked for."""

    id: UUID
    workflow: str
    version: int
    status: RunStatus
    input: Json
    output: Json
    error: dict[str, Any] | None
    trigger: str
    created_at: datetime
    labels: dict[str, str] = field(default_factory=dict)
    priority: int = 0
    replay_of: UUID | None = None
    idempotency_key: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline_at: datetime | None = None
    #: Number of the last event.
    seq: int = 0
    steps: tuple[Step, ...] | None = None
    #: The start found this run under its idempotency key, instead of making a new one.
    duplicate: bool = False

    def document(self) -> dict[str, Any]:
        """Return the run document, `flowforge/run/v1`."""
        document: dict[str, Any] = {
            "schema": "flowforge/run/v1",
            "id": str(self.id),
            "workflow": self.workflow,
            "version": self.version,
            "status": self.status.value,
            "input": self.input,
            "output": self.output,
            "error": self.error,
            "labels": self.labels,
            "trigger": self.trigger,
            "priority": self.priority,
            "replay_of": None if self.replay_of is None else str(self.replay_of),
            "idempotency_key": self.idempotency_key,
            "created_at": rfc3339(self.created_at),
            "started_at": rfc3339(self.started_at),
            "finished_at": rfc3339(self.finished_at),
            "deadline_at": rfc3339(self.deadline_at),
        }
        if self.steps is not None:
            document["steps"] = [step.document() for step in self.steps]
        # Compensations are not executed yet; the field is part of the contract from the start.
        document["compensation"] = {"status": "none", "steps": []}
        return document


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One event of a run's history."""

    run: UUID
    seq: int
    type: str
    at: datetime
    step: str | None = None
    attempt: int | None = None
    data: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the event document, `flowforge/event/v1`."""
        return {
            "schema": "flowforge/event/v1",
            "run": str(self.run),
            "seq": self.seq,
            "type": self.type,
            "step": self.step,
            "attempt": self.attempt,
            "at": rfc3339(self.at),
            "data": self.data,
        }


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list; what is None or empty does not filter."""

    statuses: tuple[RunStatus, ...] = ()
    workflow: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing did."""

    workflow: str
    version: int
    digest: str
    #: False when the same content was there already.
    created: bool
    status: str = "published"
    warnings: tuple[Any, ...] = ()
