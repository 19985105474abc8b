"""The one place that knows what may follow what: a run and a fact in, transitions out.

`decide` is pure: the time and the jitter are arguments, nothing is read or written. The engine loads the part of
the run that a fact needs, asks here, and persists the consequences in the same transaction.

    run    pending → running → completed
                     running → failed | cancelling → cancelled
    step   pending → queued → running → completed | failed | cancelled
                     running → waiting (retry at, delay until) → queued | completed
                     pending → skipped | cancelled

A failure does not interrupt what is running: those attempts finish and are recorded, nothing new starts, then the
run is failed. That costs time when a sibling is slow, and keeps the record of side effects complete.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import timedelta

from flowforge.model import endings, retrying
from flowforge.model.event import EventType
from flowforge.model.facts import (
    Accepted,
    Admitted,
    Answer,
    CancelRequested,
    Claimed,
    Created,
    DuplicatePrevented,
    Fact,
    Granted,
    Refusal,
    Refused,
    RetryRequested,
    Settled,
    Taker,
    Woke,
)
from flowforge.model.outcome import Cancelled, Completed, Deferred, Failed, Outcome, Released, StepError, Waiting
from flowforge.model.plan import OnError
from flowforge.model.resolve import Resolved, outgoing, resolve, skipped
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.turn import Turn


def decide(turn: Turn, facts: Sequence[Fact]) -> list[Answer]:
    """Apply facts in order; return one answer each. The turn holds the consequences."""
    return [_apply(turn, fact) for fact in facts]


def _apply(turn: Turn, fact: Fact) -> Answer:  # noqa: PLR0911 - one line per kind of fact
    match fact:
        case Claimed():
            return _claimed(turn, fact)
        case Settled():
            return _settled(turn, fact)
        case Created():
            turn.emit(EventType.RUN_CREATED, trigger=fact.trigger)
            return Accepted()
        case Admitted():
            return _admitted(turn, fact.taker)
        case Woke():
            return _woke(turn, fact)
        case CancelRequested():
            return endings.cancel(turn, fact)
        case RetryRequested():
            return retrying.retry(turn, fact)
        case DuplicatePrevented():
            turn.emit(EventType.DUPLICATE_PREVENTED, idempotency_key=fact.key)
            return Accepted()


def _admitted(turn: Turn, taker: Taker | None) -> Answer:
    if turn.status is not RunStatus.PENDING:
        return Refused(Refusal.OVER)
    turn.status = RunStatus.RUNNING
    turn.started_at = turn.started_at or turn.now
    if turn.plan.timeout is not None:
        turn.deadline_at = turn.wake_at = turn.now + turn.plan.timeout
    turn.emit(EventType.RUN_STARTED)
    for no in turn.plan.entries:
        if turn.step(no).status is StepStatus.PENDING:
            turn.queue(turn.step(no))
    for state in turn.whole():
        _go_on(turn, turn.steps[state.no])
    endings.conclude(turn)
    if taker is not None and not turn.ending:
        for no in turn.plan.entries:
            if turn.steps[no].status is StepStatus.QUEUED and turn.plan.steps[no].lane in taker.lanes:
                return Accepted(turn.start(turn.steps[no], taker.worker, taker.lease))
    return Accepted()


def _go_on(turn: Turn, state: StepState) -> None:
    """Queue or skip a step that a retry left with nothing to wait for."""
    if state.status is not StepStatus.PENDING or state.open_dependencies > 0:
        return
    if not skipped(turn.plan.steps[state.no], state.skipped_dependencies):
        turn.queue(state)
        return
    turn.finish(state, StepStatus.SKIPPED)
    turn.emit(EventType.STEP_SKIPPED, state.no)
    resolve(turn, Resolved(state.no, skips=True))


def _claimed(turn: Turn, fact: Claimed) -> Answer:  # noqa: PLR0911 - one line per reason to refuse
    state = turn.steps.get(fact.step)
    if state is None:
        return Refused(Refusal.UNKNOWN)
    if state.dispatch_no != fact.dispatch_no:
        return Refused(Refusal.STALE)
    if state.status is StepStatus.QUEUED:
        if turn.status is RunStatus.PAUSED:
            return Refused(Refusal.PAUSED)
        if turn.ending:
            return Refused(Refusal.OVER)
        return Granted(turn.start(state, fact.worker, fact.lease))
    if state.status is StepStatus.RUNNING:
        return _reclaimed(turn, state, fact)
    return Refused(Refusal.STALE)


def _reclaimed(turn: Turn, state: StepState, fact: Claimed) -> Answer:
    """Answer a claim of a step that is running: only a lease that has ended makes room for another worker."""
    if fact.repeated and state.worker == fact.worker:
        return Granted(turn.put(state._replace(due_at=turn.now + fact.lease)))
    if not fact.reclaimed or state.due_at is None or state.due_at > turn.now:
        return Refused(Refusal.LEASED)
    _lost(turn, state)
    endings.conclude(turn)
    state = turn.steps[state.no]
    if state.status is StepStatus.QUEUED and not turn.ending:
        return Granted(turn.start(state, fact.worker, fact.lease))
    return Refused(Refusal.OVER)


def _settled(turn: Turn, fact: Settled) -> Answer:
    state = turn.steps.get(fact.step)
    if state is None:
        return Refused(Refusal.UNKNOWN)
    if state.token != fact.token or state.status is not StepStatus.RUNNING:
        took_effect = fact.repeated and state.token == fact.token and state.worker == fact.worker
        return Accepted(_taken(turn, state)) if took_effect else Refused(Refusal.STALE)
    ready = settle(turn, state, fact.outcome, fact.output, fact.jitter)
    endings.conclude(turn)
    if turn.ending:
        return Accepted()
    for successor in ready:
        if turn.plan.steps[successor.no].lane in fact.lanes:
            return Accepted(turn.start(successor, fact.worker, fact.lease))
    return Accepted()


def _taken(turn: Turn, settled: StepState) -> StepState | None:
    """Return the successor that the worker was given when this settlement first took effect.

    It was started at the very moment; what the worker claimed by itself, it executes already.
    """
    pending = deque(turn.plan.steps[settled.no].successors)
    while pending:
        state = turn.step(pending.popleft().step)
        if state.status is StepStatus.RUNNING and (state.worker, state.started_at) == (
            settled.worker,
            settled.finished_at,
        ):
            return state
        if state.status.final and state.finished_at == settled.finished_at:
            pending.extend(turn.plan.steps[state.no].successors)
    return None


def settle(  # noqa: PLR0911 - one line per kind of outcome
    turn: Turn, state: StepState, outcome: Outcome, output: str | None = None, jitter: float = 0.0
) -> list[StepState]:
    """Move a running step by its outcome; return the steps that became ready."""
    match outcome:
        case Completed():
            return _completed(turn, state, outcome, output)
        case Failed():
            return _failed(turn, state, outcome, jitter)
        case Waiting():
            if turn.ending or state.cancel_requested:
                return _stopped(turn, state)
            due_at = turn.now + outcome.due if isinstance(outcome.due, timedelta) else outcome.due
            turn.wait(state, due_at, output)
            return []
        case Cancelled():
            return _stopped(turn, state)
        case Released():
            return _released(turn, state)
        case Deferred():
            return _deferred(turn, state, outcome)


def _completed(turn: Turn, state: StepState, outcome: Completed, output: str | None) -> list[StepState]:
    size = 0 if output is None else len(output) if output.isascii() else len(output.encode())
    if turn.output_bytes + size > turn.terms.max_run_bytes:
        error = StepError(
            code="RUN_TOO_LARGE",
            message=f"the outputs of this run exceed {turn.terms.max_run_bytes:,} bytes together",
            retryable=False,
            hint="store large results elsewhere and pass a reference",
        )
        return _final_failure(turn, state, error)
    turn.output_bytes += size
    step = turn.plan.steps[state.no]
    final = turn.complete(state, output, outcome.branch)
    if step.branches:
        turn.emit(EventType.STEP_COMPLETED, state.no, state.attempt, branch=outcome.branch)
    else:
        turn.emit(EventType.STEP_COMPLETED, state.no, state.attempt)
    if turn.ending:
        return []
    return resolve(turn, outgoing(step, final, outcome.branch))


def _failed(turn: Turn, state: StepState, outcome: Failed, jitter: float) -> list[StepState]:
    policy = turn.plan.steps[state.no].retry
    failures = state.failures + 1
    if not turn.ending and not state.cancel_requested and policy.allows(outcome.error, failures):
        delay = policy.delay(failures, jitter, outcome.retry_after)
        turn.retry(state, turn.now + delay, _document(turn, state, outcome.error))
        return []
    return _final_failure(turn, state._replace(failures=failures), outcome.error)


def _final_failure(turn: Turn, state: StepState, error: StepError) -> list[StepState]:
    """Fail a step for good, and let its error handling decide what that does to the run."""
    step = turn.plan.steps[state.no]
    document = _document(turn, state, error)
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
    """Fail a parallel step at its first failed child, and stop the others."""
    stopped = [failed, *endings.cancel_children(turn, parent)]
    ready: list[StepState] = []
    state = turn.step(parent)
    error = StepError(
        code="PARALLEL_FAILED",
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
    if turn.ending or state.cancel_requested:
        return _stopped(turn, state)
    turn.emit(EventType.STEP_RELEASED, state.no, state.attempt, worker=state.worker)
    turn.queue(state._replace(attempt=state.attempt - 1))
    return []


def _deferred(turn: Turn, state: StepState, outcome: Deferred) -> list[StepState]:
    """Let a step wait for a worker that can run it; the attempt is not counted."""
    if turn.ending or state.cancel_requested:
        return _stopped(turn, state)
    turn.emit(EventType.STEP_RELEASED, state.no, state.attempt, worker=state.worker)
    state = state._replace(attempt=state.attempt - 1, failures=state.failures - 1)
    turn.retry(state, turn.now + outcome.delay, _document(turn, state, outcome.error))
    return []


def _lost(turn: Turn, state: StepState) -> list[StepState]:
    """Decide about an attempt whose lease has ended: its worker is dead, frozen, or cut off."""
    crashes = state.crashes + 1
    error = StepError(
        code="WORKER_LOST",
        message=f"worker {state.worker} lost its lease on attempt {state.attempt}",
        kinds=("crash",),
        hint="the worker died, froze, or could not reach Postgres",
    )
    state = state._replace(crashes=crashes)
    if turn.status is RunStatus.CANCELLING or state.cancel_requested:
        return _stopped(turn, state)
    if turn.ending:
        return _final_failure(turn, state, error)
    if crashes > turn.terms.max_crashes:
        poison = StepError(
            code="POISON",
            message=f"{crashes} workers were lost while running this step",
            kinds=("crash",),
            retryable=False,
            hint="look at what the step does to its worker, then: flowforge retry RUN",
        )
        return _final_failure(turn, state, poison)
    document = _document(turn, state, error)
    turn.emit(EventType.STEP_RETRYING, state.no, state.attempt, error=document)
    turn.queue(state._replace(error=document))
    return []


def _woke(turn: Turn, fact: Woke) -> Answer:
    """Look at everything of a run that has a time; needs the whole run."""
    if turn.status.final or turn.status is RunStatus.PENDING:
        turn.wake_at = None
        return Refused(Refusal.OVER)
    if turn.deadline_at is not None and turn.deadline_at <= turn.now and not (turn.ending or turn.awaits_output):
        endings.time_out(turn)
    for state in sorted(turn.whole()):
        _look(turn, turn.steps[state.no], fact)
    endings.conclude(turn)
    if not turn.status.final:
        turn.set_alarm()
    return Accepted()


def _look(turn: Turn, state: StepState, fact: Woke) -> None:
    over = state.due_at is not None and state.due_at <= turn.now
    if state.status is StepStatus.RUNNING and over:
        _lost(turn, state)
    elif state.status is StepStatus.WAITING and over:
        _due(turn, state)
    elif state.status is StepStatus.QUEUED and not turn.ending:
        if fact.streams_lost or (over and not fact.backlog):
            turn.dispatch_again(state)
        elif over:
            turn.put(state._replace(due_at=turn.now + turn.terms.redispatch_after))


def _due(turn: Turn, state: StepState) -> None:
    """Go on with a step whose time has come: another attempt, or the end of a delay."""
    if state.error is not None:
        turn.queue(state)
        return
    final = turn.finish(state, StepStatus.COMPLETED)
    turn.emit(EventType.STEP_COMPLETED, state.no, state.attempt)
    if not turn.ending:
        resolve(turn, outgoing(turn.plan.steps[state.no], final, None))


def _document(turn: Turn, state: StepState, error: StepError) -> dict[str, object]:
    return error.document(turn.plan.steps[state.no].id, state.attempt or None)
