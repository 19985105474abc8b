"""What must hold of the items of a foreach, checked from the history (checker.py)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from flowforge.model.event import Event, EventType
from flowforge.model.plan import Plan, StepPlan

_ENDS = frozenset({EventType.STEP_COMPLETED, EventType.STEP_FAILED, EventType.STEP_SKIPPED, EventType.STEP_CANCELLED})


def violations(plan: Plan, events: Sequence[Event]) -> Iterator[str]:
    """At most `max_parallel` items of a foreach were ever worked on."""
    active: defaultdict[int, set[int]] = defaultdict(set)
    for event in events:
        if event.type in (EventType.RUN_RETRIED, EventType.RUN_COMPENSATING):
            active.clear()
        found = _step(plan, event.step)
        if found is None or found.foreach is None or not _repeated(found):
            continue
        here, around = active[found.foreach], plan.steps[found.foreach]
        if event.type is EventType.STEP_QUEUED:
            here.add(found.no)
        elif event.type in _ENDS:
            here.discard(found.no)
        busy = len({plan.steps[no].item for no in here})
        limit = None if around.body is None else around.body.max_parallel
        if limit is not None and busy > limit:
            yield f"{busy} items of {around.id} at once, the limit is {limit}"


def _step(plan: Plan, step_id: str | None) -> StepPlan | None:
    no = None if step_id is None else plan.find(step_id)
    return None if no is None else plan.steps[no]


def _repeated(step: StepPlan) -> bool:
    return step.foreach is not None and step.compensates is None
