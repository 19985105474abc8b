"""What must hold of items and of compensation, checked from the history alone (checker.py)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from flowforge.model.event import Event, EventType
from flowforge.model.plan import Plan, StepPlan

_ENDS = frozenset({EventType.STEP_COMPLETED, EventType.STEP_FAILED, EventType.STEP_SKIPPED, EventType.STEP_CANCELLED})


def items(plan: Plan, events: Sequence[Event]) -> Iterator[str]:
    """At most `max_parallel` items of a foreach were ever worked on."""
    active: defaultdict[int, set[int]] = defaultdict(set)
    for event in events:
        if event.type in (EventType.RUN_RETRIED, EventType.RUN_COMPENSATING):
            active.clear()
        found = _step(plan, event.step)
        if found is None or found.foreach is None or not _of_item(found):
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


def undone(plan: Plan, run: Mapping[str, Any], events: Sequence[Event]) -> Iterator[str]:
    """11: what completed and can be undone is undone in reverse order, each step once; what is left is named."""
    done: dict[str, datetime] = {}
    for event in events:
        step = _step(plan, event.step)
        if event.type is EventType.RUN_RETRIED:
            for again in repeated(event):
                done.pop(again, None)
        elif step is None:
            continue
        elif event.type is EventType.STEP_COMPLETED and step.compensation is not None:
            # What was recorded in another run is not this one's to undo.
            done |= {} if (event.data or {}).get("recorded") else {step.id: event.at}
        elif event.type is EventType.STEP_SKIPPED and step.compensates is not None:
            done.pop(plan.steps[step.compensates].id, None)
        elif event.type is EventType.STEP_COMPENSATED:
            at = done.pop(step.id, None)
            if at is None:
                yield f"step {step.id} was undone, and had done nothing"
            elif late := sorted(name for name, other in done.items() if other > at):
                yield f"step {step.id} was undone before {', '.join(late)}"
    yield from _left(plan, run, sorted(done))


def begun(plan: Plan, events: Sequence[Event]) -> Iterator[str]:
    """11: nothing is undone but in a run that is being undone."""
    undoing = False
    for event in events:
        step = _step(plan, event.step)
        undoing = event.type is not EventType.RUN_RETRIED and (undoing or event.type is EventType.RUN_COMPENSATING)
        if event.type is EventType.STEP_STARTED and step is not None and step.compensates is not None and not undoing:
            yield f"step {step.id} started while its run was not being undone"


def _left(plan: Plan, run: Mapping[str, Any], done: list[str]) -> Iterator[str]:
    """Say what is not undone and not named, in a run that was to undo it."""
    error = run["error"] or {}
    named = sorted((error.get("details") or {}).get("not_undone") or ())
    timed_out = error.get("code") == "RUN_TIMEOUT" and not plan.compensates_on_cancel
    match run["status"]:
        case "failed" if not timed_out and done != named:
            yield f"steps {done} are not undone, the error names {named}"
        case "cancelled" if plan.compensates_on_cancel and done:
            yield f"steps {done} are not undone, and the run is cancelled"


def repeated(event: Event) -> list[str]:
    """Return the steps that start over, or go on, with an operator's retry."""
    data = event.data or {}
    return [*data["steps"], *data.get("waiting", ())] if event.type is EventType.RUN_RETRIED else []


def _step(plan: Plan, step_id: str | None) -> StepPlan | None:
    no = None if step_id is None else plan.find(step_id)
    return None if no is None else plan.steps[no]


def _of_item(step: StepPlan) -> bool:
    return step.foreach is not None and step.compensates is None
