"""The invariants, watched in a simulation: at every commit, at every acknowledgement, at every call, and at rest.

What must hold of one run is stated where the core is tested (tests/unit/decisions/invariants.py) and is the same
here. Beside that: an output was made under the token that it is stored with; whoever acknowledges a delivery has
nothing more to do for it; and no two attempts of a step are at work at once, unless one could not be told to stop.
"""

from __future__ import annotations

import json
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from flowforge.model.event import Event, EventType
from flowforge.model.plan import Plan
from flowforge.model.state import RunState, StepState
from flowforge.model.status import RunStatus, StepStatus
from tests.simulation.outside import Call
from tests.simulation.postgres import Server
from tests.simulation.tables import Stored
from tests.unit.decisions import invariants

_HOLDING = {RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.CANCELLING, RunStatus.COMPENSATING}
_ACTIVE = {StepStatus.QUEUED, StepStatus.RUNNING, StepStatus.COMPLETED}
_ENDS = {EventType.STEP_COMPLETED, EventType.STEP_FAILED, EventType.STEP_SKIPPED, EventType.STEP_CANCELLED}
_DONE = {StepStatus.COMPLETED, StepStatus.COMPENSATED}
#: Step types whose output says who made it.
ACTING = ("http", "python")


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(slots=True)
class History:
    """What the invariants of the core look at."""

    run: RunState
    events: tuple[Event, ...]

    @property
    def plan(self) -> Plan:
        """The plan of the run."""
        return self.run.plan

    def no(self, step: str) -> int:
        """Return the number of a step."""
        found = self.run.plan.find(step)
        assert found is not None, step
        return found


