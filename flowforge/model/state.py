"""What is known of a run and its steps at one moment: the input and the result of every decision.

A step has no state until its first dependency is resolved; then it counts down what it still waits for. That
keeps starting a run cheap, and makes a decision need only the settled step and its direct successors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from flowforge.model.plan import Plan
from flowforge.model.status import RunStatus, StepStatus


class StepState(NamedTuple):
    """One step of one run; the fields are the columns of its row, in the same order.

    A tuple, because hundreds are read, changed and written in one transaction.
    """

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
    #: Label of the branch that a completed conditional took.
    branch: str | None = None
    #: The last failure's document; in status `waiting` its presence means the step waits for a retry.
    error: dict[str, Any] | None = None
    #: JSON text decided now; None leaves what the row holds.
    output: str | None = None


@dataclass(frozen=True, slots=True)
class RunState:
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

    @property
    def failing(self) -> bool:
        """Whether a step's failure has decided the run's end while attempts still run."""
        return self.status is RunStatus.RUNNING and self.error is not None
