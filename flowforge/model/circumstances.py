"""What has to be known to say why a run does not move: read by the store, judged by flowforge.model.explaining.

Facts of one moment, by the database's clock; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flowforge.model.event import EventType
from flowforge.model.explanation import Explanation
from flowforge.model.pausing import Pause
from flowforge.model.plan import Plan
from flowforge.model.state import Signal, StepState
from flowforge.model.status import RunStatus

#: Events that say something of a run as a whole; and with these, how its steps failed, and what they were at when it
#: ended.
OF_RUN = (
    *(EventType.RUN_PAUSED, EventType.RUN_CANCELLING, EventType.RUN_COMPENSATING, EventType.RUN_FAILING),
    EventType.RUN_RESUMED,
)
OF_FAILURES = (*OF_RUN, EventType.STEP_RETRYING, EventType.STEP_FAILED)
OF_STEPS = (*OF_FAILURES, *(EventType.STEP_QUEUED, EventType.STEP_STARTED, EventType.STEP_WAITING))
OF_TIMEOUT = (*OF_STEPS, EventType.STEP_CANCELLED, EventType.STEP_COMPLETED)


@dataclass(frozen=True, slots=True)
class Busy:
    """What takes slots of a worker: attempts of one step of a workflow."""

    workflow: str
    step: str
    count: int
    since: datetime
    run: UUID
    python: bool = False


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A worker, and what it is busy with."""

    id: str
    #: active, draining, stopped or lost.
    status: str
    queues: tuple[str, ...]
    step_types: frozenset[str]
    concurrency: int
    seen_at: datetime
    lease: timedelta
    python_processes: int | None = None
    busy: tuple[Busy, ...] = ()

    @property
    def taken(self) -> int:
        """How many of its slots are taken."""
        return sum(one.count for one in self.busy)

    def room(self, *, python: bool) -> bool:
        """Say whether it could start one more step, or one more python step."""
        children = sum(one.count for one in self.busy if one.python)
        if python and self.python_processes is not None and children >= self.python_processes:
            return False
        return self.taken < self.concurrency


@dataclass(frozen=True, slots=True)
class GateFacts:
    """A gate, seen from a run that waits at it."""

    key: str
    limit: int
    active: int
    #: Waiting runs before this one, and all of them.
    ahead: int
    waiting: int
    #: The runs that have been in longest: (run, status, since).
    holders: Sequence[tuple[UUID, str, datetime | None]] = ()
    #: Why the oldest of them does not move.
    oldest: Explanation | None = None


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """The dispatches of a lane that no worker has taken: in the outbox, and in the stream."""

    outbox: int = 0
    #: When the oldest in the outbox was queued.
    oldest: datetime | None = None
    #: In the stream: not delivered, and delivered but not yet acknowledged; None where nobody has asked.
    waiting: int | None = None
    pending: int | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all runs of an installation share."""

    now: datetime
    workers: Sequence[WorkerFacts] = ()
    pauses: Sequence[Pause] = ()
    lanes: Mapping[str, LaneFacts] = field(default_factory=dict)
    #: Why the stream server cannot be used, None while it can; and where it is.
    streams_down: str | None = None
    streams: str = ""
    #: False of a run that is looked at away from its installation: nobody knows what workers, queues and gates are at.
    known: bool = True

    def paused(self, kind: str, name: str) -> Pause | None:
        """Return the pause of a workflow or queue, if it is paused."""
        return next((one for one in self.pauses if (one.kind, one.name) == (kind, name)), None)

    @property
    def alive(self) -> list[WorkerFacts]:
        """The workers that look after timers and gates: those that were seen within their lease."""
        return [one for one in self.workers if one.status in ("active", "draining")]

    @property
    def deserted(self) -> bool:
        """Whether nobody looks after timers and gates."""
        return self.known and not self.alive

    def serving(self, queue: str) -> list[WorkerFacts]:
        """Return the workers that take new steps of a queue."""
        return [one for one in self.workers if one.status == "active" and queue in one.queues]

    def worker(self, name: str | None) -> WorkerFacts | None:
        """Return a worker by its id."""
        return next((one for one in self.workers if one.id == name), None)


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the run's history that matters here."""

    seq: int
    type: str
    at: datetime
    step: str | None = None
    attempt: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run with everything that may explain it."""

    id: UUID
    workflow: str
    version: int
    plan: Plan
    status: RunStatus
    created_at: datetime
    around: Surroundings
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline_at: datetime | None = None
    error: Mapping[str, Any] | None = None
    steps: Mapping[int, StepState] = field(default_factory=dict)
    #: What waiting steps keep: what an approval asks, and of whom.
    kept: Mapping[int, Any] = field(default_factory=dict)
    #: Decisions that have come.
    signals: Sequence[Signal] = ()
    events: Sequence[Told] = ()
    gate: GateFacts | None = None
    #: Numbers of the steps whose newest dispatch still lies in the outbox.
    unpublished: frozenset[int] = frozenset()
    #: The runs that steps have started, by the number of the step, and how many more there are that were not read.
    children: Mapping[int, Explanation] = field(default_factory=dict)
    #: The run whose step started this one.
    parent: Explanation | None = None

    @property
    def now(self) -> datetime:
        """When all this was so."""
        return self.around.now

    def last(self, *types: str) -> Told | None:
        """Return the newest event of some types."""
        return next((event for event in reversed(self.events) if event.type in types), None)


@dataclass(frozen=True, slots=True)
class StepGroup:
    """Open steps of an installation that are alike: the same step of a workflow, in the same state."""

    workflow: str
    #: Without the number of its item, and without its run.
    step: str
    type: str
    queue: str
    lane: str
    #: queued, running or waiting.
    status: str
    count: int
    since: datetime | None
    #: When the first of them is looked at.
    due: datetime | None
    #: One of their runs.
    run: UUID
    #: Code of the error that a retry waits after; what a waiting step was told to wait for.
    code: str | None = None
    label: str | None = None
    #: Its time has come, or its lease is over, and nobody has looked.
    over: bool = False
    #: Its worker is not there any more.
    lost: bool = False


@dataclass(frozen=True, slots=True)
class GateGroup:
    """A gate at which runs wait."""

    workflow: str
    key: str
    limit: int
    active: int
    #: How many of those that are in are paused.
    paused: int
    waiting: int
    since: datetime
    #: The run that has been in longest.
    oldest: tuple[UUID, str, datetime | None] | None = None


@dataclass(frozen=True, slots=True)
class RunGroup:
    """Runs of a workflow in one status."""

    workflow: str
    status: str
    count: int
    since: datetime
    run: UUID


@dataclass(frozen=True, slots=True)
class Standstill:
    """All that may be stuck in an installation, in sets."""

    around: Surroundings
    steps: Sequence[StepGroup] = ()
    gates: Sequence[GateGroup] = ()
    #: Runs that wait without a gate, that are paused, or that are being cancelled.
    runs: Sequence[RunGroup] = ()
    #: Runs that have not ended.
    active: int = 0
    incidents: int = 0
    #: By queue.
    dead_letters: Mapping[str, int] = field(default_factory=dict)
