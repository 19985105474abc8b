"""A run that exists only here: the engine's own decisions on a virtual clock, with nothing executed and nothing stored.

Time passes only where nothing else is left to do, and then to the next moment at which something happens. Steps that
only compute are computed; a cast says what the others come to, how long that takes, and what comes from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from flowforge.engine.context import seen
from flowforge.engine.plans import PlannedVersion
from flowforge.errors import ExpressionError
from flowforge.model import endings
from flowforge.model.decide import decide
from flowforge.model.event import Event
from flowforge.model.facts import Admitted, Claimed, Created, Fact, Recorded, Settled, Woke
from flowforge.model.json import InvalidJson, decode, encode
from flowforge.model.outcome import Cancelled, Completed, Expanded, Failed, Outcome, StepError, Waiting
from flowforge.model.plan import Plan, StepPlan
from flowforge.model.state import RunState, StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.turn import Terms, Turn
from flowforge.steps.approval import Approval
from flowforge.steps.base import Assignment, AsyncExecutor, InlineExecutor, Report, Wake, is_inline
from flowforge.steps.registry import build
from flowforge.steps.run import attempt_inline
from flowforge.steps.secrets import Secrets
from flowforge.steps.settings import StepSettings
from flowforge.store.signals import Received

#: Attempts and timers of one run; a run that takes more is cut off.
MOST = 50_000
#: What an attempt has on top of the time that it takes: no lease ends here.
_LEASE = timedelta(minutes=1)
_WORKER = "nobody"


class Played(NamedTuple):
    """What an attempt comes to."""

    #: None: it is computed here.
    outcome: Outcome | None
    #: Where that comes from: computed, recorded, stub, failure, assumed …
    source: str
    takes: timedelta = timedelta()


class Cast(Protocol):
    """Plays what a run has outside."""

    def play(self, stage: Stage, step: StepPlan, state: StepState) -> Played:
        """Return what an attempt that has begun comes to."""

    def answer(self, stage: Stage, step: StepPlan, state: StepState) -> Fact | None:
        """Return what comes from outside for a step that waits; None: nothing does."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The run that is played."""

    run_id: UUID
    version: PlannedVersion
    input: Any
    created_at: datetime
    trigger: str
    recorded: Recorded | None = None


@dataclass(slots=True)
class Span:
    """One attempt, from its claim to its end."""

    step: str
    attempt: int
    started_at: datetime
    finished_at: datetime | None = None
    #: completed, failed, waiting, cancelled
    outcome: str = ""


@dataclass(slots=True)
class _Attempt:
    token: int
    ends_at: datetime
    outcome: Outcome
    span: Span


class Masked(Secrets):
    """Secrets that nobody has to have: what is written of them is what would be written of real ones."""

    def __getitem__(self, name: str) -> str:
        self.used[name] = f"the secret {name} of nobody"
        return self.used[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)


