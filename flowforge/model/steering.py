"""What operators may do to a run under way: hold it, let it go on, go on without a step.

Each is idempotent, or refused with the reason, and leaves who did it and why in the history.
"""

from __future__ import annotations

from typing import Any

from flowforge.model import endings, retrying
from flowforge.model.event import EventType
from flowforge.model.facts import Accepted, Answer, PauseRequested, Rejected, ResumeRequested, SkipRequested
from flowforge.model.outcome import SKIPPED, StepError
from flowforge.model.resolve import Resolved, resolve
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.turn import Turn


def pause(turn: Turn, fact: PauseRequested) -> Answer:
    """Let nothing new start; what runs may finish, and timers go on, but nothing follows from them."""
    if turn.status is RunStatus.PAUSED:
        return Accepted()
    if turn.status is not RunStatus.RUNNING or turn.ending or turn.awaits_output:
        return Rejected(f"the run {_is(turn)}; only a running run can be paused")
    turn.status = RunStatus.PAUSED
    turn.dispatches.clear()
    turn.emit(EventType.RUN_PAUSED, actor=fact.actor, reason=fact.reason)
    return Accepted()


def resume(turn: Turn, fact: ResumeRequested) -> Answer:
    """Dispatch what became ready meanwhile; the deadline is as much later as the run stood still."""
    if turn.status is RunStatus.RUNNING and not turn.ending:
        return Accepted()
    if turn.status is not RunStatus.PAUSED:
        return Rejected(f"the run {_is(turn)}; only a paused run can be resumed")
    turn.status = RunStatus.RUNNING
    if turn.deadline_at is not None and fact.paused_at is not None:
        turn.deadline_at += turn.now - fact.paused_at
    turn.emit(EventType.RUN_RESUMED, actor=fact.actor, reason=fact.reason)
    for state in sorted(turn.whole()):
        if state.status is StepStatus.QUEUED:
            turn.dispatch_again(turn.steps[state.no])
    endings.conclude(turn)
    if not turn.status.final:
        turn.set_alarm()
    return Accepted()


def skip(turn: Turn, fact: SkipRequested) -> Answer:
    """Go on without a step: one that has not started, that waits, or that failed for good and ended the run."""
    turn.whole()
    state, step = turn.step(fact.step), turn.plan.steps[fact.step]
    if state.status is StepStatus.SKIPPED and state.error is not None:
        return Accepted()
    if turn.status.final:
        return retrying.without(turn, fact, _skipped(turn, state, fact))
    refused = _unskippable(turn, state)
    if refused is not None:
        return Rejected(refused)
    turn.rows_ahead = True
    document = _skipped(turn, state, fact)
    turn.finish(state, StepStatus.SKIPPED, error=document)
    retrying.skipped(turn, state, fact, document)
    if step.compensates is None:
        resolve(turn, Resolved(state.no))
    endings.conclude(turn)
    return Accepted()


def _unskippable(turn: Turn, state: StepState) -> str | None:
    step = turn.plan.steps[state.no]
    if state.status.final:
        return f"step '{step.id}' is already {state.status.value}"
    if state.status is StepStatus.RUNNING:
        stop = "cancel the run" if step.compensates is None else "stop it: flowforge cancel RUN --force"
        return f"step '{step.id}' is running; wait for it, or {stop}"
    if step.children or step.body is not None:
        return f"step '{step.id}' stands for the steps inside it; skip those"
    if step.compensates is not None and state.attempt == 0 and state.status is StepStatus.PENDING:
        return f"step '{step.id}' undoes another one, and nothing is to be undone now"
    if step.compensates is None and turn.ending:
        return f"the run {_is(turn)}; only a running or paused run can go on without a step that is not done"
    return None


def _skipped(turn: Turn, state: StepState, fact: SkipRequested) -> dict[str, Any]:
    reason = f": {fact.reason}" if fact.reason else ""
    error = StepError(code=SKIPPED, message=f"skipped by {fact.actor}{reason}", retryable=False)
    return error.document(turn.plan.steps[state.no].id, state.attempt or None)


def _is(turn: Turn) -> str:
    return "is failing" if turn.ending and turn.status is RunStatus.RUNNING else f"is {turn.status.value}"
