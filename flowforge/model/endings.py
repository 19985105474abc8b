"""How a run ends: by completing, failing, timing out or being cancelled.

Cancel against completion is decided by who holds the run's row first; here that is only the order of the facts.
An ending run keeps no queued or waiting step, so its count of open steps is the number of attempts still running.
"""

from __future__ import annotations

from typing import Any

from flowforge.model import compensating, duration, repeating
from flowforge.model.aside import IncidentKind
from flowforge.model.event import EventType
from flowforge.model.facts import Accepted, Answer, CancelRequested, Rejected
from flowforge.model.outcome import StepError
from flowforge.model.state import StepState
from flowforge.model.status import FINAL_RUN, RunStatus, StepStatus
from flowforge.model.turn import Turn


def conclude(turn: Turn) -> None:
    """End the run if nothing of it is open any more."""
    if turn.open_steps > 0 or turn.status in _HELD:
        return
    plan = turn.plan
    if turn.status is RunStatus.COMPENSATING:
        compensating.go_on(turn)
    elif turn.status is RunStatus.CANCELLING:
        if not (plan.compensates_on_cancel and compensating.begin(turn, compensating.cancelled())):
            turn.end(RunStatus.CANCELLED, EventType.RUN_CANCELLED)
    elif turn.error is not None:
        undoes = plan.compensates_on_cancel if turn.error["code"] == TIMEOUT else plan.compensates
        if not (undoes and compensating.begin(turn, turn.error)):
            _end_failed(turn, turn.error)
    else:
        turn.awaits_output = True


#: What has ended, and what an operator holds, does not end now.
_HELD = frozenset({*FINAL_RUN, RunStatus.PENDING, RunStatus.PAUSED})
#: Code of the error of a run that took too long.
TIMEOUT = "RUN_TIMEOUT"


def _end_failed(turn: Turn, error: dict[str, Any]) -> None:
    if error["code"] != compensating.POISON:
        compensating.incident(turn, IncidentKind.IRRECOVERABLE_ERROR, error)
    turn.end(RunStatus.FAILED, EventType.RUN_FAILED, error=error)


def complete(turn: Turn, output: str) -> None:
    """End a run whose steps are all final, with its output as JSON text."""
    turn.awaits_output = False
    turn.output = output
    turn.end(RunStatus.COMPLETED, EventType.RUN_COMPLETED)


def refuse_output(turn: Turn, error: StepError) -> None:
    """End a run as failed because its output could not be made."""
    turn.awaits_output = False
    turn.error = error.document()
    conclude(turn)


def fail(turn: Turn, error: dict[str, Any]) -> None:
    """Decide that the run fails: nothing new starts, what runs may finish. Needs the whole run."""
    turn.error = error
    running = _cancel_idle(turn)
    turn.open_steps = running
    if running or turn.status is RunStatus.PAUSED:
        turn.emit(EventType.RUN_FAILING, error=error)


def time_out(turn: Turn) -> None:
    """Fail a run whose deadline has passed, and stop what is running."""
    limit = "its time" if turn.plan.timeout is None else duration.text(turn.plan.timeout)
    error = StepError(
        code=TIMEOUT,
        message=f"the run did not finish within {limit}",
        kinds=("timeout",),
        retryable=False,
        hint="see what it waited for: flowforge show RUN",
    )
    fail(turn, error.document())
    for state in turn.whole():
        if state.status is StepStatus.RUNNING:
            turn.request_stop(state)
    if turn.deadline_at is not None:
        turn.deadline_at = None


def cancel(turn: Turn, fact: CancelRequested) -> Answer:
    """Stop a run: at once if nothing runs, else as soon as every attempt has acknowledged or lost its lease."""
    if turn.status.final or turn.awaits_output:
        status = RunStatus.COMPLETED if turn.awaits_output else turn.status
        return Rejected(f"the run is already {status.value}")
    if turn.status is RunStatus.COMPENSATING or (turn.status is RunStatus.PENDING and turn.error is not None):
        return _stop_undoing(turn, fact)
    if turn.status is RunStatus.CANCELLING and not fact.force:
        return Accepted()
    turn.status = RunStatus.CANCELLING
    turn.error = turn.deadline_at = None
    running = _cancel_idle(turn)
    turn.open_steps = running
    turn.emit(EventType.RUN_CANCELLING, actor=fact.actor, reason=fact.reason, **_forced(fact))
    _stop_running(turn, force=fact.force)
    conclude(turn)
    return Accepted()


def _stop_undoing(turn: Turn, fact: CancelRequested) -> Answer:
    """Leave a run as it is, half undone, if somebody insists."""
    if not fact.force:
        return Rejected("the run is undoing what it did; wait for it, or leave it half undone with --force")
    turn.emit(EventType.RUN_CANCELLING, actor=fact.actor, reason=fact.reason, force=True, undoing=True)
    _cancel_idle(turn)
    _stop_running(turn, force=True)
    compensating.give_up(turn, f"{fact.actor} stopped the compensation")
    return Accepted()


def _stop_running(turn: Turn, *, force: bool) -> None:
    """Ask what runs to stop; by *force*, without waiting for the answer, which comes too late then."""
    for state in turn.whole():
        if state.status is StepStatus.RUNNING:
            turn.request_stop(state)
            if force:
                turn.finish(turn.steps[state.no], StepStatus.CANCELLED)
                turn.emit(EventType.STEP_CANCELLED, state.no, state.attempt)


def _forced(fact: CancelRequested) -> dict[str, bool]:
    return {"force": True} if fact.force else {}


def cancel_children(turn: Turn, parent: int) -> list[int]:
    """Stop every child of a parallel step or foreach, nested ones included, that is not final.

    Return those cancelled now.
    """
    cancelled: list[int] = []
    turn.whole()
    turn.rows_ahead = True
    pending = _inside(turn, parent)
    while pending:
        no = pending.pop()
        if turn.plan.steps[no].foreach is None:
            pending.extend(_inside(turn, no))
        state = turn.step(no)
        if state.status is StepStatus.RUNNING:
            turn.request_stop(state)
        elif not state.status.final:
            turn.finish(state, StepStatus.CANCELLED)
            turn.emit(EventType.STEP_CANCELLED, no, state.attempt or None)
            cancelled.append(no)
    return cancelled


def _inside(turn: Turn, no: int) -> list[int]:
    """Return the steps inside a parallel step, without those inside them, or all those of a foreach."""
    step = turn.plan.steps[no]
    return list(step.children) if step.body is None else list(repeating.entered(turn, no))


def _cancel_idle(turn: Turn) -> int:
    """Cancel every step that has a state and does not run; return how many run."""
    running = 0
    for state in turn.whole():
        if state.status is StepStatus.RUNNING:
            running += 1
        elif not state.status.final and not _dormant(turn, state):
            turn.finish(state, StepStatus.CANCELLED)
            turn.emit(EventType.STEP_CANCELLED, state.no, state.attempt or None)
    return running


def _dormant(turn: Turn, state: StepState) -> bool:
    """Say whether a step has a row only because an operator's retry left it: nobody waits for it."""
    step = turn.plan.steps[state.no]
    return state.status is StepStatus.PENDING and (step.compensates is not None or step.foreach is not None)
