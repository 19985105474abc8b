"""What the outcome of an attempt does to its step, and from there to the graph and the run.

An outcome is settled once, by whoever holds the step's token; a retry, a wait and an end are all decided here. An
attempt that was lost with its worker settles too, by the sweeper or by who takes its delivery over.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from flowforge.model import compensating, duration, endings, repeating, waiting
from flowforge.model.aside import IncidentKind
from flowforge.model.event import EventType
from flowforge.model.outcome import (
    Cancelled,
    Completed,
    Deferred,
    Expanded,
    Failed,
    Outcome,
    Released,
    StepError,
    Waiting,
)
from flowforge.model.plan import OnError
from flowforge.model.resolve import Resolved, outgoing, resolve
from flowforge.model.retry import RetryPolicy
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.turn import Turn


def settle(  # noqa: PLR0911 - one line per kind of outcome
    turn: Turn, state: StepState, outcome: Outcome, output: str | None = None, jitter: float = 0.0
) -> list[StepState]:
    """Move a running step by its outcome; return the steps that became ready."""
    if state.open_dependencies and not isinstance(outcome, Waiting):
        # It was called while it ran; what it was to look at, it has seen, or will when it is executed again.
        state = state._replace(open_dependencies=0)
    match outcome:
        case Completed():
            return _completed(turn, state, outcome, output)
        case Failed():
            return _failed(turn, state, outcome, jitter)
        case Cancelled():
            return _stopped(turn, state)
    if not turn.may_start(state.no) or state.cancel_requested:
        return _stopped(turn, state)
    match outcome:
        case Waiting():
            return waiting.wait(turn, state, outcome, output)
        case Expanded():
            return repeating.expand(turn, state, outcome, output)
        case Released():
            return _released(turn, state)
        case Deferred():
            return _deferred(turn, state, outcome)


def _completed(turn: Turn, state: StepState, outcome: Completed, output: str | None) -> list[StepState]:
    size = 0 if output is None else len(output) if output.isascii() else len(output.encode())
    step = turn.plan.steps[state.no]
    if turn.output_bytes + size > turn.terms.max_run_bytes and step.compensates is None:
        error = StepError(
            code="RUN_TOO_LARGE",
            message=f"the outputs of this run exceed {turn.terms.max_run_bytes:,} bytes together",
            retryable=False,
            hint="store large results elsewhere and pass a reference",
        )
        return _final_failure(turn, state, error)
    turn.output_bytes += size
    return completed(turn, turn.complete(state, output, outcome.branch or state.label), outcome.branch)


def completed(turn: Turn, final: StepState, branch: str | None = None) -> list[StepState]:
    """Tell of a step that is completed, by an attempt or by the time; return the steps that can go on now."""
    step = turn.plan.steps[final.no]
    if step.branches:
        turn.emit(EventType.STEP_COMPLETED, final.no, final.attempt, branch=branch)
    else:
        turn.emit(EventType.STEP_COMPLETED, final.no, final.attempt)
    if step.compensates is not None:
        compensating.undone(turn, step.compensates)
    if turn.ending:
        return []
    return resolve(turn, outgoing(step, final, branch))


def _failed(turn: Turn, state: StepState, outcome: Failed, jitter: float) -> list[StepState]:
    policy = turn.plan.steps[state.no].retry
    failures, error = state.failures + 1, outcome.error
    if not turn.may_start(state.no) or state.cancel_requested or not policy.allows(error, failures):
        return _final_failure(turn, state._replace(failures=failures), error)
    retry_at = turn.now + policy.delay(failures, jitter, outcome.retry_after)
    if policy.max_elapsed is not None and retry_at >= began(state, turn.now) + policy.max_elapsed:
        return _final_failure(turn, state._replace(failures=failures), _given_up(error, policy))
    turn.retry(state, retry_at, _document(turn, state, error))
    return []


def lost(turn: Turn, state: StepState) -> list[StepState]:
    """Decide about an attempt whose lease has ended: its worker is dead, frozen, or cut off."""
    crashes, policy = state.crashes + 1, turn.plan.steps[state.no].retry
    error = StepError(
        code="WORKER_LOST",
        message=f"worker {state.worker} lost its lease on attempt {state.attempt}",
        kinds=("crash",),
        hint="the worker died, froze, or could not reach Postgres",
    )
    state = state._replace(crashes=crashes, open_dependencies=0)
    if turn.status is RunStatus.CANCELLING or state.cancel_requested:
        return _stopped(turn, state)
    if not turn.may_start(state.no):
        return _final_failure(turn, state, error)
    if crashes > (turn.terms.max_crashes if policy.max_crashes is None else policy.max_crashes):
        poison = StepError(
            code=compensating.POISON,
            message=f"{crashes} {'worker was' if crashes == 1 else 'workers were'} lost while running this step",
            kinds=("crash",),
            retryable=False,
            hint="look at what the step does to its worker, then: flowforge retry RUN",
        )
        return _final_failure(turn, state, poison)
    if policy.max_elapsed is not None and turn.now >= began(state, turn.now) + policy.max_elapsed:
        return _final_failure(turn, state, _given_up(error, policy))
    document = _document(turn, state, error)
    turn.emit(EventType.STEP_RETRYING, state.no, state.attempt, error=document)
    turn.queue(state._replace(error=document))
    return []


def began(state: StepState, now: datetime) -> datetime:
    """Return when the first of the attempts that belong together began."""
    since = None if state.error is None else state.error.get("since")
    return datetime.fromisoformat(since) if since else state.started_at or now


def time_left(policy: RetryPolicy, state: StepState, now: datetime) -> timedelta | None:
    """Return what is left of the time that all attempts of a step have together; None: there is no such limit."""
    if policy.max_elapsed is None:
        return None
    return max(began(state, now) + policy.max_elapsed - now, timedelta(milliseconds=1))


def _given_up(error: StepError, policy: RetryPolicy) -> StepError:
    limit = "" if policy.max_elapsed is None else duration.text(policy.max_elapsed)
    return replace(error, hint=f"given up after {limit} (max_elapsed)")


def _final_failure(turn: Turn, state: StepState, error: StepError) -> list[StepState]:
    """Fail a step for good, and let its error handling decide what that does to the run."""
    step = turn.plan.steps[state.no]
    document = _document(turn, state, error)
    if error.code == compensating.POISON:
        compensating.incident(turn, IncidentKind.POISON_STEP, document)
    if step.on_error is OnError.SKIP and not turn.ending:
        turn.finish(state, StepStatus.SKIPPED, error=document)
        turn.emit(EventType.STEP_SKIPPED, state.no, state.attempt, error=document)
        return resolve(turn, Resolved(state.no))
    failed = turn.finish(state, StepStatus.FAILED, error=document)
    turn.emit(EventType.STEP_FAILED, state.no, state.attempt, error=document)
    if turn.ending:
        return []
    if step.on_error is OnError.CONTINUE:
        return resolve(turn, Resolved(state.no))
    if step.parent is None:
        endings.fail(turn, document)
        return []
    if turn.plan.steps[step.parent].wait_for_all:
        return resolve(turn, outgoing(step, failed, None))
    return _fail_fast(turn, step.no, step.parent, document)


def _fail_fast(turn: Turn, failed: int, parent: int, cause: dict[str, object]) -> list[StepState]:
    """Fail a parallel step or a foreach at its first failed child, and stop the others."""
    stopped = [failed, *endings.cancel_children(turn, parent)]
    ready: list[StepState] = []
    state = turn.step(parent)
    error = StepError(
        code="PARALLEL_FAILED" if turn.plan.steps[parent].body is None else "FOREACH_FAILED",
        message=f"step '{cause['step']}' failed: {cause['message']}",
        retryable=False,
    )
    if not state.status.final:
        ready += _final_failure(turn, state, error)
    for no in stopped:
        if not turn.ending:
            ready += resolve(turn, Resolved(no, fails=True))
    return ready


def _stopped(turn: Turn, state: StepState) -> list[StepState]:
    final = turn.finish(state, StepStatus.CANCELLED)
    turn.emit(EventType.STEP_CANCELLED, state.no, state.attempt)
    return [] if turn.ending else resolve(turn, outgoing(turn.plan.steps[state.no], final, None))


def _released(turn: Turn, state: StepState) -> list[StepState]:
    """Take back an attempt that its worker could not finish; it is not counted."""
    turn.emit(EventType.STEP_RELEASED, state.no, state.attempt, worker=state.worker)
    turn.queue(state._replace(attempt=state.attempt - 1))
    return []


def _deferred(turn: Turn, state: StepState, outcome: Deferred) -> list[StepState]:
    """Let a step wait for a worker that can run it; the attempt is not counted."""
    turn.emit(EventType.STEP_RELEASED, state.no, state.attempt, worker=state.worker)
    state = state._replace(attempt=state.attempt - 1, failures=state.failures - 1)
    turn.retry(state, turn.now + outcome.delay, _document(turn, state, outcome.error))
    return []


def _document(turn: Turn, state: StepState, error: StepError) -> dict[str, object]:
    step = turn.plan.steps[state.no]
    document: dict[str, object] = error.document(step.id, state.attempt or None)
    if step.retry.max_elapsed is not None:
        document["since"] = began(state, turn.now).isoformat()
    return document
