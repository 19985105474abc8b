"""A store in memory, one run in it, and the verbs to move it: what the ledger does, without Postgres.

Every decision is made on the whole run, on what the ledger would load, and on what a worker would remember, and must
come out the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flowforge.engine.batch import needed
from flowforge.engine.entries import Entry
from flowforge.model import endings
from flowforge.model.aside import Incident
from flowforge.model.decide import decide
from flowforge.model.event import Event, EventType
from flowforge.model.facts import (
    Accepted,
    Admitted,
    Answer,
    CancelRequested,
    Claimed,
    Created,
    Decided,
    Fact,
    Granted,
    PauseRequested,
    Refused,
    ResumeRequested,
    RetryRequested,
    Settled,
    SignalSent,
    SkipRequested,
    Woke,
)
from flowforge.model.outcome import Completed, Expanded, Failed, Outcome, StepError, Waiting
from flowforge.model.plan import Plan
from flowforge.model.state import RunState, StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.turn import Dispatch, NeedsWholeRun, Terms, Turn

START = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=30)
RUN = UUID(int=1)
LANES = frozenset({"default", "default.python"})
ERROR = StepError("BROKEN", "it broke", kinds=("network",))


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction: the run before it, its facts and answers, and what it did."""

    before: RunState
    facts: tuple[Fact, ...]
    answers: tuple[Answer, ...]
    turn: Turn
    #: The ledger's first look was enough.
    sliced: bool


