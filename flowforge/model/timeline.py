"""The phases of every step, read off a run's history event by event.

A step has one kind of time at every moment from the run's creation until it ends, and again after an operator's
retry. What the history does not tell is attributed as flowforge.model.phases says.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flowforge.model.event import Event, EventType
from flowforge.model.phase import Kind, Phase
from flowforge.model.plan import Plan, StepPlan

#: Codes of the errors of attempts that were lost with their worker.
LOST = frozenset({"WORKER_LOST", "POISON"})
_OVER = frozenset({EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})
_FINAL = frozenset({EventType.STEP_COMPLETED, EventType.STEP_FAILED, EventType.STEP_SKIPPED, EventType.STEP_CANCELLED})


class Track:
    """What was seen of one step, or of the run: closed phases, and the one that is open."""

    __slots__ = ("attempt", "kind", "phases", "plan", "released", "since")

    def __init__(self, plan: StepPlan | None = None) -> None:
        self.plan = plan
        self.phases: list[Phase] = []
        self.kind: Kind | None = None
        self.since: datetime | None = None
        self.attempt: int | None = None
        #: The attempt was handed back: what follows is not its failure.
        self.released = False

    def copy(self, plan: StepPlan | None) -> Track:
        """Return a track of another step that has gone through the same so far."""
        found = Track(plan)
        found.phases, found.kind, found.since = list(self.phases), self.kind, self.since
        return found

    def open(self, kind: Kind, at: datetime, attempt: int | None = None) -> None:
        """Begin a phase, where the one before ends."""
        self.close(at)
        self.kind, self.since, self.attempt = kind, at, attempt

    def close(self, at: datetime, kind: Kind | None = None) -> None:
        """End the open phase, if there is one; *kind* is what it turned out to be."""
        if self.kind is not None and self.since is not None and at > self.since:
            self.phases.append(Phase(kind or self.kind, self.since, at, self.attempt))
        self.kind = None


class Timeline:
    """The tracks of a run and its steps."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.run = Track()
        self.steps: dict[str, Track] = {}
        self.created: datetime | None = None
        #: When the run ended, unless it goes on.
        self.finished: datetime | None = None
        self._at: datetime | None = None
        self._paused = False
        #: What a step of the definition goes through until something happens to it.
        self._untouched = Track()
        #: When a foreach began to wait for its items.
        self._expanded: dict[str, datetime] = {}

    def add(self, event: Event) -> None:
        """Take the next event."""
        at = event.at if self._at is None else max(self._at, event.at)
        self._at = at
        if event.step is None:
            self._of_run(EventType(event.type), at, event.data or {})
        else:
            self._of_step(event, self._track(event.step), at)

    def end(self, until: datetime, unpublished: frozenset[str]) -> datetime:
        """Close everything; return when: the run's end, or the moment *until*, which no event is later than."""
        end = self.finished or max(until, self._at or until)
        for step in self.plan.steps:
            self._track(step.id)
        for name, track in self.steps.items():
            hidden = name in unpublished and track.kind is Kind.QUEUE
            track.close(end, Kind.OUTBOX if hidden else None)
        self.run.close(end)
        return end

    def _track(self, name: str) -> Track:
        found = self.steps.get(name)
        if found is not None:
            return found
        number = self.plan.find(name)
        plan = None if number is None else self.plan.steps[number]
        if plan is not None and plan.compensates is None and plan.foreach is None:
            track = self._untouched.copy(plan)
        else:
            track = Track(plan)
        if plan is not None and plan.foreach is not None and plan.compensates is None:
            entered = self._expanded.get(self.plan.steps[plan.foreach].id)
            if entered is not None:
                track.open(Kind.BLOCKED, entered)
        self.steps[name] = track
        return track

    # -- the run -------------------------------------------------------------------------------------------

    def _of_run(self, kind: EventType, at: datetime, data: Mapping[str, Any]) -> None:
        match kind:
            case EventType.RUN_CREATED:
                self.created = at
                self.run.open(Kind.GATE, at)
                self._untouched.open(Kind.GATE, at)
            case EventType.RUN_STARTED:
                self.run.close(at)
                self._move(Kind.GATE, Kind.BLOCKED, at)
            case EventType.RUN_PAUSED:
                self._paused = True
                self.run.open(Kind.PAUSED, at)
                self._move(Kind.QUEUE, Kind.PAUSED, at)
            case EventType.RUN_RESUMED | EventType.RUN_CANCELLING:
                self._resume(at)
            case EventType.RUN_COMPENSATING:
                self._resume(at)
                self.run.open(Kind.COMPENSATION, at)
                self._untouched.close(at)
            case EventType.RUN_RETRIED:
                self._retry(at, data)
            case _ if kind in _OVER:
                self._over(at)

    def _move(self, before: Kind, after: Kind, at: datetime) -> None:
        for track in (self._untouched, *self.steps.values()):
            if track.kind is before:
                track.open(after, at, track.attempt)

    def _resume(self, at: datetime) -> None:
        if self._paused:
            self._paused = False
            self.run.close(at)
            self._move(Kind.PAUSED, Kind.QUEUE, at)

    def _over(self, at: datetime) -> None:
        self._paused = False
        self.finished = at
        self.run.open(Kind.ENDED, at)
        for track in (self._untouched, *self.steps.values()):
            track.close(at)

    def _retry(self, at: datetime, data: Mapping[str, Any]) -> None:
        again = [self._track(name) for name in (*data.get("steps", ()), *data.get("waiting", ()))]
        self.finished = None
        self.run.open(Kind.GATE, at)
        for track in again:
            if track.plan is None or track.plan.compensates is None:
                track.open(Kind.GATE, at)
        # What nothing had happened to is named in the event; whatever comes later was not there.
        self._untouched.open(Kind.GATE, at)

    # -- steps ---------------------------------------------------------------------------------------------

    def _of_step(self, event: Event, track: Track, at: datetime) -> None:
        data = event.data or {}
        match event.type:
            case EventType.STEP_QUEUED:
                track.open(Kind.PAUSED if self._paused else Kind.QUEUE, at)
                track.released = False
            case EventType.STEP_STARTED:
                self._start(event, track, at)
            case EventType.STEP_WAITING:
                track.open(_waits(track, data), at, event.attempt)
                if "items" in data and event.step is not None:
                    self._expanded[event.step] = at
            case EventType.STEP_RELEASED:
                track.close(at, Kind.INFRASTRUCTURE)
                track.released = True
            case EventType.STEP_RETRYING:
                if _lost(data):
                    track.close(at, Kind.INFRASTRUCTURE)
                else:
                    track.open(Kind.INFRASTRUCTURE if track.released else Kind.BACKOFF, at, event.attempt)
            case kind if kind in _FINAL:
                track.close(at, Kind.INFRASTRUCTURE if _lost(data) and track.kind in _EXECUTING else None)

    def _start(self, event: Event, track: Track, at: datetime) -> None:
        undoes = track.plan is not None and track.plan.compensates is not None
        track.open(Kind.COMPENSATION if undoes else Kind.EXECUTION, at, event.attempt)


_EXECUTING = frozenset({Kind.EXECUTION, Kind.COMPENSATION})


def _lost(data: Mapping[str, Any]) -> bool:
    error = data.get("error")
    return isinstance(error, dict) and error.get("code") in LOST


def _waits(track: Track, data: Mapping[str, Any]) -> Kind:
    if "signal" in data or "approvals" in data:
        return Kind.SIGNAL
    if "items" in data:
        return Kind.BLOCKED
    return Kind.CHILD if track.plan is not None and track.plan.type == "workflow" else Kind.TIMER
