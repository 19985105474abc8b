"""What must hold of one run's history: nothing is missing, it tells what the rows say, and nothing follows too early.

Invariants 2, 3, 4, 5, 8 and 10 (checker.py); those of items and of compensation are sagas.py's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import DictRow

from flowforge.model.event import Event, EventType
from flowforge.model.fold import FoldedStep, fold
from flowforge.model.plan import OnError, Plan
from tests.support.invariants import sagas

ENDS = {
    EventType.STEP_COMPLETED: "completed",
    EventType.STEP_FAILED: "failed",
    EventType.STEP_SKIPPED: "skipped",
    EventType.STEP_CANCELLED: "cancelled",
}
RUN_ENDS = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})
_AFTER_THE_END = {EventType.RUN_RETRIED, EventType.DUPLICATE_PREVENTED, EventType.RECEIPT_GENERATED}
_RUN_FIELDS = ("created_at", "started_at", "finished_at", "error")
_STEP_FIELDS = ("attempt", "worker", "queued_at", "started_at", "finished_at", "error")


def unpacked(packed: Sequence[DictRow]) -> list[Event]:
    """Return the events that rows of history hold."""
    return [
        Event(EventType(item["type"]), row["at"], item.get("step"), item.get("attempt"), item.get("data"))
        for row in packed
        for item in row["events"]
    ]


@dataclass(frozen=True, slots=True)
class History:
    """One run's events, beside its rows."""

    row: DictRow
    plan: Plan
    steps: Sequence[DictRow]
    packed: Sequence[DictRow]
    events: Sequence[Event]

    def violations(self) -> Iterator[str]:
        """Yield what is wrong."""
        yield from self._numbers()
        yield from self._fold()
        yield from self._order()
        yield from sagas.undone(self.plan, self.row, self.events)
        yield from sagas.begun(self.plan, self.events)
        yield from sagas.items(self.plan, self.events)

    def _numbers(self) -> Iterator[str]:
        """5: the events are 1..n without gaps."""
        following = 1
        for row in self.packed:
            if row["seq"] != following:
                yield f"event {following} is missing: the history goes on with {row['seq']}"
            following = row["seq"] + len(row["events"])
        if self.row["seq"] != following - 1:
            yield f"seq is {self.row['seq']}, the history has {following - 1} events"

    def _fold(self) -> Iterator[str]:
        """5: fold(events) equals the rows."""
        folded = fold(self.events)
        if folded.status.value != self.row["status"]:
            yield f"the history says {folded.status.value}"
        for name in _RUN_FIELDS:
            if getattr(folded, name) != self.row[name]:
                yield f"{name} is {self.row[name]!r}, the history says {getattr(folded, name)!r}"
        rows = {self.plan.steps[row["step_no"]].id: row for row in self.steps}
        missing = [step_id for step_id in folded.steps.keys() - rows.keys() if self.plan.find(step_id) is not None]
        for step_id in missing:  # those that only an earlier version had were dropped with their rows
            yield f"step {step_id} has a history and no row"
        for step_id, row in rows.items():
            step = folded.steps.get(step_id, FoldedStep())
            if step.status.value != row["status"]:
                yield f"step {step_id} is {row['status']}, the history says {step.status.value}"
            for name in _STEP_FIELDS:
                if getattr(step, name) != row[name]:
                    yield f"step {step_id}: {name} is {row[name]!r}, the history says {getattr(step, name)!r}"

    def _order(self) -> Iterator[str]:
        """2, 3, 4, 8, 10: what may follow what."""
        ends: dict[str, str] = {}
        due: dict[str, datetime] = {}
        over = False
        moved = max((no for no, event in enumerate(self.events) if (event.data or {}).get("version")), default=-1)
        for no, event in enumerate(self.events):
            if over and event.type not in _AFTER_THE_END and not _by_operator(event):
                yield f"{event.type} after the end"
            over = event.type is not EventType.RUN_RETRIED and (over or event.type in RUN_ENDS)
            if event.step is not None:
                # Before it was moved, the run went by another version.
                yield from self._step(event, ends, due, here=no > moved)
            for step_id in sagas.repeated(event):
                ends.pop(step_id, None)
                due.pop(step_id, None)
        starts = Counter(event.step for event in self.events if event.type is EventType.STEP_STARTED)
        for row in self.steps:
            step_id = self.plan.steps[row["step_no"]].id
            if row["token"] != starts[step_id]:
                yield f"step {step_id} has token {row['token']} after {starts[step_id]} claims"

    def _step(self, event: Event, ends: dict[str, str], due: dict[str, datetime], *, here: bool) -> Iterator[str]:
        assert event.step is not None
        if event.type is EventType.STEP_COMPENSATED:
            if ends.get(event.step) != "completed":
                yield f"step {event.step} was undone, and it has {ends.get(event.step, 'not ended')}"
            ends[event.step] = "compensated"
            return
        if event.step in ends and not _by_operator(event):
            yield f"{event.type} of step {event.step}, which has {ends[event.step]} already"
        if event.type is EventType.STEP_STARTED and here:
            yield from self._too_early(event.step, ends)
        yield from self._timer(event, due)
        if event.type in ENDS:
            ends[event.step] = ENDS[event.type]

    def _too_early(self, step_id: str, ends: dict[str, str]) -> Iterator[str]:
        number = self.plan.find(step_id)
        assert number is not None, step_id
        step = self.plan.steps[number]
        for edge in step.dependencies:
            source = self.plan.steps[edge.step]
            end = ends.get(source.id)
            forgiven = source.on_error is not OnError.FAIL or source.parent is not None
            if end not in ("completed", "skipped") and not (forgiven and end in ("failed", "cancelled")):
                yield f"step {step_id} started before {source.id} was done ({end or 'not final'})"

    @staticmethod
    def _timer(event: Event, due: dict[str, datetime]) -> Iterator[str]:
        """10: timers never fire early."""
        assert event.step is not None
        data = event.data or {}
        if event.type is EventType.STEP_WOKEN and data.get("by") != "time":
            due.pop(event.step, None)
        fired = event.type in (EventType.STEP_QUEUED, EventType.STEP_STARTED, EventType.STEP_COMPLETED)
        if fired and (at := due.pop(event.step, None)) is not None and event.at < at:
            yield f"step {event.step} went on at {event.at}, {at - event.at} before its time"
        text = data.get("retry_at") or data.get("due_at")
        if text is not None:
            due[event.step] = datetime.fromisoformat(text)


def _by_operator(event: Event) -> bool:
    """Say whether somebody let a run that had failed go on without a step."""
    return event.type is EventType.STEP_SKIPPED and (event.data or {}).get("actor") is not None
