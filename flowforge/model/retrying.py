"""An operator's retry: which steps of a finished run start over, and with what count of dependencies.

Completed outputs are kept unless they depend on the step the operator names, or were undone. A foreach goes on with
the items that are not done. Terminal stays final for everything else; this is the one explicit way back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowforge.model import compensating, repeating
from flowforge.model.event import EventType
from flowforge.model.facts import Accepted, Answer, Recorded, Rejected, RetryRequested, SkipRequested
from flowforge.model.plan import OnError
from flowforge.model.resolve import outgoing, skips
from flowforge.model.state import UNDONE, StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.turn import Turn

_KEPT = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})


def retry(turn: Turn, fact: RetryRequested) -> Answer:
    """Put a failed or cancelled run back to `pending`, with the steps to repeat reset. Needs the whole run.

    A run that could not undo everything goes on with that, unless a step to start from is named.
    """
    if turn.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
        return Rejected(f"the run is {turn.status.value}; only a failed or cancelled run can be retried")
    turn.whole()
    if fact.from_step is None and _half_undone(turn):
        return _undo_again(turn, fact)
    refused = None if fact.from_step is None else _no_start(turn, fact.from_step)
    return Rejected(refused) if refused is not None else _again(turn, fact, fact.from_step)


def without(turn: Turn, fact: SkipRequested, document: dict[str, Any]) -> Answer:
    """Let a failed run go on as if the step that ended it had been skipped."""
    state, step = turn.step(fact.step), turn.plan.steps[fact.step]
    if turn.status is not RunStatus.FAILED:
        return Rejected(f"the run is {turn.status.value}; only a failed run can go on without a step")
    if state.status is not StepStatus.FAILED:
        return Rejected(f"step '{step.id}' is {state.status.value}; only a failed step can be skipped in a failed run")
    if step.children or step.body is not None:
        return Rejected(f"step '{step.id}' stands for the steps inside it; skip those")
    undoing = step.compensates is not None
    if undoing is not _half_undone(turn):
        what = "has undone nothing" if undoing else "could not undo everything; see to that first"
        return Rejected(f"the run {what}")
    turn.put(state._replace(status=StepStatus.SKIPPED, error=document, finished_at=turn.now))
    skipped(turn, state, fact, document)
    return _undo_again(turn, fact) if undoing else _again(turn, fact, None)


def skipped(turn: Turn, state: StepState, fact: SkipRequested, document: dict[str, Any]) -> None:
    """Tell who went on without a step, and why."""
    who = {"actor": fact.actor, "reason": fact.reason}
    turn.emit(EventType.STEP_SKIPPED, state.no, state.attempt or None, error=document, **who)


def _again(turn: Turn, fact: RetryRequested | SkipRequested, from_step: int | None) -> Answer:
    repeat = _to_repeat(turn, from_step)
    if isinstance(fact, SkipRequested):
        # Even where what comes before it was undone and is repeated.
        repeat.discard(fact.step)
    steps = turn.plan.steps
    going_on = {no for no in repeat if steps[no].body is not None and _goes_on(turn, no, repeat, from_step)}
    repeat |= {no for owner in repeat - going_on if steps[owner].body is not None for no in _rows_of(turn, owner)}
    repeat -= going_on
    _reopen(turn, None)
    turn.output_bytes = 0
    _clear_signals(turn, repeat)
    undo = _undoing_rows(turn, repeat)
    turn.emit(
        EventType.RUN_RETRIED,
        None,
        None,
        actor=fact.actor,
        reason=fact.reason,
        steps=sorted(steps[no].id for no in repeat | undo),
        **({"waiting": sorted(steps[no].id for no in going_on)} if going_on else {}),
        **_moved(fact),
    )
    kept = {no: state for no, state in turn.steps.items() if no not in repeat and no not in going_on}
    for no in sorted(repeat | undo):
        turn.put(_reset(turn, no, kept))
    for no in sorted(going_on):
        turn.put(_going_on(turn, no))
    if from_step is not None and turn.step(from_step).open_dependencies == 0:
        # It was named, so it runs, even where a branch not taken skipped it.
        turn.put(turn.step(from_step)._replace(skipped_dependencies=0))
    ordinary = (turn.step(step.no) for step in steps)
    inside = (turn.step(no) for step in steps if step.body is not None for no in repeating.entered(turn, step.no))
    turn.open_steps = sum(not state.status.final for states in (ordinary, inside) for state in states)
    return Accepted()


def replay(turn: Turn, fact: Recorded) -> Answer:
    """Take what was recorded in another run for what steps of this one came to. Before its admission."""
    kept: dict[int, StepState] = {}
    turn.rows_ahead = True
    for state in fact.steps:
        kept[state.no] = turn.put(state._replace(finished_at=turn.now))
        kind = EventType.STEP_COMPLETED if state.status is StepStatus.COMPLETED else EventType.STEP_SKIPPED
        turn.emit(kind, state.no, None, recorded=True)
        turn.output_bytes += len((state.output or "").encode())
    for step in turn.plan.steps:
        if step.no not in kept and any(edge.step in kept for edge in step.dependencies):
            turn.put(_reset(turn, step.no, kept)._replace(output=None))
    turn.open_steps = len(turn.plan.steps) - len(kept)
    return Accepted()


def _undo_again(turn: Turn, fact: RetryRequested | SkipRequested) -> Answer:
    """Let the run go on with undoing what it did, as soon as its gate has room."""
    again = [
        no
        for no, state in turn.steps.items()
        if turn.plan.steps[no].compensates is not None and state.status in (StepStatus.FAILED, StepStatus.CANCELLED)
    ]
    _reopen(turn, compensating.why(turn.error))
    turn.open_steps = 0
    ids = sorted(turn.plan.steps[no].id for no in again)
    why = {"actor": fact.actor, "reason": fact.reason, "steps": ids, "error": turn.error}
    turn.emit(EventType.RUN_RETRIED, None, None, **why, **_moved(fact))
    for no in again:
        turn.put(_reset(turn, no, {}))
    return Accepted()


def _moved(fact: RetryRequested | SkipRequested) -> dict[str, Any]:
    version = getattr(fact, "to_version", None)
    return {} if version is None else {"version": version}


def _reopen(turn: Turn, error: dict[str, Any] | None) -> None:
    turn.status, turn.error, turn.finished_at, turn.output = RunStatus.PENDING, error, None, None
    turn.deadline_at = turn.wake_at = None
    turn.rows_ahead = True


def _half_undone(turn: Turn) -> bool:
    return turn.error is not None and turn.error["code"] == compensating.FAILED


def _no_start(turn: Turn, no: int) -> str | None:
    """Say why a run cannot start over from a step."""
    step = turn.plan.steps[no]
    if step.compensates is not None:
        return f"step '{step.id}' undoes another one; a run cannot start from it"
    if step.foreach is None:
        return None
    around, owner = turn.step(step.foreach), turn.plan.steps[step.foreach]
    if no not in set(repeating.entered(turn, step.foreach)):
        return f"the run has not come to step '{step.id}'; start from '{owner.id}'"
    if around.status is StepStatus.COMPLETED:
        return f"step '{owner.id}' is completed as a whole; start from '{owner.id}'"
    return None


def _to_repeat(turn: Turn, from_step: int | None) -> set[int]:
    """Return what starts over: all that is not done, the named step with its children, and all behind those."""
    behind = [no for no in _all(turn) if not _stays(turn, turn.step(no))]
    if from_step is not None:
        behind.append(from_step)
    repeat: set[int] = set()
    while behind:
        no = behind.pop()
        if no in repeat:
            continue
        repeat.add(no)
        step = turn.plan.steps[no]
        behind.extend(edge.step for edge in step.successors)
        if step.foreach is not None:
            behind.append(step.foreach)
        behind.extend(child for child in step.children if no == from_step or turn.step(child).status not in _KEPT)
    return repeat


def _all(turn: Turn) -> Iterator[int]:
    """Yield the numbers of the steps of every run, and of those of the items that were entered."""
    for step in turn.plan.steps:
        yield step.no
        if step.body is not None:
            yield from repeating.entered(turn, step.no)


def _rows_of(turn: Turn, foreach: int) -> list[int]:
    """Return the numbers of all steps of items that have a row."""
    steps = turn.plan.steps
    return [no for no in turn.steps if steps[no].foreach == foreach and steps[no].compensates is None]


def _undoing_rows(turn: Turn, repeat: set[int]) -> set[int]:
    """Return the steps that undid others, or tried to; not those that an operator left out for good."""
    return {
        no
        for no, state in turn.steps.items()
        if (undone := turn.plan.steps[no].compensates) is not None
        and state.status is not StepStatus.PENDING
        and (state.status is not StepStatus.SKIPPED or undone in repeat)
    }


def _goes_on(turn: Turn, no: int, repeat: set[int], from_step: int | None) -> bool:
    """Say whether a foreach keeps its items: it had them, and nothing before it changes."""
    step = turn.plan.steps[no]
    anew = from_step is not None and from_step in (no, step.parent)
    return repeating.begun(turn.step(no)) and not anew and not any(edge.step in repeat for edge in step.dependencies)


def _going_on(turn: Turn, no: int) -> StepState:
    """Return a foreach as it waits for the items that are not done."""
    state, body = turn.step(no), turn.plan.steps[no].body
    assert body is not None
    done = sum(turn.step(body.number(item)).status.final for item in range(state.skipped_dependencies))
    return state._replace(
        status=StepStatus.WAITING,
        open_dependencies=int(state.label or 0) - done,
        failures=0,
        crashes=0,
        due_at=None,
        finished_at=None,
        cancel_requested=False,
        error=None,
        output=None,
    )


def _clear_signals(turn: Turn, repeat: set[int]) -> None:
    """Let steps that start over wait for new signals and decisions, and start new runs."""
    if turn.plan.listens or turn.plan.nests:
        turn.beside().cleared |= repeat


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
            how = outgoing(plan.steps[source.no], source, source.label)
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
        label=_times_undone(turn, no),
        error=None,
        output="null",
    )


def _times_undone(turn: Turn, no: int) -> str | None:
    """Return the label of a step that has an effect: an effect that was undone and is made again is another one."""
    state, step = turn.step(no), turn.plan.steps[no]
    if step.branches or step.wakes:
        return None
    done = StepStatus.COMPENSATED if step.compensates is None else StepStatus.COMPLETED
    times = state.epoch + (state.status is done)
    return f"{UNDONE}{times}" if times else None
