"""Going on inside a transaction: steps whose executor is pure are executed where they are granted.

    claim, settlement, admission ─▶ decide ─▶ granted: a transform ─▶ execute ─▶ decide ─▶ … ─▶ write, once

There is no effect that a crash could repeat, so their attempts need no commits of their own: one transaction takes a
run over all such steps to the next one that has an effect, or to its end. If it is not committed nothing has happened,
and whoever decides again executes them again. The history says the same as ever.

Only what a worker knows already is gone on with: a step whose context would have to be read (a large input), whose
settlement is decided on the whole run (a conditional, the last step before a join), or that does not simply complete,
is given to the worker in the usual way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowforge.engine.context import ContextLoader
from flowforge.engine.recent import Memory
from flowforge.model import settling
from flowforge.model.decide import decide
from flowforge.model.facts import Accepted, Admitted, Answer, Claimed, Fact, Granted, Settled, Taker
from flowforge.model.outcome import Completed, Outcome
from flowforge.model.plan import StepPlan
from flowforge.model.state import StepState
from flowforge.model.turn import Turn
from flowforge.steps.base import Assignment, is_pure
from flowforge.steps.limits import storable
from flowforge.steps.run import attempt_inline
from flowforge.steps.secrets import named

if TYPE_CHECKING:
    from flowforge.engine.worker import Worker

#: Steps of one run that are executed in one transaction: a worker has others to see to.
LONGEST = 16


class Inline:
    """What one worker can execute in its own loop."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self._max_bytes = worker, worker.engine.settings.max_step_bytes

    def lanes(self) -> frozenset[str]:
        """Return the lanes in which the worker can go on with a successor."""
        return self._worker.lanes_with_room(python=False)

    def executes(self, step: StepPlan) -> bool:
        """Say whether a step only computes, and the worker has its type."""
        worker = self._worker
        return step.type in worker.step_types and is_pure(worker.executors.get(step.type)) and not named(step)

    def outcome(self, assignment: Assignment) -> tuple[Outcome, str | None]:
        """Execute a step; return what came out, and its output as it is stored."""
        executor = self._worker.executors.get(assignment.step.type)
        assert is_pure(executor)
        return storable(attempt_inline(executor, assignment), self._max_bytes)


class Chain:
    """Goes on with the runs of one batch."""

    def __init__(self, inline: Inline) -> None:
        self._inline, self._loader = inline, ContextLoader()

    def follow(self, turn: Turn, memory: Memory, fact: Fact, answer: Answer) -> Answer:
        """Execute what an answer grants, and what that grants; return the last answer.

        Raises NeedsWholeRun, like every decision.
        """
        step, worker = granted(answer), _worker(fact)
        if step is None or worker is None:
            return answer
        if isinstance(fact, Settled):
            memory.settle(fact.step, fact.outcome, fact.output)
        for _ in range(LONGEST):
            done = self._executed(turn, memory, step)
            if done is None:
                break
            outcome, output = done
            settled = Settled(step.no, step.token, worker.worker, worker.lease, outcome, output, self._inline.lanes())
            (answer,) = decide(turn, [settled])
            memory.settle(step.no, outcome, output)
            step = granted(answer)
            if step is None:
                break
        return answer

    def _executed(self, turn: Turn, memory: Memory, state: StepState) -> tuple[Outcome, str | None] | None:
        """Execute a step if it only computes and all that it and its settlement need is known."""
        step = turn.plan.steps[state.no]
        if step.touches is None or step.wakes or step.reads_item or step.compensates is not None:
            return None
        if not memory.holds(step) or not self._inline.executes(step) or not turn.learn(step.touches):
            return None
        done = self._inline.outcome(assigned(self._loader, turn, memory, state))
        return done if isinstance(done[0], Completed) else None


def _worker(fact: Fact) -> Claimed | Settled | Taker | None:
    """Return what names the worker that a fact is from."""
    if isinstance(fact, Admitted):
        return fact.taker
    return fact if isinstance(fact, Claimed | Settled) else None


def granted(answer: Answer) -> StepState | None:
    """Return the step that an answer gives to whoever asked."""
    if isinstance(answer, Granted):
        return answer.step
    return answer.next if isinstance(answer, Accepted) else None


def assigned(loader: ContextLoader, turn: Turn, memory: Memory, step: StepState) -> Assignment:
    """Return the attempt of a step that was granted."""
    assert step.started_at is not None
    plan = memory.version.plan
    context: Mapping[str, Any] = loader.context(memory, step, turn.error)
    return Assignment(
        memory.row.id,
        plan.name,
        memory.version.version,
        plan.steps[step.no],
        step.attempt,
        step.token,
        context,
        step.started_at,
        memory.row.traceparent,
        step.epoch,
        loader.wake(memory, step),
        settling.time_left(turn.plan.steps[step.no].retry, step, step.started_at),
    )
