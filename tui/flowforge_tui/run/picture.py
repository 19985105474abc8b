"""A run at one moment: now, or as it was after any of its events. What every pane of the screen shows.

Now it is what the store says; in the past it is the fold of the first events, with outputs where they had been given.
Pure: the time is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from flowforge.model.documents import Compensation, Run, RunEvent, Step
from flowforge.model.event import Event, EventType
from flowforge.model.fold import FoldedRun, FoldedStep, fold
from flowforge.model.phase import Phases
from flowforge.model.phases import phases
from flowforge.model.status import RunStatus, StepStatus
from flowforge_tui.run import intervals
from flowforge_tui.run.definition import Definition
from flowforge_tui.run.intervals import Interval

_TYPES = {kind.value: kind for kind in EventType}


@dataclass(frozen=True)
class Picture:
    """A run, its definition and its history at one moment."""

    run: Run
    definition: Definition
    #: The events until then.
    events: Sequence[RunEvent]
    now: datetime
    #: All events there are.
    total: int
    #: Whether it is the past.
    past: bool = False

    @cached_property
    def steps(self) -> dict[str, Step]:
        """Every step by id, those included that undo others."""
        return {step.id: step for step in (*(self.run.steps or ()), *self.run.compensation.steps)}

    @cached_property
    def ledger(self) -> Phases | None:
        """Where the time went; None where the definition cannot be read."""
        if self.definition.plan is None or not self.events:
            return None
        return phases(_events(self.events), self.definition.plan, max(self.now, self.events[-1].at))

    @cached_property
    def intervals(self) -> dict[str, list[Interval]]:
        """What each step did when."""
        return {} if self.ledger is None else intervals.of_steps(self.ledger, self.events, ended=self.ended)

    @cached_property
    def critical(self) -> frozenset[str]:
        """The steps that the end of the run, or its present, was waiting for."""
        return frozenset() if self.ledger is None else frozenset(one.step for one in self.ledger.critical)

    def later(self, now: datetime) -> Picture:
        """Return the same picture at a later moment at which nothing has happened: what goes on has gone on."""
        made = replace(self, now=now)
        kept = {name: value for name, value in vars(self).items() if name in ("steps", "intervals", "critical")}
        vars(made).update(kept)
        ledger = self.ledger
        if ledger is not None and ledger.timeline and now > ledger.end and not self.ended:
            *before, last = ledger.timeline
            vars(made)["ledger"] = replace(ledger, end=now, timeline=(*before, last._replace(end=now)))
        return made

    @property
    def ended(self) -> bool:
        """Whether nothing moves any more."""
        return self.run.status.final

    @property
    def end(self) -> datetime:
        """The end of what can be seen: the run's, or now."""
        last = self.run.finished_at
        return self.now if last is None or not self.ended else last


def live(run: Run, definition: Definition, events: Sequence[RunEvent], now: datetime) -> Picture:
    """Return a run as it is."""
    return Picture(run, definition, events, now, len(events))


def at(picture: Picture, position: int) -> Picture:
    """Return the run of a live picture as it was after its first *position* events."""
    events = picture.events[:position]
    folded = fold(_events(events))
    moment = events[-1].at if events else picture.run.created_at
    run = _run(picture.run, folded, events)
    return Picture(run, picture.definition, events, moment, picture.total, past=True)


def _events(events: Sequence[RunEvent]) -> list[Event]:
    """The events that this release knows."""
    return [
        Event(_TYPES[one.type], one.at, one.step, one.attempt, one.data or None) for one in events if one.type in _TYPES
    ]


def _run(run: Run, folded: FoldedRun, events: Sequence[RunEvent]) -> Run:
    waits = _waits(events)
    steps = tuple(
        _step(step, folded.steps.get(step.id), waits.get(step.id), folded.status)
        for step in run.steps or ()
        if "[" not in step.id or step.id in folded.steps
    )
    undoing = tuple(
        _step(step, folded.steps[step.id], waits.get(step.id), folded.status)
        for step in run.compensation.steps
        if step.id in folded.steps
    )
    began = any(one.type == EventType.RUN_COMPENSATING for one in events)
    final = folded.status is RunStatus.COMPLETED
    return replace(
        run,
        status=folded.status,
        started_at=folded.started_at,
        finished_at=folded.finished_at,
        error=folded.error,
        output=run.output if final else None,
        seq=events[-1].seq if events else 0,
        steps=steps,
        compensation=_compensation(run.compensation, undoing, folded.status) if began else Compensation(),
    )


def _compensation(made: Compensation, undoing: tuple[Step, ...], status: RunStatus) -> Compensation:
    word = "running" if status is RunStatus.COMPENSATING else made.status
    return replace(made, status=word, steps=undoing)


def _step(step: Step, folded: FoldedStep | None, wait: RunEvent | None, run: RunStatus) -> Step:
    if folded is None:
        untouched = StepStatus.CANCELLED if run.final else StepStatus.PENDING
        return Step(step.id, step.name, step.type, untouched)
    done = folded.status in (StepStatus.COMPLETED, StepStatus.COMPENSATED)
    waiting = wait if folded.status is StepStatus.WAITING else None
    return Step(
        step.id,
        step.name,
        step.type,
        folded.status,
        folded.attempt,
        worker=folded.worker,
        output=step.output if done else None,
        error=folded.error,
        queued_at=folded.queued_at,
        started_at=folded.started_at,
        finished_at=folded.finished_at,
        due_at=_due(waiting),
        waits_for=_waits_for(waiting),
    )


def _waits(events: Sequence[RunEvent]) -> dict[str, RunEvent]:
    """The last thing that each step began to wait for."""
    return {one.step: one for one in events if one.step and one.type in ("step.waiting", "step.retrying")}


def _due(event: RunEvent | None) -> datetime | None:
    text = None if event is None else event.data.get("due_at") or event.data.get("retry_at")
    return None if text is None else datetime.fromisoformat(text)


def _waits_for(event: RunEvent | None) -> dict[str, Any] | None:
    if event is None or event.type != "step.waiting":
        return None
    if "signal" in event.data:
        return {"signal": event.data["signal"]}
    if "approvals" in event.data:
        return {"approval": {}, "missing": event.data["approvals"]}
    return {"items": event.data["items"]} if "items" in event.data else None
