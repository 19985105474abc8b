"""Why a run has ended as it has: the first cause first, what followed from it after it.

The failing step speaks with its attempts. A run that was out of time says what it stood at; one that could not undo
everything says why it began to, and then what is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flowforge.model import compensating
from flowforge.model.circumstances import RunFacts, Told
from flowforge.model.documents import rfc3339
from flowforge.model.endings import TIMEOUT
from flowforge.model.event import EventType
from flowforge.model.explaining_queued import nobody, quoted
from flowforge.model.explaining_steps import reason, said
from flowforge.model.explanation import Cause, CauseKind, Subject, Weight, command, listed, rough
from flowforge.model.plan import StepPlan
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus, StepStatus

#: Steps that are named of those that stood still when the time was up.
MOST_STOOD = 5
#: Who acts when no person does.
ENGINE = "flowforge"


def why(facts: RunFacts) -> tuple[Cause, ...]:
    """Return why a run has ended, in the order in which it came about."""
    match facts.status:
        case RunStatus.COMPLETED:
            took = rough((facts.finished_at or facts.now) - (facts.started_at or facts.created_at))
            text = f"the run completed after {took}: there is nothing to move"
            return (
                Cause(CauseKind.COMPLETED, _run(facts), text, Weight.NOTES, facts.finished_at),
                *_left_out(facts, set()),
            )
        case RunStatus.CANCELLED:
            return (_cancelled(facts), *_undone(facts))
    causes = _failed(facts, facts.error or {})
    told = {cause.subject.name for cause in causes}
    return (*causes, *_left_out(facts, told), *_undone(facts))


# -- failed ----------------------------------------------------------------------------------------------------


def _failed(facts: RunFacts, error: Mapping[str, Any]) -> list[Cause]:
    if error.get("code") == compensating.FAILED:
        details = error.get("details")
        cause = details.get("cause") if isinstance(details, dict) else None
        return [*_failed(facts, cause or {"code": compensating.CANCELLED}), _not_undone(facts, error)]
    if error.get("code") == compensating.CANCELLED:
        return [_cancelled(facts)]
    if error.get("code") == TIMEOUT:
        return [_timed_out(facts, error)]
    step = _named(facts, error.get("step"))
    if step is None:
        text = f"the run failed, {said(error)}" if error else "the run failed"
        return [_ended(facts, CauseKind.RUN_FAILED, text, {"error": dict(error)})]
    inner = _inner(facts, step)
    return [*([] if inner is None else [step_failed(facts, inner)]), step_failed(facts, step)]


def _named(facts: RunFacts, name: object) -> StepPlan | None:
    no = facts.plan.find(name) if isinstance(name, str) else None
    return None if no is None else facts.plan.steps[no]


def _inner(facts: RunFacts, around: StepPlan) -> StepPlan | None:
    """Return the step inside another one that failed first, and took it down."""
    failed = [
        state
        for state in facts.steps.values()
        if state.status is StepStatus.FAILED and around.no in _around(facts, state.no)
    ]
    first = min(
        failed, key=lambda state: (state.finished_at or facts.now, -len(_around(facts, state.no))), default=None
    )
    return None if first is None else facts.plan.steps[first.no]


def _around(facts: RunFacts, no: int) -> list[int]:
    """Return the steps that a step lies in, the nearest first."""
    found: list[int] = []
    step: StepPlan | None = facts.plan.steps[no]
    while step is not None:
        outer = step.parent if step.parent is not None else step.foreach
        if outer is None or outer in found:
            break
        found.append(outer)
        step = facts.plan.steps[outer]
    return found


def step_failed(facts: RunFacts, step: StepPlan) -> Cause:
    """Say how a step failed for good, and why it was not tried again."""
    state = facts.steps.get(step.no)
    error = {} if state is None or state.error is None else state.error
    attempts = _attempts(facts, step)
    tries = 0 if state is None else state.attempt
    of = f"{tries} of {step.retry.max_attempts}" if tries <= step.retry.max_attempts else str(tries)
    where = f" on attempt {of}" if tries else ""
    child = None if state is None else facts.children.get(step.no)
    return Cause(
        CauseKind.STEP_FAILED,
        Subject("step", step.id),
        f"step {quoted(step.id)} failed for good{where}, {said({**error, 'step': None})}{_no_more(step, state, error)}",
        Weight.BLOCKED,
        None if state is None else state.finished_at,
        command=command("retry", str(facts.id)) if facts.status is RunStatus.FAILED else None,
        data={"error": error, "attempts": attempts, "hint": error.get("hint")},
        because=() if child is None else child.causes[:3],
    )


def _no_more(step: StepPlan, state: StepState | None, error: Mapping[str, Any]) -> str:
    """Say why there was no other attempt."""
    if state is None or not error or step.children or step.body is not None:
        return ""
    if state.failures >= step.retry.max_attempts > 1:
        return "; its attempts are used up"
    if not error.get("retryable", True):
        return "; that is not tried again by itself"
    return ""


def _attempts(facts: RunFacts, step: StepPlan) -> list[dict[str, Any]]:
    """Return how each attempt of a step ended, the first one first."""
    ends = (EventType.STEP_RETRYING, EventType.STEP_FAILED)
    return [_attempt(event) for event in facts.events if event.step == step.id and event.type in ends]


def _attempt(event: Told) -> dict[str, Any]:
    error = event.data.get("error") or {}
    return {
        "attempt": event.attempt,
        "at": rfc3339(event.at),
        "code": error.get("code"),
        "message": error.get("message"),
    }


def _not_undone(facts: RunFacts, error: Mapping[str, Any]) -> Cause:
    details = error.get("details") or {}
    left = [str(name) for name in details.get("not_undone") or ()]
    undoing = _named(facts, f"{error.get('step')}:compensate") if error.get("step") else None
    text = f"{error.get('message')}; not undone: {listed(left, 5)}" if left else str(error.get("message"))
    attempts = [] if undoing is None else _attempts(facts, undoing)
    hint = error.get("hint")
    if undoing is not None:
        hint = f"if you undo it by hand, say so: {command('skip', str(facts.id), undoing.id)}"
    subject = _run(facts) if undoing is None else Subject("step", undoing.id)
    return Cause(
        CauseKind.NOT_UNDONE,
        subject,
        text,
        Weight.HELD,
        facts.finished_at,
        command=command("retry", str(facts.id)),
        members=tuple(left[:MOST_STOOD]),
        count=max(1, len(left)),
        data={"error": dict(error), "attempts": attempts, "not_undone": left, "hint": hint},
    )


def _timed_out(facts: RunFacts, error: Mapping[str, Any]) -> Cause:
    stood = list(_stood(facts))
    return Cause(
        CauseKind.TIMED_OUT,
        _run(facts),
        str(error.get("message", "the run was out of time")),
        Weight.BLOCKED,
        facts.finished_at,
        command=command("retry", str(facts.id)),
        data={"error": dict(error)},
        because=tuple(stood[:MOST_STOOD]),
    )


def _stood(facts: RunFacts) -> Iterator[Cause]:
    """Yield what the steps were at that were stopped when the time was up."""
    before: dict[str, Told] = {}
    for event in facts.events:
        if event.step is None:
            continue
        if event.type in (EventType.STEP_CANCELLED, EventType.STEP_FAILED) and event.step in before:
            last = before[event.step]
            text = f"step {quoted(event.step)} {_was(last)}, for {rough(event.at - last.at)}"
            yield Cause(CauseKind.STOOD_AT, Subject("step", event.step), text, Weight.NOTES)
        before[event.step] = event


def _was(event: Told) -> str:
    """Say what a step was doing after an event."""
    data = event.data
    match event.type:
        case EventType.STEP_QUEUED:
            return "waited for a worker"
        case EventType.STEP_STARTED:
            return f"was running on {data.get('worker')}"
        case EventType.STEP_RETRYING:
            return f"waited for its next attempt after {(data.get('error') or {}).get('code')}"
    if data.get("signal"):
        return f"waited for the signal {quoted(str(data['signal']))}"
    what = "for approval" if data.get("approvals") else f"for its {data['items']} items" if "items" in data else ""
    return f"waited {what}".rstrip()


# -- cancelled -------------------------------------------------------------------------------------------------


def _cancelled(facts: RunFacts) -> Cause:
    told = facts.last(EventType.RUN_CANCELLING)
    data: Mapping[str, Any] = {} if told is None else told.data
    actor = data.get("actor") or nobody
    parent = facts.parent if actor == ENGINE else None
    return Cause(
        CauseKind.CANCELLED,
        _run(facts),
        f"the run was cancelled by {actor}{reason(data.get('reason'))}",
        Weight.NOTES,
        facts.finished_at if told is None else told.at,
        command=command("retry", str(facts.id)),
        data={"actor": actor, "reason": data.get("reason"), "force": bool(data.get("force"))},
        because=() if parent is None else (_of_parent(facts, parent.causes[:1]),),
    )


def _of_parent(facts: RunFacts, causes: tuple[Cause, ...]) -> Cause:
    parent = facts.parent
    assert parent is not None
    text = f"run {parent.run} of {parent.workflow}, whose step started it, is {parent.status}"
    return Cause(
        CauseKind.CHILD_ENDED,
        Subject("run", str(parent.run)),
        text,
        Weight.NOTES,
        command=command("explain", str(parent.run)),
        because=causes,
    )


# -- what followed ---------------------------------------------------------------------------------------------


def _undone(facts: RunFacts) -> list[Cause]:
    done = [
        facts.plan.steps[no].id for no, state in sorted(facts.steps.items()) if state.status is StepStatus.COMPENSATED
    ]
    if not done:
        return []
    text = f"{len(done)} {'step was' if len(done) == 1 else 'steps were'} undone: {listed(done, 5)}"
    return [_note(facts, CauseKind.UNDONE, text, done)]


def _left_out(facts: RunFacts, told: set[str]) -> list[Cause]:
    """Say which failures the run went on without."""
    names = [
        facts.plan.steps[no].id
        for no, state in sorted(facts.steps.items())
        if state.error is not None
        and state.status in (StepStatus.SKIPPED, StepStatus.FAILED)
        and facts.plan.steps[no].id not in told
        and facts.plan.steps[no].compensates is None
        and facts.plan.steps[no].parent is None
        and facts.plan.steps[no].foreach is None
    ]
    if not names:
        return []
    text = f"the run went on without {len(names)} failed {'step' if len(names) == 1 else 'steps'}: {listed(names, 5)}"
    return [_note(facts, CauseKind.STEP_LEFT_OUT, text, names)]


def _note(facts: RunFacts, kind: CauseKind, text: str, names: list[str]) -> Cause:
    members = tuple(names[:MOST_STOOD])
    return Cause(kind, _run(facts), text, Weight.NOTES, count=len(names), members=members)


def _ended(facts: RunFacts, kind: CauseKind, text: str, data: dict[str, Any]) -> Cause:
    how = command("retry", str(facts.id))
    return Cause(kind, _run(facts), text, Weight.BLOCKED, facts.finished_at, command=how, data=data)


def _run(facts: RunFacts) -> Subject:
    return Subject("run", str(facts.id))
