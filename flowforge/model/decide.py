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

from flowforge.model import compensating, endings, repeating, retrying, steering, waiting
from flowforge.model.drift import Seen
from flowforge.model.event import EventType
from flowforge.model.facts import (
    Accepted,
    Admitted,
    Answer,
    CancelRequested,
    Claimed,
    Created,
    Decided,
    Drifted,
    DuplicatePrevented,
    Fact,
    Granted,
    PauseRequested,
    Provided,
    Recorded,
    Refusal,
    Refused,
    Request,
    ResumeRequested,
    RetryRequested,
    Settled,
    SignalSent,
    SkipRequested,
    Taker,
    Woke,
    Woken,
)
from flowforge.model.resolve import Resolved, resolve, skipped
from flowforge.model.settling import completed, lost, settle
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
            turn.emit(EventType.RUN_CREATED, trigger=fact.trigger, **fact.who)
            return Accepted()
        case Recorded():
            return retrying.replay(turn, fact)
        case Admitted():
            return _admitted(turn, fact.taker)
        case Woke():
            return _woke(turn, fact)
        case Woken():
            return waiting.woken(turn, fact)
        case Provided():
            return _provided(turn, fact)
        case DuplicatePrevented():
            turn.emit(EventType.DUPLICATE_PREVENTED, idempotency_key=fact.key)
            return Accepted()
        case _:
            return _requested(turn, fact)


def _provided(turn: Turn, fact: Provided) -> Answer:
    """Grant a request if the run is as it was seen; facts before it in the same transaction are no drift."""
    before = turn.before
    drift = fact.expected.drift(Seen(before.status, before.seq, before.finished_at))
    return _requested(turn, fact.request) if drift is None else Drifted(drift)


def _requested(turn: Turn, fact: Request) -> Answer:  # noqa: PLR0911 - one line per kind of request
    match fact:
        case CancelRequested():
            return endings.cancel(turn, fact)
        case PauseRequested():
            return steering.pause(turn, fact)
        case ResumeRequested():
            return steering.resume(turn, fact)
        case SkipRequested():
            return steering.skip(turn, fact)
        case RetryRequested():
            return retrying.retry(turn, fact)
        case SignalSent():
            return waiting.send(turn, fact)
        case Decided():
            return waiting.decided(turn, fact)


def _admitted(turn: Turn, taker: Taker | None) -> Answer:
    if turn.status is not RunStatus.PENDING:
        return Refused(Refusal.OVER)
    if turn.error is not None:
        return _undo_again(turn)
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


def _undo_again(turn: Turn) -> Answer:
    """Go on with undoing a run that could not be undone before."""
    turn.status = RunStatus.COMPENSATING
    turn.emit(EventType.RUN_COMPENSATING, error=turn.error)
    compensating.go_on(turn)
    return Accepted()


def _go_on(turn: Turn, state: StepState) -> None:
    """Queue or skip a step that a retry left with nothing to wait for."""
    step = turn.plan.steps[state.no]
    if step.body is not None and state.status is StepStatus.WAITING:
        repeating.resume(turn, state.no)
    if step.foreach is not None or step.compensates is not None:
        return
    if state.status is not StepStatus.PENDING or state.open_dependencies > 0:
        return
    if not skipped(step, state.skipped_dependencies):
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
        if not turn.may_start(fact.step):
            return Refused(Refusal.OVER)
        return Granted(turn.start(state, fact.worker, fact.lease))
    if state.status is StepStatus.RUNNING:
        return _reclaimed(turn, state, fact)
    if fact.repeated and state.status is StepStatus.COMPLETED and state.worker == fact.worker:
        # It only computed, and was settled with its claim.
        return Accepted(_taken(turn, state))
    return Refused(Refusal.STALE)


def _reclaimed(turn: Turn, state: StepState, fact: Claimed) -> Answer:
    """Answer a claim of a step that is running: only a lease that has ended makes room for another worker."""
    if fact.repeated and state.worker == fact.worker:
        return Granted(turn.put(state._replace(due_at=turn.now + fact.lease)))
    if not fact.reclaimed or state.due_at is None or state.due_at > turn.now:
        return Refused(Refusal.LEASED)
    lost(turn, state)
    endings.conclude(turn)
    state = turn.steps[state.no]
    if state.status is StepStatus.QUEUED and turn.status is not RunStatus.PAUSED and turn.may_start(state.no):
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
    if turn.ending or turn.status is RunStatus.PAUSED:
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


def _woke(turn: Turn, fact: Woke) -> Answer:
    """Look at everything of a run that has a time; needs the whole run."""
    if turn.status.final or turn.status is RunStatus.PENDING:
        turn.wake_at = None
        return Refused(Refusal.OVER)
    late = turn.deadline_at is not None and turn.deadline_at <= turn.now
    if late and turn.status is RunStatus.RUNNING and not (turn.ending or turn.awaits_output):
        endings.time_out(turn)
    expired = [state for state in sorted(turn.whole()) if _expired(turn, state)]
    for state in sorted(turn.whole()):
        _look(turn, turn.steps[state.no], fact)
    endings.conclude(turn)
    begun = None if fact.taker is None else _take_over(turn, expired, fact.taker)
    if not turn.status.final:
        turn.set_alarm()
    return Accepted(begun)


def _take_over(turn: Turn, expired: Sequence[StepState], taker: Taker) -> StepState | None:
    """Give an attempt whose lease has ended to whoever found that, unless it was theirs: no stream has to carry it."""
    if turn.status is RunStatus.PAUSED:
        return None
    for lost_by in expired:
        state = turn.steps[lost_by.no]
        if lost_by.worker == taker.worker or state.no in taker.but or turn.plan.steps[state.no].lane not in taker.lanes:
            continue
        if state.status is StepStatus.QUEUED and turn.may_start(state.no):
            return turn.start(state, taker.worker, taker.lease)
    return None


def _expired(turn: Turn, state: StepState) -> bool:
    return state.status is StepStatus.RUNNING and state.due_at is not None and state.due_at <= turn.now


def _look(turn: Turn, state: StepState, fact: Woke) -> None:
    over = state.due_at is not None and state.due_at <= turn.now
    if _expired(turn, state):
        lost(turn, state)
    elif state.status is StepStatus.WAITING and over:
        _due(turn, state)
    elif state.status is StepStatus.QUEUED and turn.status is not RunStatus.PAUSED and turn.may_start(state.no):
        if fact.streams_lost or (over and not fact.backlog):
            turn.dispatch_again(state)
        elif over:
            turn.put(state._replace(due_at=turn.now + turn.terms.redispatch_after))


def _due(turn: Turn, state: StepState) -> None:
    """Go on with a step whose time has come: another attempt, another look, or the end of a delay."""
    if state.error is not None:
        turn.queue(state)
        return
    if turn.plan.steps[state.no].wakes:
        turn.wake(state, "time")
        return
    completed(turn, turn.finish(state, StepStatus.COMPLETED))