class Bench:
    """One run of a plan; `run.steps` are its rows."""

    def __init__(self, plan: Plan, *, terms: Terms | None = None, admit: bool = True) -> None:
        self.plan, self.terms = plan, terms or Terms()
        self.now = START
        steps = len(plan.steps)
        self.run = RunState(RUN, plan, RunStatus.PENDING, 0, steps, {}, created_at=START, signals=())
        #: The run as a worker remembers it from the last commit.
        self.memory: RunState | None = None
        #: How often that was enough for the next decision.
        self.recalled = 0
        self.events: list[Event] = []
        #: Every dispatch that ever left, the stale ones included.
        self.outbox: list[Dispatch] = []
        self.stops: list[int] = []
        self.incidents: list[Incident] = []
        self.commits: list[Commit] = []
        self.apply(Created("test"), *([Admitted()] if admit else []))

    # -- deciding ------------------------------------------------------------------------------------------

    def apply(self, *facts: Fact) -> list[Answer]:
        """Decide about facts in one transaction and store what came of it."""
        answers, turn = self._decided(facts, None)
        loaded = self._loaded(facts)
        sliced, seen = False, turn
        if loaded is not None:
            try:
                again, part = self._decided(facts, loaded)
            except NeedsWholeRun:
                pass
            else:
                sliced, seen = True, part
                assert again == answers
                self._same(part, turn)
        self._recall(facts, answers, turn)
        if turn.awaits_output:
            endings.complete(turn, "{}")
        self.commits.append(Commit(self.run, facts, tuple(answers), turn, sliced))
        self._store(turn)
        if turn.touches:
            # A worker remembers what it has seen, which is not all of the run.
            self.memory = seen.remembered()
        return answers

    def _decided(self, facts: Sequence[Fact], loaded: frozenset[int] | None) -> tuple[list[Answer], Turn]:
        steps = {no: state for no, state in self.run.steps.items() if loaded is None or no in loaded}
        signals = self.run.signals if loaded is None else None
        turn = Turn(self.run._replace(steps=steps, loaded=loaded, signals=signals), self.now, self.terms)
        return decide(turn, facts), turn

    def _recall(self, facts: Sequence[Fact], answers: Sequence[Answer], whole: Turn) -> None:
        """Decide on the memory, where the ledger would: refusals are not made on the strength of it."""
        numbers = self._loaded(facts)
        if self.memory is None or numbers is None or (extra := self.memory.knows(numbers)) is None:
            return
        turn = Turn(self.memory._replace(loaded=(self.memory.loaded or frozenset()) | extra), self.now, self.terms)
        try:
            again = decide(turn, facts)
        except NeedsWholeRun:
            return
        if not any(isinstance(answer, Refused) for answer in again):
            self.recalled += 1
            assert again == list(answers)
            self._same(turn, whole)

    def _loaded(self, facts: Sequence[Fact]) -> frozenset[int] | None:
        numbers = needed([Entry(RUN, fact, self.plan) for fact in facts])
        return None if numbers is None else frozenset(numbers)

    @staticmethod
    def _same(part: Turn, whole: Turn) -> None:
        """Deciding on the slice and on the whole run must agree in everything that is stored or told."""
        assert part.touched() == whole.touched()
        assert part.events == whole.events
        assert part.dispatches == whole.dispatches
        assert part.stops == whole.stops
        assert part.awaits_output == whole.awaits_output
        assert _incidents(part) == _incidents(whole)
        nothing: dict[int, StepState] = {}
        left, right = (turn.result()._replace(steps=nothing, loaded=None, signals=None) for turn in (part, whole))
        assert left == right

    def _store(self, turn: Turn) -> None:
        if not turn.touches:
            return
        rows = {**self.run.steps, **turn.touched()}
        # As the store does: outputs are written, but not read back for a decision.
        rows = {no: state._replace(output=None) for no, state in rows.items()}
        self.run = turn.result()._replace(steps=rows, loaded=None)
        self.events += turn.events
        self.outbox += turn.dispatches.values()
        self.stops += turn.stops
        if turn.aside is not None:
            self.incidents += turn.aside.incidents

    # -- looking -------------------------------------------------------------------------------------------

    def step(self, name: str) -> StepState:
        """Return a step's row, or what a step without a row is."""
        no = self.no(name)
        untouched = StepState(no, StepStatus.PENDING, len(self.plan.steps[no].dependencies))
        return self.run.steps.get(no, untouched)

    def no(self, name: str) -> int:
        """Return a step's number."""
        no = self.plan.find(name)
        assert no is not None, name
        return no

    def status(self, name: str) -> str:
        """Return a step's status."""
        return self.step(name).status.value

    def statuses(self, *names: str) -> list[str]:
        """Return the statuses of steps."""
        return [self.status(name) for name in names]

    def error(self, name: str | None = None) -> dict[str, Any]:
        """Return the error of a step, or of the run; there is one."""
        error = self.run.error if name is None else self.step(name).error
        assert error is not None
        return error

    def queued(self) -> set[str]:
        """Return the ids of the queued steps."""
        rows = self.run.steps.values()
        return {self.plan.steps[row.no].id for row in rows if row.status is StepStatus.QUEUED}

    def history(self, name: str | None = None) -> list[EventType]:
        """Return the types of a step's events, or of the run's."""
        return [event.type for event in self.events if event.step == name]

    # -- moving --------------------------------------------------------------------------------------------

    def after(self, **duration: float) -> None:
        """Let time pass."""
        self.now += timedelta(**duration)

    def claim(self, name: str, worker: str = "w1", **changes: Any) -> Answer:
        """Claim a step with its newest dispatch."""
        row = self.step(name)
        fact = Claimed(row.no, row.dispatch_no, worker, LEASE)
        return self.apply(replace(fact, **changes))[0]

    def settle(self, name: str, outcome: Outcome, **changes: Any) -> Answer:
        """Settle the attempt that runs."""
        return self.apply(self.settled(name, outcome, **changes))[0]

    def settled(self, name: str, outcome: Outcome, **changes: Any) -> Settled:
        """Return the fact that the attempt that runs ended."""
        row = self.step(name)
        fact = Settled(row.no, row.token, row.worker or "w1", LEASE, outcome, "{}")
        return replace(fact, **changes)

    def complete(self, *names: str, branch: str | None = None) -> None:
        """Claim steps and complete them, one after the other."""
        for name in names:
            assert isinstance(self.claim(name), Granted), name
            assert self.settle(name, Completed(None, branch)) == Accepted()

    def fail(self, name: str, error: StepError = ERROR) -> None:
        """Claim a step and fail its attempt."""
        assert isinstance(self.claim(name), Granted), name
        assert isinstance(self.settle(name, Failed(error)), Accepted)

    def wake(self, **how: Any) -> Answer:
        """Let the sweeper look at the run."""
        return self.apply(Woke(**how))[0]

    def cancel(self, *, force: bool = False) -> Answer:
        """Ask the run to stop."""
        return self.apply(CancelRequested("ada", force=force))[0]

    def pause(self) -> Answer:
        """Hold the run."""
        return self.apply(PauseRequested("ada"))[0]

    def resume(self) -> Answer:
        """Let the run go on; it stood still since it was paused."""
        since = next((event.at for event in reversed(self.events) if event.type is EventType.RUN_PAUSED), None)
        return self.apply(ResumeRequested("ada", paused_at=since))[0]

    def skip(self, name: str) -> Answer:
        """Let the run go on without a step, and admit it."""
        answer = self.apply(SkipRequested(self.no(name), "ada", "not needed"))[0]
        if self.run.status is RunStatus.PENDING:
            self.apply(Admitted())
        return answer

    def send(self, name: str, actor: str = "ada") -> Answer:
        """Send a signal."""
        return self.apply(SignalSent(name, actor))[0]

    def decide(self, name: str, actor: str = "ada", *, approved: bool = True) -> Answer:
        """Approve or reject what a step asks."""
        return self.apply(Decided(self.no(name), actor, approved))[0]

    def retry(self, from_step: str | None = None) -> Answer:
        """Ask for a retry and admit the run."""
        no = None if from_step is None else self.no(from_step)
        answer = self.apply(RetryRequested("ada", from_step=no))[0]
        if self.run.status is RunStatus.PENDING:
            self.apply(Admitted())
        return answer

    def drive(self) -> None:
        """Let faultless workers do everything that is left."""
        for _ in range(40 * len(self.plan.steps) + 40):
            if self.run.status.final:
                return
            self._drive_once()
        raise AssertionError(f"stuck: {self.run.status} {sorted(self.run.steps.values())} alarm {self.run.wake_at}")

    def _drive_once(self) -> None:
        if self.run.status is RunStatus.PENDING:
            self.apply(Admitted())
        if self.run.status is RunStatus.PAUSED:
            self.resume()
        idle = True
        for no in sorted(self.run.steps):
            row, step = self.run.steps[no], self.plan.steps[no]
            if row.status is StepStatus.QUEUED:
                self.claim(step.id)
            row = self.run.steps[no]
            if row.status is StepStatus.RUNNING:
                idle = False
                self.settle(step.id, self.done(no))
            elif row.status is StepStatus.WAITING and row.due_at is None:
                idle = not self._come(no)
        if idle and not self.run.status.final:
            assert self.run.wake_at is not None, f"stuck: nothing runs and no alarm is set: {self.run}"
            self.now = max(self.now, self.run.wake_at)
            self.wake()

    def done(self, no: int) -> Outcome:
        """Return what a faultless executor makes of an attempt."""
        step, row = self.plan.steps[no], self.run.steps[no]
        given = [signal for signal in self.run.signals or () if signal.step == no]
        if step.body is not None and row.label is None:
            return Expanded({"items": [1, 2, 3]}, 3)
        if step.type == "wait_signal" and not given:
            return Waiting(None, signal=step.id)
        if step.type == "approval" and not given:
            return Waiting(None, approvals=1)
        return Completed(None, next(iter(step.branches), None))

    def _come(self, no: int) -> bool:
        """Let come what a step waits for; say whether it did not come by itself."""
        step, row = self.plan.steps[no], self.run.steps[no]
        if step.type == "wait_signal":
            assert row.label is not None
            return isinstance(self.send(row.label), Accepted)
        if step.type == "approval":
            return isinstance(self.decide(step.id, actor=f"actor {len(self.commits)}"), Accepted)
        return False


def _incidents(turn: Turn) -> list[Incident]:
    return [] if turn.aside is None else turn.aside.incidents
