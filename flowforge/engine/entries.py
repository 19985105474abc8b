"""What goes into the ledger and what comes out: facts about runs, their answers, and what the outside has to hear.

Nobody changes an entry or an answer; they are not frozen, because that makes them three times as slow to make.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from flowforge.engine.tracing import EndedRun
from flowforge.model.facts import Answer, Fact
from flowforge.model.plan import Plan
from flowforge.steps.base import Assignment
from flowforge.store.logs import Log


@dataclass(slots=True)
class Entry:
    """A fact about a run; *plan* spares loading what is not needed, when the sender knows it."""

    run_id: UUID
    fact: Fact
    plan: Plan | None = None
    #: What the attempt wrote; stored with the fact if that is accepted.
    log: Log | None = None


@dataclass(slots=True)
class Applied:
    """What became of an entry; *assignment* is there when a step is now the sender's to execute."""

    answer: Answer
    assignment: Assignment | None = None
    plan: Plan | None = None
    #: Number of the dispatch that the assignment belongs to.
    dispatch_no: int = 0
    #: When it was asked for, on the clock that leases are watched by: the lease is not younger than that.
    asked: float = 0.0


@dataclass(slots=True)
class Consequences:
    """What the outside has to hear after the commit."""

    dispatched: int = 0
    #: Attempts to stop: (worker, run, step, token).
    stops: list[tuple[str, UUID, int, int]] = field(default_factory=list)
    ended: list[UUID] = field(default_factory=list)
    #: Gates at which a run has stopped being active, or is waiting now.
    freed: set[int] = field(default_factory=set)
    #: What to tell the tracer about them; empty while traces are off.
    spans: list[EndedRun] = field(default_factory=list)
    #: Steps whose run has ended, which they wait for: (run, number).
    parents: list[tuple[UUID, int]] = field(default_factory=list)
    #: Steps that do not want the run any more that they started: (run, number).
    abandoned: list[tuple[UUID, int]] = field(default_factory=list)
    #: Seconds until the first alarm that was set now and is sooner than any before it.
    alarm: float | None = None

    def add(self, more: Consequences) -> None:
        """Add what came of a later transaction."""
        self.dispatched += more.dispatched
        self.stops += more.stops
        self.ended += more.ended
        self.freed |= more.freed
        self.spans += more.spans
        self.parents += more.parents
        self.abandoned += more.abandoned
        if more.alarm is not None:
            self.rings_in(more.alarm)

    def rings_in(self, seconds: float) -> None:
        """Note an alarm."""
        self.alarm = seconds if self.alarm is None else min(seconds, self.alarm)
