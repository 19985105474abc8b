"""What must hold of one run, checked from its rows and its history alone.

It shares with the engine only what the invariants are stated in: `fold` and the compiled plan. A run that is audited
was read in one snapshot; what is wrong with it then was wrong at a commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from flowforge.model.audit_history import audit_history
from flowforge.model.event import Event, EventType
from flowforge.model.explanation import clock
from flowforge.model.fold import FoldedStep, fold
from flowforge.model.plan import Plan
from flowforge.model.state import UNDONE
from flowforge.model.status import FINAL_RUN, FINAL_STEP, RunStatus, StepStatus

Row = Mapping[str, Any]
_Found = tuple[str, str, Any]

RUN_FIELDS = ("created_at", "started_at", "finished_at", "error")
STEP_FIELDS = ("attempt", "worker", "queued_at", "started_at", "finished_at", "error")


class Violation(NamedTuple):
    """One thing that is not as it must be; *kind* is a word of flowforge.model.health."""

    kind: str
    detail: str
    run: UUID | None = None
    #: Number of the step; or what else a repair has to know.
    about: Any = None
    #: Id of the step that somebody should look at, where it is one.
    step: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as it is stored: its row, its steps' rows, its history as it is packed."""

    row: Row
    plan: Plan
    steps: Sequence[Row]
    packed: Sequence[Row]

    def events(self) -> list[Event]:
        """Return the history, unpacked."""
        return [
            Event(EventType(item["type"]), row["at"], item.get("step"), item.get("attempt"), item.get("data"))
            for row in self.packed
            for item in row["events"]
        ]

    @property
    def final(self) -> bool:
        """Whether the run's row says that it has ended."""
        return RunStatus(self.row["status"]) in FINAL_RUN


def audit(record: RunRecord) -> Iterator[Violation]:
    """Yield everything that is wrong with a run; whatever is stored of it, that is an answer and never an error."""
    run_id = record.row["id"]
    try:
        found = list(_found(record))
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        detail = f"what is stored of it makes no sense: {type(error).__name__}: {error}"
        found = [("run.unreadable", detail, None)]
    for kind, detail, about in found:
        yield Violation(kind, detail, run_id, about)


def _found(record: RunRecord) -> Iterator[_Found]:
    strange = [row["step_no"] for row in record.steps if not record.plan.has(row["step_no"])]
    if strange:
        yield "run.unreadable", f"it has rows of steps {strange[:10]}, which its workflow does not have", None
        return
    events = record.events()
    yield from _numbers(record)
    yield from _folded(record, events)
    yield from _open_steps(record)
    yield from _alarm(record)
    yield from _tokens(record, events)
    yield from audit_history(record.plan, record.row, events)


def _numbers(record: RunRecord) -> Iterator[_Found]:
    """5: the events are 1..n without gaps."""
    following = 1
    for row in record.packed:
        if row["seq"] != following:
            yield "history.gap", f"event {following} is missing: the history goes on with {row['seq']}", None
        following = row["seq"] + len(row["events"])
    if record.row["seq"] != following - 1:
        yield "history.count", f"seq is {record.row['seq']}, the history has {following - 1} events", following - 1


def _folded(record: RunRecord, events: Sequence[Event]) -> Iterator[_Found]:
    """5: fold(events) equals the rows."""
    folded = fold(events)
    if folded.status.value != record.row["status"]:
        detail = f"the run is {record.row['status']}, the history says {folded.status.value}"
        yield "rows.differ", detail, None
    for name in RUN_FIELDS:
        if getattr(folded, name) != record.row[name]:
            detail = f"{name} is {record.row[name]!r}, the history says {getattr(folded, name)!r}"
            yield "rows.differ", detail, None
    rows = {record.plan.steps[row["step_no"]].id: row for row in record.steps}
    for step_id in folded.steps.keys() - rows.keys():
        if record.plan.find(step_id) is None:
            continue  # an earlier version of the workflow had it, and its row was dropped when the run was moved
        yield "rows.missing", f"step {step_id} has a history and no row", None
    for step_id, row in rows.items():
        yield from _folded_step(step_id, folded.steps.get(step_id, FoldedStep()), row)


def _folded_step(step_id: str, step: FoldedStep, row: Row) -> Iterator[_Found]:
    if step.status.value != row["status"]:
        detail = f"step {step_id} is {row['status']}, the history says {step.status.value}"
        yield "rows.differ", detail, row["step_no"]
    for name in STEP_FIELDS:
        if getattr(step, name) != row[name]:
            detail = f"step {step_id}: {name} is {row[name]!r}, the history says {getattr(step, name)!r}"
            yield "rows.differ", detail, row["step_no"]


def starts(events: Sequence[Event]) -> dict[str, int]:
    """Return how often each step was claimed."""
    found: dict[str, int] = {}
    for event in events:
        if event.type is EventType.STEP_STARTED and event.step is not None:
            found[event.step] = found.get(event.step, 0) + 1
    return found


