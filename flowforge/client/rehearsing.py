"""Rehearsals: a replay that does nothing.

The decisions are the engine's own, on a run that exists only here. Steps that only compute are computed; what a step
with an effect came to is taken from the run that is replayed; what was never recorded is unknown, and completes with
null, so that what follows from it can be seen.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flowforge.client.replaying import Request
from flowforge.engine.context import seen
from flowforge.errors import ExpressionError
from flowforge.model import endings
from flowforge.model.comparing import aligned
from flowforge.model.decide import decide
from flowforge.model.documents import Rehearsal, Rehearsed, Step
from flowforge.model.facts import Admitted, Claimed, Created, Fact, Settled, Woke
from flowforge.model.json import InvalidJson, decode, encode
from flowforge.model.outcome import Completed, Expanded, Failed, Outcome, StepError
from flowforge.model.plan import StepPlan
from flowforge.model.state import RunState, StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.turn import Terms, Turn
from flowforge.steps.base import Assignment, Wake
from flowforge.steps.registry import build
from flowforge.steps.run import attempt_inline
from flowforge.steps.secrets import Secrets
from flowforge.steps.settings import StepSettings

#: Types that only compute.
COMPUTED = frozenset({"conditional", "foreach", "parallel", "transform"})
#: Steps that are executed; a run that takes more is cut off.
MOST = 50_000
_LEASE = timedelta(minutes=1)


def rehearse(request: Request) -> Rehearsal:
    """Go through the replay; return what it would come to, beside what the run had come to."""
    stage = Stage(request)
    stage.play()
    run = request.run
    steps = tuple(
        _beside(name, before, after, stage.sources.get(name))
        for name, before, after in aligned(run.steps or (), stage.steps().values())
    )
    version = request.start.version
    return Rehearsal(
        run.id,
        version.plan.name,
        version.version,
        run.status.value,
        stage.state.status.value,
        steps,
        run.output,
        None if stage.state.output is None else decode(stage.state.output),
        stage.state.error,
    )


def _beside(name: str, before: Step | None, after: Step | None, source: str | None) -> Rehearsed:
    return Rehearsed(
        name,
        None if before is None else before.status.value,
        None if after is None else after.status.value,
        source or "none",
        None if before is None else before.output,
        None if after is None else after.output,
    )


class Stage:
    """A run that exists only here."""

    def __init__(self, request: Request) -> None:
        self.request, self.plan = request, request.start.version.plan
        self.recorded = {step.id: step for step in request.run.steps or ()}
        self.now = datetime.now(UTC)
        self.outputs: dict[int, Any] = {}
        #: Where each step's outcome comes from.
        self.sources: dict[str, str] = {}
        self.executors = build(StepSettings())
        self.state = RunState(
            request.start.run_id,
            self.plan,
            RunStatus.PENDING,
            0,
            len(self.plan.steps),
            {},
            created_at=self.now,
            signals=(),
        )

    def play(self) -> None:
        """Let the run come to its end."""
        facts: list[Fact] = [Created("replay")]
        if self.request.start.recorded is not None:
            facts.append(self.request.start.recorded)
            for one in self.request.start.recorded.steps:
                self.sources[self.plan.steps[one.no].id] = "recorded"
        self._apply([*facts, Admitted()])
        for _ in range(MOST):
            if self.state.status.final:
                return
            ready = [state for state in self.state.steps.values() if state.status is StepStatus.QUEUED]
            if ready:
                self._execute(min(ready))
            elif self.state.wake_at is not None:
                self.now = max(self.now, self.state.wake_at)
                self._apply([Woke()])
            else:
                return

    def steps(self) -> dict[str, Step]:
        """Return what the steps came to, by id."""
        found: dict[str, Step] = {}
        for no in sorted({*range(len(self.plan.steps)), *self.state.steps}):
            step, state = self.plan.steps[no], self.state.steps.get(no)
            final = StepStatus.CANCELLED if self.state.status.final else StepStatus.PENDING
            status = final if state is None else state.status
            done = status in (StepStatus.COMPLETED, StepStatus.COMPENSATED)
            if step.compensates is None:
                found[step.id] = Step(
                    step.id, step.name, step.type, status, output=self.outputs.get(no) if done else None
                )
        return found

    def _execute(self, state: StepState) -> None:
        self._apply([Claimed(state.no, state.dispatch_no, "rehearsal", _LEASE)])
        running = self.state.steps[state.no]
        outcome = self._outcome(running)
        text = None
        if isinstance(outcome, Completed | Expanded):
            try:
                text = encode(outcome.output)
            except InvalidJson as error:
                outcome = Failed(StepError("INVALID_OUTPUT", f"the output {error}", retryable=False))
        if text is not None:
            self.outputs[state.no] = decode(text)
        self._apply([Settled(state.no, running.token, "rehearsal", _LEASE, outcome, text)])

    def _outcome(self, state: StepState) -> Outcome:
        step = self.plan.steps[state.no]
        if step.type in COMPUTED:
            self.sources[step.id] = "computed"
            return self._computed(step, state)
        known = self.recorded.get(step.id)
        if known is not None and known.status in (StepStatus.COMPLETED, StepStatus.COMPENSATED):
            self.sources[step.id] = "recorded"
            return Completed(known.output)
        if known is not None and known.status is StepStatus.FAILED and known.error is not None:
            self.sources[step.id] = "recorded"
            error = StepError.from_document(known.error)
            return Failed(StepError(error.code, error.message, error.kinds, retryable=False, hint=error.hint))
        self.sources[step.id] = "computed" if step.type == "delay" else "unknown"
        return Completed({} if step.type == "delay" else None)

    def _computed(self, step: StepPlan, state: StepState) -> Outcome:
        executor = self.executors.get(step.type)
        wake = self._wake(step, state) if step.wakes else None
        assignment = Assignment(
            self.state.id,
            self.plan.name,
            self.request.start.version.version,
            step,
            state.attempt,
            state.token,
            self._context(step, state),
            self.now,
            wake=wake,
        )
        return attempt_inline(executor, assignment)  # type: ignore[arg-type]

    def _wake(self, step: StepPlan, state: StepState) -> Wake:
        count = 0 if state.label is None or step.body is None else int(state.label)
        items = [] if step.body is None else [self._seen(step.body.number(item)) for item in range(count)]
        return Wake(self.outputs.get(step.no), (), items)

    def _seen(self, no: int) -> dict[str, Any]:
        state = self.state.steps.get(no)
        status = "pending" if state is None else state.status.value
        return seen(self.outputs.get(no), None if state is None else state.error, status)

    def _context(self, step: StepPlan, state: StepState) -> dict[str, Any]:
        known = {
            self.plan.steps[no].name_in_context: self._seen(no) for no in step.reads_steps if no in self.state.steps
        }
        run = {
            "id": str(self.state.id),
            "workflow": self.plan.name,
            "version": self.request.start.version.version,
            "created_at": self.now.isoformat(),
            "attempt": state.attempt,
            "error": self.state.error,
        }
        context: dict[str, Any] = {"secrets": Secrets(), "steps": known, "run": run, "input": self.request.start.input}
        if step.foreach is not None and step.item is not None:
            context["item"] = self.outputs[step.foreach]["items"][step.item]
            run["index"] = step.item
        return context

    def _apply(self, facts: list[Fact]) -> None:
        turn = Turn(self.state, self.now, Terms())
        decide(turn, facts)
        for no in turn.changed:
            if turn.steps[no].output is not None and no not in self.outputs:
                self.outputs[no] = decode(turn.steps[no].output or "null")
        if turn.awaits_output:
            self._finish(turn)
        self.state = turn.result()

    def _finish(self, turn: Turn) -> None:
        plan = self.plan
        self.state = turn.result()
        try:
            if plan.output is None:
                value: object = {plan.steps[no].id: self.outputs.get(no) for no in plan.last if self._completed(no)}
            else:
                known = {plan.steps[no].id: self._seen(no) for no in plan.output_reads_steps if no in self.state.steps}
                context = {"input": self.request.start.input, "steps": known, "run": {"id": str(self.state.id)}}
                value = plan.output.render(context)
            endings.complete(turn, encode(value))
        except (ExpressionError, InvalidJson) as error:
            endings.refuse_output(turn, StepError(code="OUTPUT_ERROR", message=str(error), retryable=False))

    def _completed(self, no: int) -> bool:
        state = self.state.steps.get(no)
        return state is not None and state.status is StepStatus.COMPLETED
