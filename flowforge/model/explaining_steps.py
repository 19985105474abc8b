"""Why the steps of a run under way do not move: each open step's own cause, and who waits behind it.

A step that waits for other steps is no cause but a consequence: it hangs on those it waits for. Steps that wait for
the same thing are told as one, so that a fan-out of ten thousand is one line.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from flowforge.model import explaining_queued, explaining_running
from flowforge.model.circumstances import RunFacts
from flowforge.model.explaining_queued import no_worker_at_all, quoted
from flowforge.model.explaining_running import attempt
from flowforge.model.explanation import Cause, CauseKind, Holder, Subject, Weight, command, listed, ranked
from flowforge.model.plan import StepPlan
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.waiting import ASKED

#: What is due for less is about to be looked at.
GRACE = timedelta(seconds=2)
#: Code of the error of a step that waits for a worker that has its type.
NOT_INSTALLED = "STEP_TYPE_NOT_INSTALLED"
#: Steps of which some are named, groups of waiting steps that are told, and links of a chain.
MOST_MEMBERS, MOST_SIBLINGS, LONGEST = 5, 10, 12
_OPEN = frozenset({StepStatus.QUEUED, StepStatus.RUNNING, StepStatus.WAITING})
_WEIGHTS = list(Weight)


def why(facts: RunFacts) -> list[Cause]:
    """Return the causes of a run's open steps, and what waits behind them."""
    found = roots(facts)
    if facts.around.deserted and any(cause.weight is Weight.WAITS for cause in found):
        found.append(no_worker_at_all(facts.around, "timers and leases are looked after by workers"))
    return [*found, *_siblings(facts)]


def about(facts: RunFacts, no: int) -> tuple[Cause, ...]:
    """Return why one step that has not ended does not move."""
    state = facts.steps.get(no)
    if state is not None and state.status in _OPEN:
        return (_cause(facts, facts.plan.steps[no], state),)
    cause = _sibling(facts, (no,), _blockers(facts, facts.plan.steps[no]), LONGEST)
    return () if cause is None else (cause,)


def roots(facts: RunFacts) -> list[Cause]:
    """Return the causes of the steps that are queued, running or waiting; those of items below their foreach."""
    return _causes(facts, [state for state in _standing(facts) if facts.plan.steps[state.no].foreach is None])


def _standing(facts: RunFacts) -> list[StepState]:
    """Return the steps that have something to wait for: what is queued in a paused run has only a run it started."""
    states = [state for state in facts.steps.values() if state.status in _OPEN]
    if facts.status is not RunStatus.PAUSED:
        return states
    return [state for state in states if state.status is not StepStatus.QUEUED or state.no in facts.children]


def _causes(facts: RunFacts, states: Iterable[StepState]) -> list[Cause]:
    """Return one cause for all steps that wait for the same."""
    groups: dict[Hashable, list[tuple[StepState, Cause]]] = {}
    for state in states:
        cause = _cause(facts, facts.plan.steps[state.no], state)
        groups.setdefault(_alike(facts.plan.steps[state.no], cause), []).append((state, cause))
    return [_merged(facts, members) for members in groups.values()]


def _alike(step: StepPlan, cause: Cause) -> Hashable:
    """Return what steps have in common that are told as one."""
    if cause.kind in _SHARED:
        return (cause.kind, cause.subject)
    # Runs that items have started stand still for reasons of their own.
    below = tuple(one.kind for one in cause.chain()) if cause.kind is CauseKind.CHILD_RUN else ()
    return (cause.kind, step.name_in_context, cause.data.get("code"), below)


#: Kinds of causes that are the same for all steps of a queue.
_SHARED = frozenset(
    {
        *(CauseKind.QUEUE_PAUSED, CauseKind.NO_WORKER, CauseKind.WORKERS_BUSY, CauseKind.STREAMS_DOWN),
        *(CauseKind.OUTBOX_LAG, CauseKind.DISPATCH_LOST, CauseKind.QUEUED),
    }
)


