"""One decision in the making: a working copy of a run on which facts are applied, and what came of it.

Every transition goes through the few verbs here, so each leaves exactly one event, keeps the count of open steps,
and keeps the run's alarm no later than the first thing to look at. Nothing here knows why a transition happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from flowforge.model.aside import Aside
from flowforge.model.event import Event, EventType
from flowforge.model.json import MAX_RUN_BYTES
from flowforge.model.state import RunState, Signal, StepState, untouched
from flowforge.model.status import FINAL_STEP, RunStatus, StepStatus


@dataclass(frozen=True, slots=True)
class Terms:
    """The installation's numbers that decisions depend on."""

    #: How long a dispatched step may stay unclaimed before it is dispatched again; doubles every time.
    redispatch_after: timedelta = timedelta(seconds=30)
    #: Attempts that a step may lose with their worker before it is parked as poison.
    max_crashes: int = 3
    #: Bytes of all outputs of one run.
    max_run_bytes: int = MAX_RUN_BYTES


class NeedsWholeRun(Exception):
    """The decision reaches beyond the steps that were loaded; load the whole run and decide again."""


class Dispatch(NamedTuple):
    """A step to put into the outbox."""

    step: int
    dispatch_no: int
    lane: str


# The constructors of tuples, without the function in front of them that sorts out keywords.
_event = partial(tuple.__new__, Event)
_dispatch = partial(tuple.__new__, Dispatch)
_state = partial(tuple.__new__, RunState)

_GOING_ON = frozenset({RunStatus.RUNNING, RunStatus.PAUSED})


