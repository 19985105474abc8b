"""An operator's retry: which steps of a finished run start over, and with what count of dependencies.

Completed outputs are kept unless they depend on the step the operator names. Terminal stays final for everything
else; this is the one explicit way back.
"""

from __future__ import annotations

from flowforge.model.event import EventType
from flowforge.model.facts import Accepted, Answer, Rejected, RetryRequested
from flowforge.model.plan import OnError, Plan
from flowforge.model.resolve import outgoing
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.turn import Turn

_KEPT = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.PENDING})


def retry(turn: Turn, fact: RetryRequested) -> Answer:
    """Put a failed or cancelled run back to `pending`, with the steps to repeat reset. Needs the whole run."""
    if turn.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
        return Rejected(f"the run is {turn.status.value}; only a failed or cancelled run can be retried")
    repeat = _to_repeat(turn, fact.from_step)
    turn.status, turn.error, turn.finished_at, turn.output = RunStatus.PENDING, None, None, None
    turn.deadline_at = turn.wake_at = None
    ids = sorted(turn.plan.steps[no].id for no in repeat)
    turn.emit(EventType.RUN_RETRIED, actor=fact.actor, reason=fact.reason, steps=ids)
    kept = {no: state for no, state in turn.steps.items() if no not in repeat}
    for no in sorted(repeat):
        turn.put(_reset(turn, no, kept))
    turn.open_steps = len(turn.plan.steps) - sum(1 for state in turn.steps.values() if state.status.final)
    return Accepted()


def _to_repeat(turn: Turn, from_step: int | None) -> set[int]:
    """Return what starts over: all that was touched and is not done, the named step, and all behind those."""
    behind = [state.no for state in turn.whole() if not _stays(turn, state)]
    if from_step is not None:
        behind.append(from_step)
    repeat: set[int] = set()
    while behind:
        no = behind.pop()
        if no not in repeat:
            repeat.add(no)
            behind.extend(edge.step for edge in turn.plan.steps[no].successors)
    return repeat


def _stays(turn: Turn, state: StepState) -> bool:
    """Say whether a step's end was accepted by the run: it completed, was skipped, or error handling went on."""
    step = turn.plan.steps[state.no]
    if state.status in _KEPT or (state.status is StepStatus.FAILED and step.on_error is not OnError.FAIL):
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
        elif not edge.order_only and _edge_skipped(plan, source, no, branch=edge.branch):
            skipped_dependencies += 1
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


def _edge_skipped(plan: Plan, source: StepState, target: int, *, branch: bool) -> bool:
    how = outgoing(plan.steps[source.no], source, source.branch)
    return how.skips or (branch and how.branch_target != target)
