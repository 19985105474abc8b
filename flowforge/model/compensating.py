"""Undoing what a run did: one step after the other, the last to complete first.

A run compensates once nothing of its graph runs any more. What undoes a step is a step like others, with its own
retries, but one at a time; one that fails for good ends the run, and what was not undone is named. Invariant: each
completed step that can be undone is undone once, and none while one that completed after it is not.
"""

from __future__ import annotations

from typing import Any

from flowforge.model.aside import Incident, IncidentKind
from flowforge.model.event import EventType
from flowforge.model.outcome import StepError
from flowforge.model.plan import StepPlan
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.turn import Turn

#: Code of the reason why a cancelled run compensates.
CANCELLED = "CANCELLED"
FAILED = "COMPENSATION_FAILED"
#: Code of the error of a step that took down too many workers; it has an incident of its own.
POISON = "POISON"


def begin(turn: Turn, error: dict[str, Any]) -> bool:
    """Start to undo what the run did, if there is anything; *error* is why. Needs the whole run."""
    undo = remaining(turn)
    if not undo:
        return False
    turn.status, turn.error, turn.deadline_at = RunStatus.COMPENSATING, error, None
    turn.rows_ahead = True
    stays = [state for state in turn.whole() if _irreversible(turn, state)]
    turn.emit(
        EventType.RUN_COMPENSATING,
        error=error,
        steps=[turn.plan.steps[state.no].id for state in undo],
        not_reversible=sorted(turn.plan.steps[state.no].id for state in stays),
    )
    go_on(turn)
    return True


def go_on(turn: Turn) -> None:
    """Undo the next step, or end the run: as it would have ended, or failed where a step could not be undone."""
    left = remaining(turn)
    if not left:
        _end(turn)
        return
    undoing = turn.step(_undoing(turn, left[0]))
    if undoing.status is StepStatus.FAILED:
        _give_up(turn, undoing, left)
        return
    turn.open_steps += 1
    turn.queue(undoing)


def undone(turn: Turn, no: int) -> None:
    """Note that a step was undone."""
    turn.put(turn.step(no)._replace(status=StepStatus.COMPENSATED))
    turn.emit(EventType.STEP_COMPENSATED, no)


def remaining(turn: Turn) -> list[StepState]:
    """Return the completed steps that are still to be undone, in the order in which that is done.

    What was recorded in another run was never executed by this one: it is not this one's to undo.
    """
    done = [
        state
        for state in turn.whole()
        if state.status is StepStatus.COMPLETED
        and state.attempt > 0
        and turn.plan.steps[state.no].compensation is not None
        and turn.step(_undoing(turn, state)).status is not StepStatus.SKIPPED
    ]
    return sorted(done, key=lambda state: (state.finished_at, turn.plan.steps[state.no].rank, state.no), reverse=True)


def stuck(turn: Turn) -> StepState | None:
    """Return the step of an ended run that failed to undo another one."""
    left = remaining(turn) if turn.plan.compensates else []
    undoing = turn.step(_undoing(turn, left[0])) if left else None
    return undoing if undoing is not None and undoing.status is StepStatus.FAILED else None


def why(error: dict[str, Any] | None) -> dict[str, Any]:
    """Return why a run that could not undo everything had begun to."""
    details = (error or {}).get("details")
    cause = details.get("cause") if isinstance(details, dict) else None
    return cause if isinstance(cause, dict) else cancelled()


def cancelled() -> dict[str, Any]:
    """Return the reason for which a cancelled run compensates."""
    return StepError(code=CANCELLED, message="the run was cancelled", retryable=False).document()


def _end(turn: Turn) -> None:
    if turn.error is not None and turn.error["code"] == CANCELLED:
        turn.error = None
        turn.end(RunStatus.CANCELLED, EventType.RUN_CANCELLED)
        return
    if turn.error is not None and turn.error["code"] != POISON:
        incident(turn, IncidentKind.IRRECOVERABLE_ERROR, turn.error)
    turn.end(RunStatus.FAILED, EventType.RUN_FAILED, error=turn.error)


def give_up(turn: Turn, message: str) -> None:
    """End a compensating run at once, with what was not undone."""
    _fail(turn, message, None, remaining(turn))


def _give_up(turn: Turn, undoing: StepState, left: list[StepState]) -> None:
    step = turn.plan.steps[left[0].no]
    reason = undoing.error["message"] if undoing.error else "its compensation failed"
    _fail(turn, f"step '{step.id}' could not be undone: {reason}", step.id, left)


def _fail(turn: Turn, message: str, step: str | None, left: list[StepState]) -> None:
    error = StepError(
        code=FAILED,
        message=message,
        retryable=False,
        hint="undo it by hand and skip it, or try again: flowforge skip RUN STEP:compensate, flowforge retry RUN",
        details={"not_undone": [turn.plan.steps[state.no].id for state in left], "cause": turn.error},
    )
    turn.error = error.document(step)
    turn.open_steps = 0
    incident(turn, IncidentKind.COMPENSATION_FAILED, turn.error)
    turn.end(RunStatus.FAILED, EventType.RUN_FAILED, error=turn.error)


def incident(turn: Turn, kind: IncidentKind, error: dict[str, Any]) -> None:
    """Let a person look at what happened."""
    step = error.get("step")
    turn.beside().incidents.append(Incident(kind, step, error))
    turn.emit(EventType.INCIDENT_OPENED, None, None, kind=kind.value, step=step, code=error["code"])


def _undoing(turn: Turn, state: StepState) -> int:
    no = turn.plan.steps[state.no].compensation
    assert no is not None
    return no


def _irreversible(turn: Turn, state: StepState) -> bool:
    return irreversible(turn.plan.steps[state.no], state.status, state.attempt)


def irreversible(step: StepPlan, status: StepStatus, attempts: int) -> bool:
    """Say whether a step did something that nothing undoes; what only computes or decides has no effect to undo."""
    plain = step.compensation is None and step.compensates is None
    return plain and status is StepStatus.COMPLETED and attempts > 0 and step.type not in _WITHOUT_EFFECT


#: Step types that only compute, decide or wait: there is nothing to undo.
_WITHOUT_EFFECT = frozenset({"transform", "conditional", "parallel", "foreach", "delay", "approval", "wait_signal"})
