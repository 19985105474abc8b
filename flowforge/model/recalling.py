"""What a run's history knows of steps that have no row, because a version that the run went by had dropped them.

A step that the next version has again is the same step: its attempts go on counting, its old tokens stay old, and what
it did has the same idempotency key until that is undone. What it came to does not count: its output went with its row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from flowforge.model.audit import epochs, starts
from flowforge.model.event import Event, EventType
from flowforge.model.fold import FoldedStep, fold
from flowforge.model.plan import Plan, StepPlan
from flowforge.model.state import UNDONE, StepState
from flowforge.model.status import StepStatus


def recalled(plan: Plan, events: Sequence[Event], known: Collection[int]) -> Iterator[StepState]:
    """Yield the state of each step of *plan* that the history tells of and that is not *known* by its number."""
    folded, claims, repeated = fold(events).steps, starts(events), epochs(events)
    dispatched = Counter(event.step for event in events if event.type is EventType.STEP_QUEUED)
    for step_id, step in folded.items():
        no = plan.find(step_id)
        if no is None or no in known:
            continue
        yield StepState(
            no,
            _status(plan.steps[no], step),
            attempt=step.attempt,
            token=claims.get(step_id, 0),
            dispatch_no=dispatched[step_id],
            worker=step.worker,
            queued_at=step.queued_at,
            started_at=step.started_at,
            finished_at=step.finished_at,
            label=_label(plan.steps[no], repeated.get(step_id, 0)),
            error=step.error,
        )


def _status(step: StepPlan, folded: FoldedStep) -> StepStatus:
    """Return an end that does not count, unless it is one that makes the effect another one."""
    counts = step.compensates is not None or folded.status is StepStatus.COMPENSATED
    return folded.status if counts and folded.status.final else StepStatus.CANCELLED


def _label(step: StepPlan, times: int) -> str | None:
    return f"{UNDONE}{times}" if times and not (step.branches or step.wakes) else None
