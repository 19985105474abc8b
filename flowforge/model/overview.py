"""What one sees of many things at once: a run on one line, queues, workers, the pulse of an installation.

Documents for screens that are drawn again and again: small, without inputs and outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flowforge.model.status import RunStatus, StepStatus


@dataclass(frozen=True, slots=True)
class Glance:
    """The step that says most about where a run stands."""

    id: str
    type: str
    status: StepStatus
    attempt: int
    max_attempts: int
    #: When a waiting step goes on by itself; the lease's end of a running one.
    due_at: datetime | None = None
    #: Whether it has failed before, so that waiting means waiting for the next attempt.
    failed_before: bool = False
    #: The signal that it waits for.
    signal: str | None = None
    worker: str | None = None

    @property
    def asks(self) -> bool:
        """Whether a person has to decide."""
        return self.status is StepStatus.WAITING and self.type == "approval" and not self.failed_before

    @property
    def listens(self) -> bool:
        """Whether it waits for a signal."""
        return self.status is StepStatus.WAITING and self.type == "wait_signal" and not self.failed_before


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run on one line."""

    id: UUID
    workflow: str
    version: int
    status: RunStatus
    trigger: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    labels: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    #: Number of the last event: of two summaries of a run the one with the greater is the newer.
    seq: int = 0
    #: Steps that are completed or were left out, of how many.
    done: int = 0
    steps: int = 0
    at: Glance | None = None
    #: How long its steps waited for workers, last attempts counted; and since when the longest waiting one does now.
    waited: timedelta = timedelta()
    queued_at: datetime | None = None

    @property
    def look(self) -> str:
        """The word for where it stands, finer than its status: a running run may be waiting or retrying."""
        if self.status is RunStatus.RUNNING and self.at is not None and self.at.status is StepStatus.WAITING:
            return "retrying" if self.at.failed_before else "waiting"
        return self.status.value

    def queue_time(self, now: datetime) -> timedelta:
        """Return how long it waited: for its gate, and its steps for workers."""
        begun = self.started_at or self.finished_at or now
        now_waiting = timedelta() if self.queued_at is None or self.status.final else now - self.queued_at
        return max(begun - self.created_at, timedelta()) + self.waited + max(now_waiting, timedelta())

    def run_time(self, now: datetime) -> timedelta | None:
        """Return how long it has been going on since it was admitted; None before."""
        return None if self.started_at is None else (self.finished_at or now) - self.started_at


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a header shows of an installation; by the database's clock."""

    at: datetime
    #: Versions of the servers; None while the stream server does not answer.
    postgres: str
    streams: str | None
    #: Runs that have not ended, and runs that failed within the last hour.
    active: int
    failed: int
    incidents: int
    #: Workers that are alive.
    workers: int


@dataclass(frozen=True, slots=True)
class QueueStanding:
    """One queue: what lies in its streams, and how it moves. Counts are None while the stream server is away."""

    name: str
    #: Workers alive that serve it.
    workers: int
    #: Dispatches not delivered yet, and delivered but not acknowledged.
    backlog: int | None = None
    pending: int | None = None
    #: How long the oldest unacknowledged dispatch has not been touched.
    oldest: timedelta | None = None
    #: Dispatches ever published and ever delivered: two looks give the rates.
    added: int | None = None
    delivered: int | None = None
    dead: int | None = None
    #: 95 of 100 steps of the newest runs waited no longer than this for a worker.
    wait_p95: timedelta | None = None
    #: Dispatches that wait in the database to be published.
    unpublished: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """An attempt that a worker has."""

    run: UUID
    workflow: str
    step: str
    started_at: datetime | None
    #: The end of its lease.
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorkerStanding:
    """One worker, and what it has."""

    id: str
    host: str
    pid: int
    #: active, draining, stopped or lost
    status: str
    queues: tuple[str, ...]
    concurrency: int
    started_at: datetime
    seen_at: datetime
    #: Oldest first.
    held: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True)
class Transport:
    """How work travels: queues, workers, and what lies between."""

    at: datetime
    queues: tuple[QueueStanding, ...]
    workers: tuple[WorkerStanding, ...]
    unpublished: int
    #: Since when the oldest unpublished dispatch waits.
    unpublished_since: datetime | None
    #: Attempts whose lease is over and that nobody has taken over yet.
    leases_over: int
    #: Why the stream server cannot be asked.
    streams_error: str | None = None

    @property
    def dead(self) -> int | None:
        """Dead letters of all queues; None while nobody knows."""
        counts = [queue.dead for queue in self.queues]
        return None if None in counts else sum(count or 0 for count in counts)