class Turn:
    """A run, the facts applied to it so far, and their consequences."""

    __slots__ = (
        *("aside", "awaits_output", "before", "changed", "deadline_at", "dispatches", "error", "events", "finished_at"),
        *("loaded", "now", "open_steps", "output", "output_bytes", "plan", "rows_ahead", "started_at", "status"),
        *("steps", "stops", "terms", "wake_at"),
    )

    def __init__(self, state: RunState, now: datetime, terms: Terms, loaded: frozenset[int] | None = None) -> None:
        self.plan = state.plan
        #: The steps that were looked up, None for all; *loaded* adds some that are known to have no row.
        self.loaded = state.loaded if loaded is None or state.loaded is None else state.loaded | loaded
        self.now = now
        self.terms = terms
        self.before = state
        self.status = state.status
        self.error = state.error
        self.open_steps = state.open_steps
        self.output_bytes = state.output_bytes
        self.started_at, self.finished_at = state.started_at, state.finished_at
        self.deadline_at, self.wake_at = state.deadline_at, state.wake_at
        self.output = state.output
        self.rows_ahead = state.rows_ahead
        self.steps: dict[int, StepState] = dict(state.steps)
        self.changed: set[int] = set()
        self.events: list[Event] = []
        self.dispatches: dict[int, Dispatch] = {}
        #: Running attempts that must be told to stop, after the commit.
        self.stops: list[int] = []
        #: All steps are final and nothing failed: the run completes once its output is known.
        self.awaits_output = False
        #: What is written beside the run's own rows; None while there is nothing.
        self.aside: Aside | None = None

    # -- what is known -------------------------------------------------------------------------------------

    def step(self, no: int) -> StepState:
        """Return the step's state; one that was never touched is pending on all its dependencies."""
        state = self.steps.get(no)
        if state is None:
            if self.loaded is not None and no not in self.loaded:
                raise NeedsWholeRun
            return StepState(no, StepStatus.PENDING, len(self.plan.steps[no].dependencies))
        return state

    def learn(self, numbers: Iterable[int]) -> bool:
        """Say whether some steps are known; those that cannot have a row yet are from now on."""
        if self.loaded is None:
            return True
        extra = untouched(self.plan, self.steps, self.loaded, numbers, rows_ahead=self.rows_ahead)
        if extra is None:
            return False
        self.loaded |= extra
        return True

    def whole(self) -> list[StepState]:
        """Return every step that has a state."""
        if self.loaded is not None:
            raise NeedsWholeRun
        return list(self.steps.values())

    @property
    def ending(self) -> bool:
        """Whether nothing of the graph may start any more."""
        return self.error is not None or self.status not in _GOING_ON

    def may_start(self, no: int) -> bool:
        """Say whether a step may start, or start again, now or when the run is resumed."""
        if self.status is RunStatus.COMPENSATING:
            return self.plan.steps[no].compensates is not None
        return not self.ending

    @property
    def signals(self) -> tuple[Signal, ...]:
        """What has come for the run's steps from outside, in order."""
        before = self.before.signals
        if before is None:
            raise NeedsWholeRun
        return before if self.aside is None else self.aside.signals(before)

    def beside(self) -> Aside:
        """Return where to note what is written beside the run's own rows."""
        if self.aside is None:
            self.aside = Aside()
        return self.aside

    @property
    def touches(self) -> bool:
        """Whether anything was decided that has to be written."""
        return bool(self.events or self.changed or self.wake_at != self.before.wake_at)

    @property
    def next_seq(self) -> int:
        """The number of the next event."""
        return self.before.seq + len(self.events) + 1

    # -- transitions of steps ------------------------------------------------------------------------------

    def put(self, state: StepState) -> StepState:
        """Record a step's new state without an event: only counters changed."""
        self.steps[state.no] = state
        self.changed.add(state.no)
        if state.due_at is not None and (self.wake_at is None or state.due_at < self.wake_at):
            self.wake_at = state.due_at
        return state

    def emit(self, kind: EventType, no: int | None = None, attempt: int | None = None, /, **data: Any) -> None:
        """Append an event."""
        step = None if no is None else self.plan.steps[no].id
        self.events.append(_event((kind, self.now, step, attempt, data or None)))

    def queue(self, state: StepState) -> StepState:
        """Make a step ready for any worker of its lane; in a paused run it is dispatched when that is resumed."""
        queued = self.put(state.queued(self.now, self.now + self.terms.redispatch_after))
        if self.status is not RunStatus.PAUSED:
            self.dispatches[state.no] = _dispatch((state.no, queued.dispatch_no, self.plan.steps[state.no].lane))
        self.emit(EventType.STEP_QUEUED, state.no)
        return queued

    def dispatch_again(self, state: StepState) -> None:
        """Dispatch a queued step once more, because its message may be lost; each time it waits longer."""
        waited = self.now - (state.queued_at or self.now)
        pause = min(max(self.terms.redispatch_after, waited), timedelta(minutes=10))
        again = self.put(state._replace(dispatch_no=state.dispatch_no + 1, due_at=self.now + pause))
        self.dispatches[state.no] = Dispatch(state.no, again.dispatch_no, self.plan.steps[state.no].lane)

    def start(self, state: StepState, worker: str, lease: timedelta) -> StepState:
        """Hand a queued step to a worker, under a new token."""
        started = self.put(state.started(worker, self.now, self.now + lease))
        self.dispatches.pop(state.no, None)
        self.emit(EventType.STEP_STARTED, state.no, started.attempt, worker=worker)
        return started

    def wait(self, state: StepState, due_at: datetime | None, output: str | None, **why: Any) -> StepState:
        """Let a step wait: for a time, or for what the event says."""
        waiting = self.put(state._replace(status=StepStatus.WAITING, due_at=due_at, error=None, output=output))
        if due_at is not None:
            why["due_at"] = due_at.isoformat()
        self.emit(EventType.STEP_WAITING, state.no, state.attempt, **why)
        return waiting

    def wake(self, state: StepState, by: str) -> StepState:
        """Let a waiting step be executed again; that is no new attempt."""
        self.emit(EventType.STEP_WOKEN, state.no, state.attempt, by=by)
        return self.queue(state._replace(attempt=state.attempt - 1, open_dependencies=0))

    def retry(self, state: StepState, due_at: datetime, error: dict[str, Any]) -> None:
        """Let a failed attempt be followed by another one at a time."""
        self.put(state._replace(status=StepStatus.WAITING, due_at=due_at, failures=state.failures + 1, error=error))
        self.emit(EventType.STEP_RETRYING, state.no, state.attempt, error=error, retry_at=due_at.isoformat())

    def finish(self, state: StepState, status: StepStatus, **changes: Any) -> StepState:
        """Move a step to a final status; the caller emits the event that says why."""
        return self._final(
            state._replace(status=status, due_at=None, finished_at=self.now, cancel_requested=False, **changes)
        )

    def complete(self, state: StepState, output: str | None, branch: str | None) -> StepState:
        """Move a step that did its work to `completed`; the caller emits the event."""
        return self._final(state.completed(self.now, output, branch))

    def _final(self, state: StepState) -> StepState:
        self.dispatches.pop(state.no, None)
        self.open_steps -= 1
        return self.put(state)

    def request_stop(self, state: StepState) -> None:
        """Ask a running attempt to stop."""
        if not state.cancel_requested:
            self.put(state._replace(cancel_requested=True))
        self.stops.append(state.no)

    # -- transitions of the run ----------------------------------------------------------------------------

    def end(self, status: RunStatus, kind: EventType, **data: Any) -> None:
        """Move the run to a final status."""
        self.status, self.finished_at, self.wake_at = status, self.now, None
        self.emit(kind, None, None, **data)

    def set_alarm(self) -> None:
        """Recompute the alarm from everything that is not final; needs the whole run.

        In a paused run nothing is dispatched and no time runs out: an alarm that cannot be answered would go off for
        ever, and those of many runs would keep the sweeper from all others.
        """
        held = self.status is RunStatus.PAUSED
        steps = [step for step in self.whole() if not (held and step.status is StepStatus.QUEUED)]
        times = [step.due_at for step in steps if step.due_at is not None]
        if self.deadline_at is not None and not (self.ending or held):
            times.append(self.deadline_at)
        self.wake_at = min(times, default=self.now + timedelta(days=1))

    def result(self) -> RunState:
        """Return the run as decided; what was not touched is as it was."""
        after = self._after(self.steps, self.before.loaded, self.output)
        return after if self.before.signals is None else after._replace(signals=self.signals)

    def remembered(self) -> RunState:
        """Return the run as decided, with what a later decision may need of the steps seen here: the open ones."""
        steps = {
            no: state if state.output is None else state._replace(output=None)
            for no, state in self.steps.items()
            if state.status not in FINAL_STEP
        }
        return self._after(steps, frozenset(steps), None)

    def _after(self, steps: Mapping[int, StepState], loaded: frozenset[int] | None, output: str | None) -> RunState:
        before = self.before
        seq, revision = before.seq + len(self.events), before.revision + 1
        counts = (before.id, self.plan, self.status, seq, self.open_steps, steps, loaded, self.error)
        times = (before.created_at, self.started_at, self.finished_at, self.deadline_at, self.wake_at)
        return _state(
            (*counts, *times, self.output_bytes, output, revision, self.rows_ahead, before.traceparent, None),
        )

    def touched(self) -> Mapping[int, StepState]:
        """Return the steps whose rows have to be written, by number."""
        return {no: self.steps[no] for no in self.changed}
