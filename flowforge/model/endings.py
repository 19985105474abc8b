"""How a run ends: by completing, failing, timing out or being cancelled.

Cancel against completion is decided by who holds the run's row first; here that is only the order of the facts.
An ending run keeps no queued or waiting step, so its count of open steps is the number of attempts still running.
"""

from __future__ import annotations

from typing import Any

from flowforge.model import duration
from flowforge.model.event import EventType
from flowforge.model.facts import Accepted, Answer, CancelRequested, Rejected
from flowforge.model.outcome import StepError
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.turn import Turn


def conclude(turn: Turn) -> None:
    """End the run if nothing of it is open any more."""
    if turn.open_steps > 0 or turn.status.final:
        return
    if turn.status is RunStatus.CANCELLING:
        turn.end(RunStatus.CANCELLED, EventType.RUN_CANCELLED)
    elif turn.error is not None:
        turn.end(RunStatus.FAILED, EventType.RUN_FAILED, error=turn.error)
    elif turn.status is RunStatus.RUNNING:
        turn.awaits_output = True


def complete(turn: Turn, output: str) -> None:
    """End a run whose steps are all final, with its output as JSON text."""
    turn.awaits_output = False
    turn.output = output
    turn.end(RunStatus.COMPLETED, EventType.RUN_COMPLETED)


def refuse_output(turn: Turn, error: StepError) -> None:
    """End a run as failed because its output could not be made."""
    turn.awaits_output = False
    turn.error = error.document()
    turn.end(RunStatus.FAILED, EventType.RUN_FAILED, error=turn.error)


def fail(turn: Turn, error: dict[str, Any]) -> None:
    """Decide that the run fails: nothing new starts, what runs may finish. Needs the whole run."""
    turn.error = error
    running = _cancel_idle(turn)
    turn.open_steps = running
    if running:
        turn.emit(EventType.RUN_FAILING, error=error)


def time_out(turn: Turn) -> None:
    """Fail a run whose deadline has passed, and stop what is running."""
    limit = "its time" if turn.plan.timeout is None else duration.text(turn.plan.timeout)
    error = StepError(
        code="RUN_TIMEOUT",
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
    if turn.status is RunStatus.CANCELLING:
        return Accepted()
    turn.status = RunStatus.CANCELLING
    running = _cancel_idle(turn)
    turn.open_steps = running
    turn.emit(EventType.RUN_CANCELLING, actor=fact.actor, reason=fact.reason)
    for state in turn.whole():
        if state.status is StepStatus.RUNNING:
            turn.request_stop(state)
    conclude(turn)
    return Accepted()


def cancel_children(turn: Turn, parent: int) -> list[int]:
    """Stop every child of a parallel step, nested ones included, that is not final; return those cancelled now."""
    cancelled: list[int] = []
    turn.rows_ahead = True
    pending = list(turn.plan.steps[parent].children)
    while pending:
        no = pending.pop()
        pending.extend(turn.plan.steps[no].children)
        state = turn.step(no)
        if state.status is StepStatus.RUNNING:
            turn.request_stop(state)
        elif not state.status.final:
            turn.finish(state, StepStatus.CANCELLED)
            turn.emit(EventType.STEP_CANCELLED, no, state.attempt or None)
            cancelled.append(no)
    return cancelled


def _cancel_idle(turn: Turn) -> int:
    """Cancel every step that has a state and does not run; return how many run."""
    running = 0
    for state in turn.whole():
        if state.status is StepStatus.RUNNING:
            running += 1
        elif not state.status.final:
            turn.finish(state, StepStatus.CANCELLED)
            turn.emit(EventType.STEP_CANCELLED, state.no, state.attempt or None)
    return running
