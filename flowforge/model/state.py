"""What is known of a run and its steps at one moment: the input and the result of every decision.

A step has no state until its first dependency is resolved; then it counts down what it still waits for. That
keeps starting a run cheap, and makes a decision need only the settled step and its direct successors.

Both are tuples, because hundreds of them are read, changed and written in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from flowforge.model.plan import Plan
from flowforge.model.status import RunStatus, StepStatus

#: Begins the label of a step that was undone and is repeated.
UNDONE = "undone:"


class StepState(NamedTuple):
    """One step of one run; the fields are the columns of its row, in the same order."""

    no: int
    status: StepStatus
    #: Dependencies that are not resolved yet; the step is ready, or skipped, when it reaches 0.
    open_dependencies: int = 0
    #: Resolved dependencies that count as skipped.
    skipped_dependencies: int = 0
    #: Attempts started so far, over all epochs; an attempt that was handed back is not counted.
    attempt: int = 0
    #: Failures charged to the retry policy since the step was last queued by something else than a retry.
    failures: int = 0
    #: Attempts lost with their worker in the same period; never charged to the retry policy.
    crashes: int = 0
    #: The fence: every claim raises it, and only its holder may settle.
    token: int = 0
    #: Number of the newest dispatch; a delivery with another number is out of date.
    dispatch_no: int = 0
    #: Who runs it, or ran it last.
    worker: str | None = None
    #: When to look again: the lease's end (running), the timer (waiting), the next dispatch (queued).
    due_at: datetime | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    #: A running attempt is asked to stop.
    cancel_requested: bool = False
    #: The branch that a completed conditional took; the signal that a waiting step waits for; the number of items that
    #: a foreach has; whether a step that asks people has its answer; how often a step with an effect was undone.
    label: str | None = None
    #: The last failure's document; in status `waiting` its presence means the step waits for a retry.
    error: dict[str, Any] | None = None
    #: JSON text decided now; None leaves what the row holds.
    output: str | None = None

    @property
    def epoch(self) -> int:
        """How often its effect was undone and it was repeated by an operator's retry."""
        label = self.label
        return int(label.removeprefix(UNDONE)) if label is not None and label.startswith(UNDONE) else 0

    # What nearly every step goes through is written out, because `_replace` takes twice as long.

    def counted(self, waits: int, skips: int) -> StepState:
        """Return the step with other counts of dependencies."""
        no, status, _, _, *rest = self
        return _step((no, status, waits, skips, *rest))

    def queued(self, now: datetime, due: datetime) -> StepState:
        """Return the step as it waits for a worker, under a new dispatch number."""
        no, _, waits, skips, tries, failures, crashes, token, number, _, _, _, *rest = self
        counts = (no, StepStatus.QUEUED, waits, skips, tries, failures, crashes, token, number + 1)
        return _step((*counts, None, due, now, *rest))

    def started(self, worker: str, now: datetime, due: datetime) -> StepState:
        """Return the step as a worker executes it, under a new token."""
        no, _, waits, skips, tries, failures, crashes, token, number, _, _, queued_at, _, _, _, *rest = self
        counts = (no, StepStatus.RUNNING, waits, skips, tries + 1, failures, crashes, token + 1, number)
        return _step((*counts, worker, due, queued_at, now, None, False, *rest))

    def completed(self, now: datetime, output: str | None, label: str | None) -> StepState:
        """Return the step as it is when it has done its work."""
        no, _, *counts, worker, _, queued_at, started_at, _, _, _, _, _ = self
        return _step(
            (no, StepStatus.COMPLETED, *counts, worker, None, queued_at, started_at, now, False, label, None, output)
        )


_step = partial(tuple.__new__, StepState)


class Signal(NamedTuple):
    """Something from outside that a step waits for: kept for the run until a step takes it."""

    #: Number of the event that tells of it.
    no: int
    #: `signal`, `approval` or `rejection`.
    kind: str
    name: str
    actor: str
    at: datetime
    #: The step that has it; None while none has asked for it.
    step: int | None = None
    #: JSON text decided now; None leaves what the row holds.
    payload: str | None = None


class RunState(NamedTuple):
    """One run, with as many of its steps as the decision at hand needs."""

    id: UUID
    plan: Plan
    status: RunStatus
    #: Number of the last event.
    seq: int
    #: Steps that are not final; the run ends when it reaches 0. In a run that is failing or cancelling it counts
    #: the running attempts only, because nothing else will ever start.
    open_steps: int
    steps: Mapping[int, StepState]
    #: The step numbers that were looked up; None means all of them. A step that was looked up and has no state
    #: was never touched.
    loaded: frozenset[int] | None = None
    #: The failure that will end the run, once what is running has finished.
    error: dict[str, Any] | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    #: End of the whole run's timeout.
    deadline_at: datetime | None = None
    #: Never later than the first `due_at` of its steps or its deadline: the sweeper's alarm.
    wake_at: datetime | None = None
    #: Bytes of all step outputs so far.
    output_bytes: int = 0
    #: JSON text of the run's output, once completed.
    output: str | None = None
    #: Counts the decisions that changed the run; whoever writes states the one that was decided upon.
    revision: int = 0
    #: A step may have a row although nothing before it is final: after an operator's retry, or a fail-fast.
    rows_ahead: bool = False
    #: W3C trace context of the run; travels with its dispatches.
    traceparent: str | None = None
    #: What has come for its steps from outside, in order; None where that was not looked up.
    signals: tuple[Signal, ...] | None = None

    @property
    def failing(self) -> bool:
        """Whether a step's failure has decided the run's end while attempts still run."""
        return self.status is RunStatus.RUNNING and self.error is not None

    def knows(self, numbers: Iterable[int]) -> frozenset[int] | None:
        """Return which of some steps are known to have no row although they were not looked up; None if unsure."""
        if self.loaded is None:
            return frozenset()
        return untouched(self.plan, self.steps, self.loaded, numbers, rows_ahead=self.rows_ahead)


def untouched(
    plan: Plan, steps: Mapping[int, StepState], loaded: frozenset[int], numbers: Iterable[int], *, rows_ahead: bool
) -> frozenset[int] | None:
    """Return which of some steps cannot have a row although they were not looked up; None if unsure of one.

    A step's row appears when its first dependency is resolved. So a step whose dependencies are all known, and none of
    them final, was never touched, unless the run is one of those that have rows ahead.
    """
    missing = [no for no in numbers if no not in loaded]
    if missing and rows_ahead:
        return None
    for no in missing:
        # A step that nothing comes before has its row from the admission on.
        if no >= len(plan.steps) or not plan.steps[no].dependencies:
            return None
        for edge in plan.steps[no].dependencies:
            state = steps.get(edge.step)
            if edge.step not in loaded or (state is not None and state.status.final):
                return None
    return frozenset(missing)
