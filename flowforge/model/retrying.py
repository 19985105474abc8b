"""An operator's retry: which steps of a finished run start over, and with what count of dependencies.

Completed outputs are kept unless they depend on the step the operator names. Terminal stays final for everything
else; this is the one explicit way back.
"""

from __future__ import annotations

from flowforge.model.event import EventType
from flowforge.model.facts import Accepted, Answer, Rejected, RetryRequested
from flowforge.model.plan import OnError
from flowforge.model.resolve import outgoing, skips
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.turn import Turn

_KEPT = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})


def retry(turn: Turn, fact: RetryRequested) -> Answer:
    """Put a failed or cancelled run back to `pending`, with the steps to repeat reset. Needs the whole run."""
    if turn.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
        return Rejected(f"the run is {turn.status.value}; only a failed or cancelled run can be retried")
    repeat = _to_repeat(turn, fact.from_step)
    turn.status, turn.error, turn.finished_at, turn.output = RunStatus.PENDING, None, None, None
    turn.deadline_at = turn.wake_at = None
    turn.output_bytes = 0
    turn.rows_ahead = True
    ids = sorted(turn.plan.steps[no].id for no in repeat)
    turn.emit(EventType.RUN_RETRIED, actor=fact.actor, reason=fact.reason, steps=ids)
    kept = {no: state for no, state in turn.steps.items() if no not in repeat}
    for no in sorted(repeat):
        turn.put(_reset(turn, no, kept))
    if fact.from_step is not None and turn.step(fact.from_step).open_dependencies == 0:
        # It was named, so it runs, even where a branch not taken skipped it.
        turn.put(turn.step(fact.from_step)._replace(skipped_dependencies=0))
    turn.open_steps = len(turn.plan.steps) - sum(1 for state in turn.steps.values() if state.status.final)
    return Accepted()


def _to_repeat(turn: Turn, from_step: int | None) -> set[int]:
    """Return what starts over: all that is not done, the named step with its children, and all behind those."""
    turn.whole()
    behind = [step.no for step in turn.plan.steps if not _stays(turn, turn.step(step.no))]
    if from_step is not None:
        behind.append(from_step)
    repeat: set[int] = set()
    while behind:
        no = behind.pop()
        if no not in repeat:
            repeat.add(no)
            behind.extend(edge.step for edge in turn.plan.steps[no].successors)
            behind.extend(
                child
                for child in turn.plan.steps[no].children
                if no == from_step or turn.step(child).status not in _KEPT
            )
    return repeat


def _stays(turn: Turn, state: StepState) -> bool:
    """Say whether a step's end was accepted by the run: it completed, was skipped, or error handling went on."""
    step = turn.plan.steps[state.no]
    if state.status in _KEPT or (state.status is StepStatus.FAILED and step.on_error is OnError.CONTINUE):
        return True
    return step.parent is not None and turn.step(step.parent).status.final and _stays(turn, turn.step(step.parent))


def _reset(turn: Turn, no: int, kept: dict[int, StepState]) -> StepState:
    """Return the step as it was before it started, with its dependencies counted anew."""
    plan = turn.plan
    step = plan.steps[no]
    open_dependencies = skipped_dependencies = 0
    for edge in step.dependencies:
        source = kept.get(edge.step)
        if source is None:
            open_dependencies += 1
        else:
            how = outgoing(plan.steps[source.no], source, source.branch)
            skipped_dependencies += skips(plan.steps[source.no], edge, step, how)
    return turn.step(no)._replace(
        status=StepStatus.PENDING,
        open_dependencies=open_dependencies,
        skipped_dependencies=skipped_dependencies,
        failures=0,
        crashes=0,
        due_at=None,
        worker=None,
        queued_at=None,
        started_at=None,
        finished_at=None,
        cancel_requested=False,
        branch=None,
        error=None,
        output="null",
    )
