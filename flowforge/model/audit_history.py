"""What may follow what in the history of a run: ends, starts, timers, items, compensation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from flowforge.model.event import Event, EventType
from flowforge.model.explanation import clock
from flowforge.model.plan import OnError, Plan, StepPlan

_ENDS = {
    EventType.STEP_COMPLETED: "completed",
    EventType.STEP_FAILED: "failed",
    EventType.STEP_SKIPPED: "skipped",
    EventType.STEP_CANCELLED: "cancelled",
}
_RUN_ENDS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})
_AFTER_THE_END = frozenset({EventType.RUN_RETRIED, EventType.DUPLICATE_PREVENTED, EventType.RECEIPT_GENERATED})

Found = tuple[str, str, Any]


def audit_history(plan: Plan, run: Mapping[str, Any], events: Sequence[Event]) -> Iterator[Found]:
    """Yield (kind, detail, about) for everything in a history that cannot be."""
    yield from _order(plan, events)
    yield from _undone(plan, run, events)
    yield from _items(plan, events)


def _order(plan: Plan, events: Sequence[Event]) -> Iterator[Found]:
    """2, 3, 4, 10: what may follow what."""
    ends: dict[str, str] = {}
    due: dict[str, datetime] = {}
    over = False
    moved = max((no for no, event in enumerate(events) if (event.data or {}).get("version")), default=-1)
    for no, event in enumerate(events):
        if over and event.type not in _AFTER_THE_END and not _by_operator(event):
            yield "end.more", f"{event.type} after the end", None
        over = event.type is not EventType.RUN_RETRIED and (over or event.type in _RUN_ENDS)
        if event.step is not None:
            # Before it was moved, the run went by another version.
            yield from _step(plan, event, ends, due, here=no > moved)
        for step_id in _repeated(event):
            ends.pop(step_id, None)
            due.pop(step_id, None)


def _step(plan: Plan, event: Event, ends: dict[str, str], due: dict[str, datetime], *, here: bool) -> Iterator[Found]:
    assert event.step is not None
    if event.type is EventType.STEP_COMPENSATED:
        if ends.get(event.step) != "completed":
            yield "undo.order", f"step {event.step} was undone, and it has {ends.get(event.step, 'not ended')}", None
        ends[event.step] = "compensated"
        return
    if event.step in ends and not _by_operator(event):
        yield "result.twice", f"{event.type} of step {event.step}, which has {ends[event.step]} already", None
    if event.type is EventType.STEP_STARTED and here:
        yield from _too_early(plan, event.step, ends)
    yield from _timer(event, due)
    if event.type in _ENDS:
        ends[event.step] = _ENDS[event.type]


def _too_early(plan: Plan, step_id: str, ends: Mapping[str, str]) -> Iterator[Found]:
    number = plan.find(step_id)
    if number is None:
        yield "start.unknown", f"step {step_id} started, and the workflow has no such step", None
        return
    for edge in plan.steps[number].dependencies:
        source = plan.steps[edge.step]
        end = ends.get(source.id)
        forgiven = source.on_error is not OnError.FAIL or source.parent is not None
        if end not in ("completed", "skipped") and not (forgiven and end in ("failed", "cancelled")):
            detail = f"step {step_id} started before {source.id} was done ({end or 'not final'})"
            yield "start.early", detail, None


def _timer(event: Event, due: dict[str, datetime]) -> Iterator[Found]:
    """10: timers never fire early."""
    assert event.step is not None
    data = event.data or {}
    if event.type is EventType.STEP_WOKEN and data.get("by") != "time":
        due.pop(event.step, None)
    fired = event.type in (EventType.STEP_QUEUED, EventType.STEP_STARTED, EventType.STEP_COMPLETED)
    if fired and (at := due.pop(event.step, None)) is not None and event.at < at:
        early = (at - event.at).total_seconds()
        yield "timer.early", f"step {event.step} went on at {clock(event.at)}, {early:,.3f} s before its time", None
    text = data.get("retry_at") or data.get("due_at")
    if text is not None:
        due[event.step] = datetime.fromisoformat(text)


def _by_operator(event: Event) -> bool:
    """Say whether somebody let a run that had failed go on without a step."""
    return event.type is EventType.STEP_SKIPPED and (event.data or {}).get("actor") is not None


# -- items and compensation --------------------------------------------------------------------------------------


def _items(plan: Plan, events: Sequence[Event]) -> Iterator[Found]:
    """6: at most `max_parallel` items of a foreach were ever worked on."""
    # By foreach and item, the steps of it that are worked on. An item without any is not in it.
    active: defaultdict[int, defaultdict[int | None, set[int]]] = defaultdict(lambda: defaultdict(set))
    for event in events:
        if event.type in (EventType.RUN_RETRIED, EventType.RUN_COMPENSATING):
            active.clear()
        found = _plan_of(plan, event.step)
        if found is None or found.foreach is None or found.compensates is not None:
            continue
        here, around = active[found.foreach], plan.steps[found.foreach]
        if event.type is EventType.STEP_QUEUED:
            here[found.item].add(found.no)
        elif event.type in _ENDS:
            here[found.item].discard(found.no)
            if not here[found.item]:
                del here[found.item]
        limit = None if around.body is None else around.body.max_parallel
        if limit is not None and len(here) > limit:
            yield "items.over", f"{len(here)} items of {around.id} at once, the limit is {limit}", None


def _undone(plan: Plan, run: Mapping[str, Any], events: Sequence[Event]) -> Iterator[Found]:
    """11: what completed and can be undone is undone in reverse order, each step once; what is left is named."""
    done: dict[str, datetime] = {}
    for event in events:
        step = _plan_of(plan, event.step)
        if event.type is EventType.RUN_RETRIED:
            for again in _repeated(event):
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
                yield "undo.order", f"step {step.id} was undone, and had done nothing", None
            elif late := sorted(name for name, other in done.items() if other > at):
                yield "undo.order", f"step {step.id} was undone before {', '.join(late)}", None
    yield from _left(plan, run, sorted(done))


def _left(plan: Plan, run: Mapping[str, Any], done: list[str]) -> Iterator[Found]:
    """Say what is not undone and not named, in a run that was to undo it."""
    error = run["error"] or {}
    named = sorted((error.get("details") or {}).get("not_undone") or ())
    timed_out = error.get("code") == "RUN_TIMEOUT" and not plan.compensates_on_cancel
    match run["status"]:
        case "failed" if not timed_out and done != named:
            yield "undo.left", f"steps {done} are not undone, the error names {named}", None
        case "cancelled" if plan.compensates_on_cancel and done:
            yield "undo.left", f"steps {done} are not undone, and the run is cancelled", None


def _repeated(event: Event) -> list[str]:
    """Return the steps that start over, or go on, with an operator's retry."""
    data = event.data or {}
    return [*data["steps"], *data.get("waiting", ())] if event.type is EventType.RUN_RETRIED else []


def _plan_of(plan: Plan, step_id: str | None) -> StepPlan | None:
    no = None if step_id is None else plan.find(step_id)
    return None if no is None else plan.steps[no]