def _merged(facts: RunFacts, members: list[tuple[StepState, Cause]]) -> Cause:
    """Join the causes of steps that wait for the same; the one that has waited longest speaks for all."""
    members.sort(key=lambda member: (member[1].since is None, member[1].since or facts.now, member[0].no))
    first = members[0][1]
    behind = _behind(facts, [state.no for state, _ in members])
    if len(members) == 1:
        return replace(first, behind=behind)
    names = [facts.plan.steps[state.no].id for state, _ in members]
    untils = [cause.until for _, cause in members if cause.until is not None]
    return replace(
        first,
        text=f"{first.text}; {_others([cause for _, cause in members], names[1:])}",
        until=min(untils, default=None),
        count=len(members),
        members=tuple(names[:MOST_MEMBERS]),
        behind=behind,
    )


def _others(causes: list[Cause], names: list[str]) -> str:
    """Say of the other steps of a group that they wait as the first one does, or each for its own."""
    several, who = len(names) > 1, listed(names)
    own = "of their own" if several else "of its own"
    kind = causes[0].kind
    if kind is CauseKind.SIGNAL and len({cause.data["signal"] for cause in causes}) > 1:
        return f"{who} {'wait for signals' if several else 'waits for a signal'} {own}"
    if kind is CauseKind.CHILD_RUN:
        return f"{who} {'wait for runs' if several else 'waits for a run'} {own}"
    return f"so {'do' if several else 'does'} {who}"


def _behind(facts: RunFacts, numbers: list[int]) -> int:
    """Count the steps that cannot start before those of some numbers have ended."""
    seen, todo = set(numbers), list(numbers)
    while todo:
        for edge in facts.plan.steps[todo.pop()].successors:
            state = facts.steps.get(edge.step)
            if edge.step not in seen and (state is None or not state.status.final):
                seen.add(edge.step)
                todo.append(edge.step)
    return len(seen) - len(set(numbers))


# -- steps that wait for others --------------------------------------------------------------------------------


