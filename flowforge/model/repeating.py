"""The items of a foreach: entered a few at a time, counted as they end.

A foreach that knows its items waits, with the number of items in its label. Its open dependencies are the items that
have not ended, its skipped ones are the items that were entered: nothing else has to be read to let the next one in.
Invariant: at most `max_parallel` items are worked on, and each is entered once, until an operator's retry.
"""

from __future__ import annotations

from collections.abc import Iterator

from flowforge.model.outcome import Expanded
from flowforge.model.plan import Body
from flowforge.model.state import StepState
from flowforge.model.status import StepStatus
from flowforge.model.turn import NeedsWholeRun, Turn


def expand(turn: Turn, state: StepState, outcome: Expanded, output: str | None) -> list[StepState]:
    """Let a foreach wait for its items, and enter the first; return the steps that became ready."""
    body = turn.plan.steps[state.no].body
    assert body is not None
    waiting = turn.wait(state, None, output, items=outcome.count)
    turn.put(waiting._replace(label=str(outcome.count), open_dependencies=outcome.count, skipped_dependencies=0))
    if outcome.count == 0:
        return [turn.wake(turn.step(state.no), "items")]
    ready: list[StepState] = []
    for _ in range(min(body.max_parallel or outcome.count, outcome.count)):
        ready += _enter_next(turn, body)
    return ready


def item_ended(turn: Turn, foreach: int) -> list[StepState]:
    """Count an item that has ended and enter the next; return the steps that became ready."""
    state = turn.step(foreach)
    if state.status is not StepStatus.WAITING:
        return []
    state = turn.put(state._replace(open_dependencies=state.open_dependencies - 1))
    if state.open_dependencies == 0:
        return [turn.wake(state, "items")]
    body = turn.plan.steps[foreach].body
    assert body is not None
    return _enter_next(turn, body)


def begun(state: StepState) -> bool:
    """Say whether a foreach knows its items."""
    return state.label is not None


def entered(turn: Turn, foreach: int) -> Iterator[int]:
    """Yield the numbers of all steps of the items that were entered."""
    state, body = turn.step(foreach), turn.plan.steps[foreach].body
    assert body is not None
    if begun(state):
        for item in range(state.skipped_dependencies):
            yield from (body.number(item, position) for position in range(body.size))


def resume(turn: Turn, foreach: int) -> list[StepState]:
    """Go on with the items that an operator's retry reset; return the steps that became ready."""
    body = turn.plan.steps[foreach].body
    assert body is not None
    ready: list[StepState] = []
    busy = sum(1 for item in range(turn.step(foreach).skipped_dependencies) if _busy(turn, body, item))
    count = int(turn.step(foreach).label or 0)
    for _ in range(max(0, (body.max_parallel or count) - busy)):
        more = _enter_next(turn, body)
        if not more:
            break
        ready += more
    if turn.step(foreach).open_dependencies == 0:
        ready.append(turn.wake(turn.step(foreach), "items"))
    return ready


def _enter_next(turn: Turn, body: Body) -> list[StepState]:
    """Enter the next item: one that was reset, else the first that was never entered."""
    if turn.rows_ahead:
        again = _next_reset(turn, body)
        if again:
            return again
    state = turn.step(body.foreach)
    item = state.skipped_dependencies
    if item >= int(state.label or 0):
        return []
    turn.put(state._replace(skipped_dependencies=item + 1))
    turn.open_steps += body.size
    return [turn.queue(_pending(turn, body.number(item, position))) for position in body.entries]


def _next_reset(turn: Turn, body: Body) -> list[StepState]:
    """Queue what is ready in the first item that was reset and that nobody works on."""
    if turn.loaded is not None:
        raise NeedsWholeRun
    for item in range(turn.step(body.foreach).skipped_dependencies):
        if turn.step(body.number(item)).status.final or _busy(turn, body, item):
            continue
        ready = [state for no in _block(body, item) if _ready(state := turn.step(no))]
        if ready:
            return [turn.queue(state) for state in ready]
    return []


def _block(body: Body, item: int) -> range:
    return range(body.number(item), body.number(item, body.size))


def _ready(state: StepState) -> bool:
    return state.status is StepStatus.PENDING and state.open_dependencies == 0


def _busy(turn: Turn, body: Body, item: int) -> bool:
    return any(turn.step(no).status in _ACTIVE for no in _block(body, item))


def _pending(turn: Turn, no: int) -> StepState:
    """Return a step of an item as it is before anything happened to it; a run that was retried may have its row."""
    if turn.rows_ahead:
        return turn.step(no)
    return StepState(no, StepStatus.PENDING, len(turn.plan.steps[no].dependencies))


_ACTIVE = frozenset({StepStatus.QUEUED, StepStatus.RUNNING, StepStatus.WAITING})
