"""What steps wait for beside time: signals, decisions of people, child runs.

Whatever comes is kept with the run, so what comes early is not lost, and is given to one step, in order. A step whose
wait is over is executed again and sees what it was given; nothing here knows what that means.
"""

from __future__ import annotations

from datetime import timedelta

from flowforge.model.diagnostics import closest
from flowforge.model.event import EventType
from flowforge.model.facts import Accepted, Answer, Decided, Refusal, Refused, Rejected, SignalSent, Woken
from flowforge.model.outcome import Waiting
from flowforge.model.state import Signal, StepState
from flowforge.model.status import StepStatus
from flowforge.model.turn import Turn

SIGNAL, APPROVAL, REJECTION = "signal", "approval", "rejection"
#: The label of a step that asks people, and of one that has its answer.
ASKED, ANSWERED = "approval", "decided"


def wait(turn: Turn, state: StepState, outcome: Waiting, output: str | None) -> list[StepState]:
    """Let a step wait; one that has what it waits for already goes on at once. Return it if it does."""
    due_at = turn.now + outcome.due if isinstance(outcome.due, timedelta) else outcome.due
    if outcome.signal is not None:
        state = turn.wait(
            state._replace(label=outcome.signal, open_dependencies=0), due_at, output, signal=outcome.signal
        )
        kept = next((one for one in turn.signals if one.step is None and one.name == outcome.signal), None)
        return [] if kept is None else [_take(turn, state, kept)]
    if outcome.approvals is not None:
        state = turn.wait(state._replace(label=ASKED), due_at, output, approvals=outcome.approvals)
        return _count(turn, state, outcome.approvals)
    state = turn.wait(state, due_at, output)
    return [turn.wake(state, "call")] if state.open_dependencies else []


def send(turn: Turn, fact: SignalSent) -> Answer:
    """Keep a signal, and give it to the step that has waited longest for one of its name."""
    refused = _unwanted(turn, fact.name)
    if refused is not None:
        return Rejected(refused)
    signal = Signal(turn.next_seq, SIGNAL, fact.name, fact.actor, turn.now, payload=fact.payload)
    turn.beside().sent.append(signal)
    turn.emit(EventType.SIGNAL_RECEIVED, None, None, name=fact.name, actor=fact.actor)
    waiting = [
        state for state in turn.whole() if state.status is StepStatus.WAITING and _listens(turn, state, fact.name)
    ]
    if waiting:
        _take(turn, min(waiting, key=lambda state: (state.started_at or turn.now, state.no)), signal)
    return Accepted()


def decided(turn: Turn, fact: Decided) -> Answer:
    """Note one person's decision; the step goes on when enough have approved, or one has not."""
    state = turn.step(fact.step)
    step = turn.plan.steps[fact.step]
    if turn.status.final:
        return Rejected(f"the run is already {turn.status.value}")
    if state.label not in (ASKED, ANSWERED) or state.status.final:
        what = f"is {state.status.value}" if state.status.final else "does not ask for a decision yet"
        return Rejected(f"step '{step.id}' {what}")
    before = [one for one in turn.signals if one.step == fact.step]
    if any(one.actor == fact.actor for one in before):
        return Rejected(f"{fact.actor} has decided about step '{step.id}' already")
    if state.label == ANSWERED:
        return Rejected(f"step '{step.id}' is decided already, by {', '.join(one.actor for one in before)}")
    kind = APPROVAL if fact.approved else REJECTION
    signal = Signal(turn.next_seq, kind, step.id, fact.actor, turn.now, fact.step, _comment(fact))
    turn.beside().sent.append(signal)
    turn.emit(
        EventType.STEP_DECIDED,
        state.no,
        state.attempt or None,
        actor=fact.actor,
        approved=fact.approved,
        reason=fact.comment,
    )
    if state.status is StepStatus.WAITING and state.error is None:
        _count(turn, state, state.open_dependencies + sum(one.kind == APPROVAL for one in before))
    return Accepted()


def woken(turn: Turn, fact: Woken) -> Answer:
    """Execute a waiting step again, because what it waits for may have come."""
    state = turn.steps.get(fact.step)
    if state is None:
        return Refused(Refusal.UNKNOWN)
    wakes = turn.plan.steps[fact.step].wakes
    if wakes and state.status is StepStatus.RUNNING:
        # It is about to wait for what has come already.
        turn.put(state._replace(open_dependencies=1))
        return Accepted()
    waits = wakes and state.status is StepStatus.WAITING and state.error is None
    if not waits or not turn.may_start(fact.step):
        return Refused(Refusal.STALE)
    turn.wake(state, fact.by)
    return Accepted()


def _take(turn: Turn, state: StepState, signal: Signal) -> StepState:
    turn.beside().taken[signal.no] = state.no
    return turn.wake(state, SIGNAL)


def _count(turn: Turn, state: StepState, needed: int) -> list[StepState]:
    """Count the decisions about a step that waits for them; return it if it goes on."""
    mine = [one for one in turn.signals if one.step == state.no]
    left = needed - sum(one.kind == APPROVAL for one in mine)
    state = turn.put(state._replace(open_dependencies=max(left, 0)))
    if left > 0 and all(one.kind == APPROVAL for one in mine):
        return []
    return [turn.wake(state._replace(label=ANSWERED), "decision")]


def _listens(turn: Turn, state: StepState, name: str) -> bool:
    waits = state.label == name and state.error is None
    return waits and turn.plan.steps[state.no].type == "wait_signal"


def _unwanted(turn: Turn, name: str) -> str | None:
    """Say why a signal is of no use to the run."""
    known = turn.plan.signals
    if turn.status.final:
        return f"the run is already {turn.status.value}"
    if known is None or name in known:
        return None
    if not known:
        return f"no step of workflow '{turn.plan.name}' waits for a signal"
    meant = closest(name, known)
    listed = ", ".join(f"'{one}'" for one in sorted(known)[:10])
    return f"no step waits for the signal '{name}'" + (
        f"; did you mean '{meant}'?" if meant else f", only for {listed}"
    )


def _comment(fact: Decided) -> str:
    from flowforge.model.json import encode

    return encode(fact.comment)