class Watch:
    """Looks at everything that happens, and says what it was."""

    def __init__(
        self,
        server: Server,
        now: Callable[[], float],
        name: Callable[[UUID], str],
        at_work: Callable[[UUID, StepState], bool],
    ) -> None:
        self._server, self._now, self._name = server, now, name
        #: Says whether an attempt, as its row has it, is at work.
        self._at_work = at_work
        #: (when, what), rendered when somebody wants to read it.
        self.trace: list[tuple[float, Callable[[], str]]] = []
        #: Attempts at work beside another one of the same step, or about to be, whose process was never frozen.
        self.overlaps: list[str] = []
        self.commits = 0
        self._tokens: set[tuple[UUID, int, int]] = set()

    def say(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append((self._now(), lambda: text))

    # -- commits -------------------------------------------------------------------------------------------

    def committed(self, who: str, before: Stored | None, after: Stored) -> None:
        """Check a run that was changed."""
        self.commits += 1
        new = after.events[0 if before is None else len(before.events) :]
        self.trace.append((self._now(), lambda: f"{who} commits {self._name(after.state.id)}: {_words(new)}"))
        try:
            self._run(before, after, new)
            self._gate(after)
        except AssertionError as error:
            what = f"{self._name(after.state.id)} after a commit of {who} ({_words(new)})"
            raise Violation(f"{what}: {_reason(error)}") from error

    def _run(self, before: Stored | None, after: Stored, new: Sequence[Event]) -> None:
        run = after.state
        history = cast("Any", History(run, after.events))
        invariants.history_rebuilds_the_rows(history)
        invariants.items_are_entered_as_allowed(run)
        invariants.what_was_done_is_undone_in_reverse(history)
        invariants.open_steps_are_counted(run)
        invariants.the_alarm_is_early_enough(run)
        invariants.nothing_starts_before_its_dependencies(run)
        if run.status is RunStatus.RUNNING and not run.failing:
            invariants.counters_equal_a_recount(run)
            invariants.joins_are_obeyed(run, forced=frozenset())
        if before is not None:
            _terminal_is_final(before.state, run, new)
            _tokens_grow(before, after)
            _timers_are_not_early(before.state, run, self._server.now())
            self._lost_at_work(before.state, new)
        _ends_once(after.events)

    def _lost_at_work(self, before: RunState, new: Sequence[Event]) -> None:
        """Note an attempt that lost a lease which it had reason to trust."""
        for event in new:
            if event.type is EventType.STEP_RETRYING and (event.data or {})["error"]["code"] == "WORKER_LOST":
                row = before.steps[_number(before, event)]
                assert row.due_at is not None
                left = row.due_at - self._server.now()
                if left > timedelta(0) and self._at_work(before.id, row):
                    self._note(f"{self._name(before.id)}, step {event.step}: lost with {left} of its lease left")

    def _note(self, text: str) -> None:
        self.overlaps.append(text)
        self.say(f"overlap: {text}")

    def _gate(self, after: Stored) -> None:
        if after.gate_id is not None:
            tables = self._server.tables
            active = sum(run.gate_id == after.gate_id and run.state.status in _HOLDING for run in tables.runs.values())
            assert active <= tables.gates[after.gate_id][2], f"{active} runs are active at gate {after.gate_id}"

    # -- deliveries ----------------------------------------------------------------------------------------

    def acknowledged(self, who: str, run_id: UUID, no: int, dispatch_no: int, *, elsewhere: bool) -> None:
        """Check an acknowledgement; *elsewhere* if the attempt came by another delivery of the same dispatch."""
        run = self._server.tables.runs.get(run_id)
        step = None if run is None else run.state.steps.get(no)
        if step is None or step.dispatch_no != dispatch_no or elsewhere:
            return
        if step.status in (StepStatus.QUEUED, StepStatus.RUNNING) and not takes_no_work(run):
            where = f"{self._name(run_id)}, step {no}, dispatch {dispatch_no}"
            raise Violation(f"{who} acknowledges {where}, which is {step.status.value}: nothing of it is committed")

    # -- calls ---------------------------------------------------------------------------------------------

    def began(self, call: Call, others: Sequence[Call]) -> None:
        """Check an attempt that begins."""
        where = f"{self._name(call.run_id)}, step {call.step}"
        self.say(f"{call.owner.name} calls for {where} under token {call.token}")
        run = self._server.tables.runs[call.run_id]
        step = run.state.steps[call.no]
        if step.token < call.token:
            raise Violation(f"{where}: called under token {call.token}, the newest that is committed is {step.token}")
        key = (call.run_id, call.no, call.token)
        if key in self._tokens:
            raise Violation(f"{where}: called twice under token {call.token}")
        self._tokens.add(key)
        for older, newer in [sorted((call, other), key=lambda one: one.token) for other in others]:
            if not older.frozen and not older.owner.was_frozen:
                text = f"{where}: {newer.owner.name} is at work under token {newer.token}"
                self._note(f"{text} while {older.owner.name} is under {older.token}")

    # -- the end -------------------------------------------------------------------------------------------

    def at_rest(self, calls: Sequence[Call], left: Sequence[str]) -> None:
        """Check that nothing is left to do, and that what was done outside is what the tables say."""
        wrong = [*left, *self._leftovers(), *self._effects(calls)]
        if wrong:
            raise Violation("at rest: " + "; ".join(wrong[:10]))

    def _leftovers(self) -> Iterator[str]:
        tables = self._server.tables
        yield from (f"a dispatch of {self._name(row.run_id)} is in the outbox" for row in tables.outbox.values())
        for run in tables.runs.values():
            if not run.state.status.final:
                yield f"{self._name(run.state.id)} is {run.state.status.value}: {_steps(run)}"

    def _effects(self, calls: Sequence[Call]) -> Iterator[str]:
        by_step: defaultdict[tuple[UUID, int], list[Call]] = defaultdict(list)
        for call in calls:
            by_step[call.run_id, call.no].append(call)
        for run in self._server.tables.runs.values():
            for step in run.state.steps.values():
                plan = run.state.plan.steps[step.no]
                found = by_step[run.state.id, step.no]
                where = f"{self._name(run.state.id)}, step {plan.id}"
                if plan.type in ACTING and step.status in _DONE and not found:
                    yield f"{where} has completed and nobody was called"
                if len({call.key for call in found}) > 1:
                    yield f"{where} was called with more than one key"
                if len(found) > step.token:
                    yield f"{where} was called {len(found)} times under {step.token} tokens"

    def lines(self) -> list[str]:
        """Return the trace for people."""
        start = self.trace[0][0] if self.trace else 0.0
        return [f"{at - start:9.3f} s  {what()}" for at, what in self.trace]


def takes_no_work(run: Stored | None) -> bool:
    """Say whether a run has ended, or is held: what is queued in it is dispatched again when it is resumed."""
    return run is None or run.state.status.final or run.state.status is RunStatus.PAUSED


def _terminal_is_final(before: RunState, run: RunState, new: Sequence[Event]) -> None:
    if any(event.type is EventType.RUN_RETRIED for event in new):
        return
    if before.status.final:
        assert not [event for event in new if event.type is not EventType.DUPLICATE_PREVENTED], "after the end"
        assert run.steps == before.steps
    for no, row in before.steps.items():
        undone = run.plan.compensates and run.steps[no].status is StepStatus.COMPENSATED
        if row.status.final and not undone and run.plan.steps[no].compensates is None:
            assert run.steps[no] == row, f"step {no} was {row.status.value} and is {run.steps[no].status.value}"


def _tokens_grow(before: Stored, after: Stored) -> None:
    """No token is ever used again, and an outcome is stored under the token that it was made under."""
    for no, row in after.state.steps.items():
        known = before.state.steps.get(no)
        assert known is None or row.token >= known.token, f"the token of step {no} went back"
        if row.status is not StepStatus.COMPLETED or known is None or known.status is StepStatus.COMPLETED:
            continue
        text = after.outputs.get(no)
        if after.state.plan.steps[no].type in ACTING and text is not None:
            token = json.loads(text)["token"]
            assert token == row.token, f"step {no} completed with what was made under token {token}, not {row.token}"


def _timers_are_not_early(before: RunState, run: RunState, now: datetime) -> None:
    """No timer fires before its time has come by the server's clock."""
    for no, row in before.steps.items():
        if run.plan.steps[no].wakes and row.error is None:
            continue
        if row.status is StepStatus.WAITING and run.steps[no].status in _ACTIVE:
            assert row.due_at is not None
            assert row.due_at <= now, f"step {no} was to wait for {row.due_at - now} more"


def _ends_once(events: Sequence[Event]) -> None:
    ended: Counter[str | None] = Counter()
    for event in events:
        if event.type is EventType.RUN_RETRIED:
            for step in (*(event.data or {})["steps"], *(event.data or {}).get("waiting", ())):
                ended[step] = 0
        elif event.type in _ENDS:
            ended[event.step] += 1
            assert ended[event.step] == 1, f"step {event.step} ended twice"


def _words(events: Sequence[Event]) -> str:
    return ", ".join(_word(event) for event in events) or "a new time"


def _word(event: Event) -> str:
    step = f" {event.step}" if event.step else ""
    attempt = f" #{event.attempt}" if event.attempt else ""
    code = (event.data or {}).get("error", {}).get("code", "")
    return f"{event.type.value}{step}{attempt}{' ' + code if code else ''}"


def _steps(run: Stored) -> str:
    steps = sorted(run.state.steps.values())
    return ", ".join(f"{run.state.plan.steps[one.no].id} {one.status.value} (due {one.due_at})" for one in steps)


def _number(run: RunState, event: Event) -> int:
    no = run.plan.find(event.step or "")
    assert no is not None, event
    return no


def _reason(error: AssertionError) -> str:
    """Return what an assertion says, or the name of the invariant that it is a part of."""
    where = traceback.extract_tb(error.__traceback__)[-1].name.replace("_", " ")
    return f"{where}: {error}" if str(error) else f"not so: {where}"