class Stage:
    """The run, and what became of it so far."""

    def __init__(self, scene: Scene, cast: Cast) -> None:
        self.scene, self.cast = scene, cast
        self.now = scene.created_at
        #: What steps came to, or keep while they wait, by number.
        self.outputs: dict[int, Any] = {}
        #: Where each step's outcome came from, by id.
        self.sources: dict[str, str] = {}
        self.events: list[Event] = []
        self.spans: list[Span] = []
        self._running: dict[int, _Attempt] = {}
        self._executors = build(StepSettings())
        self._executors.serve("approval", _Quiet())
        open_steps = len(self.plan.steps)
        self.state = RunState(
            scene.run_id, self.plan, RunStatus.PENDING, 0, open_steps, {}, created_at=self.now, signals=()
        )

    @property
    def plan(self) -> Plan:
        """What is played."""
        return self.scene.version.plan

    # -- playing -------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Let the run go on until it has ended, or nothing will ever happen to it."""
        facts: list[Fact] = [Created(self.scene.trigger)]
        if self.scene.recorded is not None:
            facts.append(self.scene.recorded)
            for one in self.scene.recorded.steps:
                self.sources[self.plan.steps[one.no].id] = "recorded"
        self._apply([*facts, Admitted()])
        for _ in range(MOST):
            if self.state.status.final or not self._go_on():
                return

    def _go_on(self) -> bool:
        """Do the next thing there is to do; say whether there was one."""
        ready = [state for state in self.state.steps.values() if state.status is StepStatus.QUEUED]
        if ready:
            self._begin(min(ready))
            return True
        answer = self._answer()
        if answer is not None:
            self._apply([answer])
            return True
        at = min(self._times(), default=None)
        if at is None:
            return False
        self.now = max(self.now, at)
        over = [(one.ends_at, no) for no, one in self._running.items() if one.ends_at <= self.now]
        if over:
            self._end(min(over)[1])
        else:
            self._apply([Woke()])
        return True

    def _times(self) -> list[datetime]:
        """Return every moment at which something will happen by itself."""
        times = [one.ends_at for one in self._running.values()]
        times += [
            state.due_at
            for state in self.state.steps.values()
            if state.status is StepStatus.WAITING and state.due_at is not None
        ]
        if self.state.deadline_at is not None and self.state.error is None:
            times.append(self.state.deadline_at)
        return times

    def _answer(self) -> Fact | None:
        for no in sorted(self.state.steps):
            state = self.state.steps[no]
            if state.status is StepStatus.WAITING and state.error is None:
                fact = self.cast.answer(self, self.plan.steps[no], state)
                if fact is not None:
                    return fact
        return None

    def _begin(self, state: StepState) -> None:
        """Claim a step; what it comes to is known at once, and settled when its time is over."""
        self._apply([Claimed(state.no, state.dispatch_no, _WORKER, _LEASE)])
        running, step = self.state.steps[state.no], self.plan.steps[state.no]
        played = self.cast.play(self, step, running)
        self.sources[step.id] = played.source
        outcome = self.compute(step, running) if played.outcome is None else played.outcome
        span = Span(step.id, running.attempt, self.now)
        self.spans.append(span)
        self._running[state.no] = _Attempt(running.token, self.now + played.takes, outcome, span)

    def _end(self, no: int) -> None:
        attempt = self._running.pop(no)
        outcome, text = attempt.outcome, None
        if isinstance(outcome, Completed | Expanded | Waiting):
            try:
                text = encode(outcome.output)
            except InvalidJson as error:
                outcome = Failed(StepError("INVALID_OUTPUT", f"the output {error}", retryable=False))
        if text is not None:
            self.outputs[no] = decode(text)
        attempt.span.finished_at, attempt.span.outcome = self.now, type(outcome).__name__.lower()
        self._apply([Settled(no, attempt.token, _WORKER, _LEASE, outcome, text)])

    def _apply(self, facts: list[Fact]) -> None:
        turn = Turn(self.state, self.now, Terms())
        decide(turn, facts)
        for no in turn.changed:
            if turn.steps[no].output is not None and no not in self.outputs:
                self.outputs[no] = decode(turn.steps[no].output or "null")
        if turn.awaits_output:
            self._finish(turn)
        self.state = turn.result()
        self.events += turn.events
        for no in turn.stops:
            if no in self._running:
                self._running[no].outcome, self._running[no].ends_at = Cancelled(), self.now

    def _finish(self, turn: Turn) -> None:
        plan = self.plan
        self.state = turn.result()
        try:
            if plan.output is None:
                value: object = {plan.steps[no].id: self.outputs.get(no) for no in plan.last if self._completed(no)}
            else:
                known = {plan.steps[no].id: self.seen(no) for no in plan.output_reads_steps if no in self.state.steps}
                context = {"input": self.scene.input, "steps": known, "run": {"id": str(self.state.id)}}
                value = plan.output.render(context)
            endings.complete(turn, encode(value))
        except (ExpressionError, InvalidJson) as error:
            endings.refuse_output(turn, StepError(code="OUTPUT_ERROR", message=str(error), retryable=False))

    def _completed(self, no: int) -> bool:
        state = self.state.steps.get(no)
        return state is not None and state.status is StepStatus.COMPLETED

    # -- what an attempt sees ------------------------------------------------------------------------------

    def compute(self, step: StepPlan, state: StepState) -> Outcome:
        """Return what a step comes to that has no effect."""
        executor = self._executors.get(step.type)
        inline: InlineExecutor = executor if is_inline(executor) else _Driven(executor)
        return attempt_inline(inline, self.assignment(step, state))

    def assignment(self, step: StepPlan, state: StepState) -> Assignment:
        """Return an attempt as its executor would be given it."""
        wake = self._wake(step, state) if step.wakes else None
        name, version = self.plan.name, self.scene.version.version
        context = self._context(step, state)
        return Assignment(self.state.id, name, version, step, state.attempt, state.token, context, self.now, wake=wake)

    def seen(self, no: int) -> dict[str, Any]:
        """Return what expressions see of a step."""
        state = self.state.steps.get(no)
        status = "pending" if state is None else state.status.value
        return seen(self.outputs.get(no), None if state is None else state.error, status)

    def _wake(self, step: StepPlan, state: StepState) -> Wake:
        count = 0 if state.label is None or step.body is None else int(state.label)
        items = [] if step.body is None else [self.seen(step.body.number(item)) for item in range(count)]
        received = [
            Received(one.kind, one.name, one.actor, one.at, decode(one.payload or "null"))
            for one in self.state.signals or ()
            if one.step == step.no
        ]
        return Wake(self.outputs.get(step.no), received, items)

    def _context(self, step: StepPlan, state: StepState) -> dict[str, Any]:
        known = {
            self.plan.steps[no].name_in_context: self.seen(no) for no in step.reads_steps if no in self.state.steps
        }
        run = {
            "id": str(self.state.id),
            "workflow": self.plan.name,
            "version": self.scene.version.version,
            "created_at": self.scene.created_at.isoformat(),
            "attempt": state.attempt,
            "error": self.state.error,
        }
        context: dict[str, Any] = {"secrets": Masked(), "steps": known, "run": run, "input": self.scene.input}
        if step.foreach is not None and step.item is not None:
            context["item"] = self.outputs[step.foreach]["items"][step.item]
            run["index"] = step.item
        return context

    # -- what became of it ---------------------------------------------------------------------------------

    def numbers(self) -> Sequence[int]:
        """Return the numbers of the steps that the run has, those of items and those that undo others included."""
        return sorted({*range(len(self.plan.steps)), *self.state.steps})

    def status(self, no: int) -> StepStatus:
        """Return where a step stands; what an ended run never came to is cancelled."""
        state = self.state.steps.get(no)
        if state is not None:
            return state.status
        return StepStatus.CANCELLED if self.state.status.final else StepStatus.PENDING

    def output(self, no: int) -> Any:
        """Return what a step came to, None unless it did its work."""
        done = self.status(no) in (StepStatus.COMPLETED, StepStatus.COMPENSATED)
        return self.outputs.get(no) if done else None


class _Quiet(Approval):
    """Asks, and tells nobody."""

    async def tell(self, report: Report, targets: Any, assignment: Assignment, asked: Any) -> None:
        """Do nothing."""


class _Driven:
    """An executor that waits for nothing, called as an inline one."""

    def __init__(self, executor: AsyncExecutor) -> None:
        self._executor = executor

    def execute(self, assignment: Assignment) -> Outcome:
        """Run it to its end, which comes before it has to wait."""
        nothing: Callable[[Any], None] = lambda _: None  # noqa: E731 - two of them would be longer
        running: Coroutine[Any, Any, Outcome] = self._executor.run(assignment, Report(nothing, nothing))
        try:
            running.send(None)
        except StopIteration as done:
            outcome: Outcome = done.value
            return outcome
        running.close()
        raise RuntimeError(f"steps of type {assignment.step.type} cannot be computed")
