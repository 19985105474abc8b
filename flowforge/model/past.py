"""A run as it was at a moment of its history: the history cut off there, and all that was known by then.

What the history does not carry is taken from the run as it is now, where it cannot have changed since: the input, and
the outputs of steps that had completed and were not repeated later. What can have changed is left out. The version is
the one that the run has now, unless a retry that moved it lies before the moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from flowforge.model.capsule import Capsule
from flowforge.model.compensating import irreversible
from flowforge.model.documents import Compensation, Run, RunEvent, Step
from flowforge.model.event import EventType
from flowforge.model.fold import FoldedRun, FoldedStep, fold
from flowforge.model.plan import Plan, StepPlan
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.timeline import LOST

_DONE = frozenset({StepStatus.COMPLETED, StepStatus.COMPENSATED})
_UNDOING_NOTHING = frozenset({StepStatus.PENDING, StepStatus.CANCELLED})


def as_it_was(capsule: Capsule, *, seq: int | None = None, moment: datetime | None = None) -> Capsule:
    """Return a run as it was after an event, by number, or at a moment; its history ends there.

    A number beyond the last event, or a moment after it, is the run as it is known now.
    """
    shown = [event for event in capsule.events if _by_then(event, seq, moment)]
    if len(shown) == len(capsule.events):
        at = moment or capsule.exported_at
        return replace(capsule, exported_at=min(at, capsule.exported_at))
    at = moment or (shown[-1].at if shown else capsule.run.created_at)
    run = rebuilt(capsule.run, capsule.plan, shown, capsule.events[len(shown) :])
    return replace(
        capsule,
        run=run,
        events=tuple(shown),
        exported_at=at,
        logs=tuple(log for log in capsule.logs if _begun(run, log.step, log.attempt)),
        receipts=(),
        children=(),
        unpublished=frozenset(),
        compiled=capsule.plan,
    )


def _by_then(event: RunEvent, seq: int | None, moment: datetime | None) -> bool:
    return (seq is None or event.seq <= seq) and (moment is None or event.at <= moment)


def _begun(run: Run, step: str, attempt: int) -> bool:
    every = (*(run.steps or ()), *run.compensation.steps)
    return any(one.id == step and one.attempts >= attempt for one in every)


def rebuilt(run: Run, plan: Plan, events: Sequence[RunEvent], later: Iterable[RunEvent] = ()) -> Run:
    """Return a run as its events tell it; *run* is the same run, *later* what has happened to it since."""
    folded = fold(event.plain() for event in events)
    known = _outputs(run, later)
    notes = _notes(events)
    steps = {name: _step(plan, name, found, notes, known) for name, found in folded.steps.items()}
    moved = [
        event.data["version"] for event in events if event.type == EventType.RUN_RETRIED and "version" in event.data
    ]
    return replace(
        run,
        version=moved[-1] if moved else run.version,
        status=folded.status,
        output=run.output if folded.status is RunStatus.COMPLETED else None,
        error=folded.error,
        started_at=folded.started_at,
        finished_at=folded.finished_at,
        deadline_at=None,
        seq=len(events),
        steps=tuple(_listed(plan, folded, steps)),
        compensation=_compensation(plan, folded, steps),
    )


def _outputs(run: Run, later: Iterable[RunEvent]) -> dict[str, Any]:
    """Return the outputs that were never made again, by step."""
    again = {step for event in later if event.type == EventType.RUN_RETRIED for step in event.data.get("steps", ())}
    return {step.id: step.output for step in run.steps or () if step.id not in again}


def _listed(plan: Plan, folded: FoldedRun, steps: Mapping[str, Step]) -> Iterable[Step]:
    """Yield the steps of the definition in order, those of items behind their foreach."""
    untouched = StepStatus.CANCELLED if folded.status.final else StepStatus.PENDING
    items: dict[int, list[tuple[int, Step]]] = {}
    for name, step in steps.items():
        number = plan.find(name)
        planned = None if number is None else plan.steps[number]
        if planned is not None and planned.foreach is not None and planned.compensates is None:
            items.setdefault(planned.foreach, []).append((planned.no, step))
    for planned in plan.steps:
        yield steps.get(planned.id) or Step(planned.id, planned.name, planned.type, untouched)
        yield from (step for _, step in sorted(items.get(planned.no, ()), key=lambda pair: pair[0]))


def _compensation(plan: Plan, folded: FoldedRun, steps: Mapping[str, Step]) -> Compensation:
    if not plan.compensates:
        return Compensation()
    planned = {name: plan.steps[number] for name in steps if (number := plan.find(name)) is not None}
    undoing = [
        step
        for name, step in steps.items()
        if name in planned and planned[name].compensates is not None and step.status not in _UNDOING_NOTHING
    ]
    stays = [
        step
        for step in planned.values()
        if irreversible(step, folded.steps[step.id].status, folded.steps[step.id].attempt)
    ]
    return Compensation.of(folded.status, undoing, [step.id for step in sorted(stays, key=_number)])


def _number(step: StepPlan) -> int:
    return step.no


class _Note:
    """What the last events of a step say beyond its state."""

    def __init__(self) -> None:
        self.crashes = 0
        self.due_at: datetime | None = None
        self.waits_for: dict[str, Any] | None = None

    def add(self, event: RunEvent) -> None:
        data = event.data
        code = (data.get("error") or {}).get("code")
        if code in LOST and event.type in (EventType.STEP_RETRYING, EventType.STEP_FAILED):
            self.crashes += 1
        if event.type == EventType.STEP_DECIDED:
            if self.waits_for is not None and "missing" in self.waits_for and data.get("approved"):
                self.waits_for = {**self.waits_for, "missing": self.waits_for["missing"] - 1}
            return
        due = data.get("due_at") or data.get("retry_at")
        self.due_at = None if due is None else datetime.fromisoformat(due)
        self.waits_for = _waits_for(data) if event.type == EventType.STEP_WAITING else None


def _waits_for(data: Mapping[str, Any]) -> dict[str, Any] | None:
    if "signal" in data:
        return {"signal": data["signal"]}
    if "approvals" in data:
        return {"approval": dict.fromkeys(("prompt", "details", "approvers")), "missing": data["approvals"]}
    return {"items": data["items"], "open": data["items"]} if "items" in data else None


def _notes(events: Iterable[RunEvent]) -> dict[str, _Note]:
    found: dict[str, _Note] = {}
    for event in events:
        if event.step is not None:
            found.setdefault(event.step, _Note()).add(event)
        elif event.type == EventType.RUN_RETRIED:
            for step in event.data["steps"]:
                found.pop(step, None)
    return found


def _step(plan: Plan, name: str, folded: FoldedStep, notes: Mapping[str, _Note], outputs: Mapping[str, Any]) -> Step:
    number = plan.find(name)
    planned = None if number is None else plan.steps[number]
    note = notes.get(name) or _Note()
    open_ = folded.status is StepStatus.WAITING
    return Step(
        id=name,
        name=name if planned is None else planned.name,
        type="" if planned is None else planned.type,
        status=folded.status,
        attempts=folded.attempt,
        crashes=note.crashes,
        worker=folded.worker,
        output=outputs.get(name) if folded.status in _DONE else None,
        error=None if folded.status in _DONE else folded.error,
        queued_at=folded.queued_at,
        started_at=folded.started_at,
        finished_at=folded.finished_at,
        due_at=note.due_at if open_ else None,
        waits_for=note.waits_for if open_ else None,
    )