def _siblings(facts: RunFacts) -> list[Cause]:
    """Return the steps that wait for others, together where they wait for the same."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for step in facts.plan.steps:
        state = facts.steps.get(step.no)
        if state is None or state.status is StepStatus.PENDING:
            groups.setdefault(_blockers(facts, step), []).append(step.no)
    made = (_sibling(facts, tuple(numbers), blockers, LONGEST) for blockers, numbers in groups.items() if blockers)
    return [cause for cause, _ in zip((one for one in made if one is not None), range(MOST_SIBLINGS), strict=False)]


def _sibling(facts: RunFacts, numbers: tuple[int, ...], blockers: tuple[int, ...], depth: int) -> Cause | None:
    """Say which steps some steps wait for, and why the first of those does not end."""
    if not blockers:
        return None
    steps, names = facts.plan.steps, [facts.plan.steps[no].id for no in numbers]
    who = f"step {quoted(names[0])} waits" if len(names) == 1 else f"{len(names)} steps ({listed(names)}) wait"
    whom = listed([quoted(steps[no].id) for no in blockers])
    first = min(blockers, key=lambda no: _order(facts, no))
    return Cause(
        CauseKind.SIBLING,
        _step(steps[numbers[0]]),
        f"{who} for {'step' if len(blockers) == 1 else f'{len(blockers)} steps,'} {whom}",
        Weight.NOTES,
        count=len(names),
        members=tuple(names[:MOST_MEMBERS]),
        data={"waits_for": [steps[no].id for no in blockers[:MOST_MEMBERS]]},
        because=_link(facts, first, depth - 1),
    )


def _link(facts: RunFacts, no: int, depth: int) -> tuple[Cause, ...]:
    if depth <= 0:
        return ()
    state = facts.steps.get(no)
    if state is not None and state.status in _OPEN:
        return (_cause(facts, facts.plan.steps[no], state),)
    cause = _sibling(facts, (no,), _blockers(facts, facts.plan.steps[no]), depth)
    return () if cause is None else (cause,)


def _order(facts: RunFacts, no: int) -> tuple[int, int]:
    """Let a step that has begun speak before one that itself waits for others, the worst first."""
    state = facts.steps.get(no)
    if state is None or state.status not in _OPEN:
        return (len(_WEIGHTS), no)
    return (_WEIGHTS.index(_cause(facts, facts.plan.steps[no], state).weight), no)


def _blockers(facts: RunFacts, step: StepPlan) -> tuple[int, ...]:
    """Return the numbers of the steps before one that have not ended."""
    numbers = (edge.step for edge in step.dependencies)
    return tuple(no for no in numbers if (state := facts.steps.get(no)) is None or not state.status.final)


# -- one step --------------------------------------------------------------------------------------------------


def _cause(facts: RunFacts, step: StepPlan, state: StepState) -> Cause:
    match state.status:
        case StepStatus.QUEUED if facts.status is RunStatus.PAUSED and state.no in facts.children:
            return _child(facts, step, state)
        case StepStatus.QUEUED:
            return explaining_queued.why(facts, step, state)
        case StepStatus.RUNNING:
            return explaining_running.why(facts, step, state)
    return _waiting(facts, step, state)


def _waiting(facts: RunFacts, step: StepPlan, state: StepState) -> Cause:
    if state.due_at is not None and state.due_at + GRACE < facts.now:
        return _overdue(facts, step, state)
    if state.error is not None:
        return _retry(facts, step, state)
    if step.wakes:
        kind = "approval" if state.label == ASKED else step.type
        told = _WAKES.get(kind)
        if told is not None:
            return told(facts, step, state)
    if step.type == "delay":
        text, kind_ = f"step {quoted(step.id)} is a delay", CauseKind.DELAY
    else:
        text, kind_ = f"step {quoted(step.id)} waits for what happens elsewhere", CauseKind.WAITING
    since, skip = state.started_at, _skip(facts, step)
    return Cause(kind_, _step(step), text, Weight.WAITS, since, state.due_at, command=skip)


def _overdue(facts: RunFacts, step: StepPlan, state: StepState) -> Cause:
    nobody = (no_worker_at_all(facts.around, "timers are looked after by workers"),) if facts.around.deserted else ()
    what = "the time of its next attempt" if state.error is not None else "its time"
    return Cause(
        CauseKind.OVERDUE,
        _step(step),
        f"step {quoted(step.id)} is overdue: {what} has come, and no worker has looked",
        Weight.BLOCKED if nobody else Weight.WAITS,
        state.due_at,
        # A worker that died a moment ago still counts as alive: the list shows how long each has been silent.
        command=command("worker", "start" if nobody else "ls"),
        because=nobody,
    )


def _retry(facts: RunFacts, step: StepPlan, state: StepState) -> Cause:
    error = state.error or {}
    barred = explaining_queued.barred(facts.around, step, state) if facts.around.known else None
    if error.get("code") == NOT_INSTALLED and facts.around.known:
        unserved = explaining_queued.unserved(facts.around, step, state)
        if unserved is not None:
            return replace(unserved, since=state.queued_at, until=None)
        text = f"step {quoted(step.id)} of type {quoted(step.type)} is tried again: a worker that has the type is there"
    else:
        why, following = said({**error, "step": None}), attempt(step, state.attempt + 1)
        text = f"step {quoted(step.id)} waits for attempt {following}; attempt {state.attempt} failed, {why}"
    return Cause(
        CauseKind.RETRY,
        _step(step),
        text,
        Weight.WAITS if barred is None else barred.weight,
        state.started_at,
        state.due_at,
        command=_skip(facts, step),
        data={"code": error.get("code"), "error": error, "max_attempts": step.retry.max_attempts},
        because=() if barred is None else (replace(barred, text=f"and then {barred.text}"),),
    )


def _signal(facts: RunFacts, step: StepPlan, state: StepState) -> Cause:
    limit = ", or until it has waited long enough" if state.due_at is not None else ""
    return Cause(
        CauseKind.SIGNAL,
        _step(step),
        f"step {quoted(step.id)} waits for the signal {quoted(str(state.label))}{limit}",
        Weight.BLOCKED,
        state.started_at,
        state.due_at,
        command=command("signal", str(facts.id), str(state.label)),
        data={"signal": state.label},
    )


def _approval(facts: RunFacts, step: StepPlan, state: StepState) -> Cause:
    asked = facts.kept.get(state.no)
    asked = asked if isinstance(asked, dict) else {}
    approvers = [str(name) for name in asked.get("approvers") or ()]
    given = [one for one in facts.signals if one.step == state.no]
    missing = state.open_dependencies
    needed = f"{missing} {'is' if missing == 1 else 'are'} needed"
    if given:
        needed = f"{missing} more {'is' if missing == 1 else 'are'} needed after {listed([one.actor for one in given])}"
    prompt = f": {asked['prompt']}" if asked.get("prompt") else ""
    return Cause(
        CauseKind.APPROVAL,
        _step(step),
        f"step {quoted(step.id)} asks {listed(approvers, 5) or 'anybody'} to approve, {needed}{prompt}",
        Weight.BLOCKED,
        state.started_at,
        state.due_at,
        tuple(Holder("person", name, "is asked", state.started_at) for name in approvers),
        command("approve", str(facts.id), step.id),
        data={
            "missing": missing,
            "asked": approvers,
            "approved": [{"actor": one.actor, "at": one.at.isoformat()} for one in given],
            "prompt": asked.get("prompt"),
        },
    )


def _items(facts: RunFacts, step: StepPlan, state: StepState) -> Cause:
    inside = [one for one in _standing(facts) if facts.plan.steps[one.no].foreach == step.no]
    causes = ranked(_causes(facts, inside))
    return Cause(
        CauseKind.ITEMS,
        _step(step),
        f"step {quoted(step.id)} waits for {state.open_dependencies} of its {state.label} items",
        causes[0].weight if causes else Weight.WAITS,
        state.started_at,
        command=causes[0].command if causes else None,
        data={"items": int(state.label or 0), "open": state.open_dependencies},
        because=causes,
    )


def _child(facts: RunFacts, step: StepPlan, state: StepState) -> Cause:
    child = facts.children.get(state.no)
    if child is None:
        text = f"step {quoted(step.id)} waits for the run that it has started"
        return Cause(CauseKind.CHILD_RUN, _step(step), text, Weight.WAITS, state.started_at, state.due_at)
    return Cause(
        CauseKind.CHILD_RUN,
        _step(step),
        f"step {quoted(step.id)} waits for run {child.run} of {child.workflow}, which is {child.status}",
        child.causes[0].weight if child.causes else Weight.WAITS,
        # The step looks now and then whether the run has ended, and has started anew each time.
        child.created_at or state.started_at,
        command=command("explain", str(child.run)),
        data={"run": str(child.run), "status": child.status},
        because=child.causes[:3],
    )


_WAKES: Mapping[str, Callable[[RunFacts, StepPlan, StepState], Cause]] = {
    "wait_signal": _signal,
    "approval": _approval,
    "foreach": _items,
    "workflow": _child,
}


def _skip(facts: RunFacts, step: StepPlan) -> str:
    return command("skip", str(facts.id), step.id)


def _step(step: StepPlan) -> Subject:
    return Subject("step", step.id)


# -- words -----------------------------------------------------------------------------------------------------


def said(error: Mapping[str, Any]) -> str:
    """Return an error in a sentence."""
    where = f"step {quoted(str(error['step']))} failed with " if error.get("step") else ""
    return f"{where}{error.get('code', 'ERROR')}: {error.get('message', '')}"


def reason(text: object) -> str:
    """Return a reason as it stands behind who has it."""
    return f" ({text})" if text else ""
