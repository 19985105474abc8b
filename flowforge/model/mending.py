"""What a run's rows should be, by its history: the repair of rows that were changed by hand.

The history is append-only and is written with every transition, so where it has no gap it is the truth. What it does
not carry (payloads, counts of dependencies) is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from flowforge.model.audit import RUN_FIELDS, STEP_FIELDS, Row, RunRecord, alarms, epochs, open_steps, starts
from flowforge.model.event import Event
from flowforge.model.fold import FoldedStep, fold
from flowforge.model.state import UNDONE
from flowforge.model.status import FINAL_STEP, StepStatus


@dataclass(slots=True)
class Mending:
    """The columns to be changed, of the run and of its steps by number."""

    run: dict[str, Any] = field(default_factory=dict)
    steps: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.run or self.steps)


def mend(record: RunRecord, now: datetime) -> Mending:
    """Return what has to change; nothing for a run whose history has a gap."""
    mending = Mending()
    last = _last(record)
    if last is None:
        return mending
    events = record.events()
    folded, claims, repeated = fold(events), starts(events), epochs(events)
    mending.run = {name: getattr(folded, name) for name in RUN_FIELDS if getattr(folded, name) != record.row[name]}
    if folded.status.value != record.row["status"]:
        mending.run["status"] = folded.status.value
    if record.row["seq"] != last:
        mending.run["seq"] = last
    for row in record.steps:
        step_id = record.plan.steps[row["step_no"]].id
        step = folded.steps.get(step_id, FoldedStep())
        due = _due(events, step_id, step, row, now)
        changes = _step(step, row, due) | _fences(row, step, claims.get(step_id, 0), repeated.get(step_id, 0))
        if changes:
            mending.steps[row["step_no"]] = changes
    _counts(record, mending, now)
    return mending


def _last(record: RunRecord) -> int | None:
    """Return the number of the last event, None where one is missing."""
    following = 1
    for row in record.packed:
        if row["seq"] != following:
            return None
        following = row["seq"] + len(row["events"])
    return following - 1 or None


def _step(step: FoldedStep, row: Row, due: datetime | None) -> dict[str, Any]:
    changes = {name: getattr(step, name) for name in STEP_FIELDS if getattr(step, name) != row[name]}
    if step.status.value != row["status"]:
        changes |= {"status": step.status.value, "cancel_requested": False}
        if step.status in (StepStatus.QUEUED, StepStatus.COMPLETED, StepStatus.COMPENSATED):
            changes["open_dependencies"] = 0
    if due != row["due_at"]:
        changes["due_at"] = due
    return changes


def _due(events: Sequence[Event], step_id: str, step: FoldedStep, row: Row, now: datetime) -> datetime | None:
    """Return when to look at a step again: what has changed is looked at now, what waits for a time at that time."""
    if step.status in FINAL_STEP or step.status is StepStatus.PENDING:
        return None
    if step.status.value == row["status"]:
        found: datetime | None = row["due_at"]
        return found
    if step.status is not StepStatus.WAITING:
        return now
    data: Mapping[str, Any] = next((event.data or {} for event in reversed(events) if event.step == step_id), {})
    text = data.get("retry_at") or data.get("due_at")
    return None if text is None else datetime.fromisoformat(text)


def _fences(row: Row, step: FoldedStep, claims: int, repeated: int) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    token = max(row["token"], claims) if step.status is StepStatus.RUNNING else claims
    if token != row["token"]:
        changes["token"] = token
    label = row["label"] or ""
    if label.startswith(UNDONE) and label != f"{UNDONE}{repeated}":
        changes["label"] = f"{UNDONE}{repeated}" if repeated else None
    return changes


def _counts(record: RunRecord, mending: Mending, now: datetime) -> None:
    """Count open steps by what the rows will be, and set an alarm where one is missing."""
    row = {**record.row, **mending.run}
    steps = [{**one, **mending.steps.get(one["step_no"], {})} for one in record.steps]
    mended = replace(record, row=row, steps=steps)
    expected = open_steps(mended)
    if expected != row["open_steps"]:
        mending.run["open_steps"] = expected
    if mended.final:
        if row["wake_at"] is not None:
            mending.run["wake_at"] = None
        return
    times = alarms(row, steps)
    late = row["wake_at"] is None or (times and row["wake_at"] > min(times))
    waits = row["status"] == "paused" or any(one["status"] == "waiting" and one["due_at"] is None for one in steps)
    if row["status"] != "pending" and late and (times or not waits):
        mending.run["wake_at"] = min(times, default=now)