def epochs(events: Sequence[Event]) -> dict[str, int]:
    """Return how often the effect of each step was undone and then made again by an operator's retry."""
    found: dict[str, int] = {}
    undone: set[str] = set()
    for event in events:
        undid = event.type is EventType.STEP_COMPLETED and (event.step or "").endswith(":compensate")
        if event.step is not None and (undid or event.type is EventType.STEP_COMPENSATED):
            undone.add(event.step)
        elif event.type is EventType.RUN_RETRIED:
            for step in (event.data or {})["steps"]:
                if step in undone:
                    undone.discard(step)
                    found[step] = found.get(step, 0) + 1
    return found


def _tokens(record: RunRecord, events: Sequence[Event]) -> Iterator[_Found]:
    """8, 9: a token is as high as there were claims; a key changes only where the effect became another one."""
    claims, repeated = starts(events), epochs(events)
    for row in record.steps:
        step_id = record.plan.steps[row["step_no"]].id
        counted = claims.get(step_id, 0)
        if row["token"] != counted:
            yield "token.differs", f"step {step_id} has token {row['token']} after {counted} claims", row["step_no"]
        label = row["label"] or ""
        if label.startswith(UNDONE) and label.removeprefix(UNDONE) != str(repeated.get(step_id, 0)):
            detail = f"step {step_id} says that it was undone {label.removeprefix(UNDONE)} times, "
            yield "key.differs", detail + f"the history {repeated.get(step_id, 0)}", row["step_no"]


# -- what is open ------------------------------------------------------------------------------------------------


def _own(record: RunRecord) -> list[Row]:
    """Return the rows of steps that the run has: not those of compensations, nor of items it did not come to."""
    rows = {row["step_no"]: row for row in record.steps}
    own = []
    for row in record.steps:
        step = record.plan.steps[row["step_no"]]
        if step.compensates is not None:
            continue
        around = None if step.foreach is None else rows.get(step.foreach)
        if step.foreach is not None and (around is None or (step.item or 0) >= around["skipped_dependencies"]):
            continue
        own.append(row)
    return own


def _size(record: RunRecord) -> int:
    """Return how many steps the run has, with those of its items."""
    entered = sum(
        row["skipped_dependencies"] * body.size
        for row in record.steps
        if (body := record.plan.steps[row["step_no"]].body) is not None and row["label"] is not None
    )
    return len(record.plan.steps) + int(entered)


def open_steps(record: RunRecord) -> int:
    """Return what the run's count of open steps must be."""
    statuses = [StepStatus(row["status"]) for row in _own(record)]
    status, error = RunStatus(record.row["status"]), record.row["error"]
    if status in FINAL_RUN or (status is RunStatus.PENDING and error is not None):
        return 0
    if status is RunStatus.COMPENSATING:
        return 1
    if status is RunStatus.CANCELLING or (status is RunStatus.RUNNING and error is not None):
        return statuses.count(StepStatus.RUNNING)
    return _size(record) - sum(one in FINAL_STEP for one in statuses)


def _open_steps(record: RunRecord) -> Iterator[_Found]:
    """1, 4: the count of open steps is right, and an ended run has none."""
    own = _own(record)
    if record.final:
        for row in own:
            if row["status"] in ("queued", "running", "waiting", "pending") or row["due_at"] is not None:
                name, due = record.plan.steps[row["step_no"]].id, row["due_at"]
                what = "" if due is None else f", due at {clock(due)},"
                detail = f"step '{name}' is {row['status']}{what} in a run that has ended"
                yield "end.open", detail, row["step_no"]
    final = sum(StepStatus(row["status"]) in FINAL_STEP for row in own)
    if record.row["status"] == "completed" and final != _size(record):
        yield "end.incomplete", f"completed with {final} of {_size(record)} steps final", None
    expected = open_steps(record)
    if record.row["open_steps"] != expected:
        yield "run.count", f"open_steps is {record.row['open_steps']}, there are {expected}", expected


def alarms(row: Row, steps: Sequence[Row]) -> list[datetime]:
    """Return when a run has to be looked at; in a paused one nothing is dispatched, and no time runs out."""
    held = row["status"] == "paused"
    dues = [step["due_at"] for step in steps if not (held and step["status"] == "queued")]
    deadline = None if held or row["error"] else row["deadline_at"]
    return [due for due in (*dues, deadline) if due is not None]


def _alarm(record: RunRecord) -> Iterator[_Found]:
    """1: whatever has a time has an alarm that goes off no later."""
    row = record.row
    if record.final or row["status"] == "pending":
        return
    times = alarms(row, record.steps)
    waits = any(step["status"] == "waiting" and step["due_at"] is None for step in record.steps)
    if not times and (waits or row["status"] == "paused"):
        return
    if not times:
        yield "run.asleep", "nothing will ever wake it: no step has a time", None
    elif row["wake_at"] is None or row["wake_at"] > min(times):
        alarm = "it has no alarm" if row["wake_at"] is None else f"its alarm is at {clock(row['wake_at'])}"
        yield "run.asleep", f"{alarm}, and something is due at {clock(min(times))}", None
