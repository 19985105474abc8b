"""Why a run stands where it stands: from what is known of it to the chain of causes.

Pure: the facts are of one moment, and carry their clock. What stops the whole run is judged here; single steps are in
explaining_steps.py, the ends of runs in explaining_ends.py.
"""

from __future__ import annotations

from flowforge.model import duration, explaining_ended_step, explaining_ends, explaining_steps
from flowforge.model.circumstances import GateFacts, RunFacts
from flowforge.model.event import EventType
from flowforge.model.explaining_queued import no_worker_at_all, nobody, quoted
from flowforge.model.explanation import Cause, CauseKind, Explanation, Holder, Subject, Weight, command, ranked
from flowforge.model.pausing import Pause
from flowforge.model.status import RunStatus, StepStatus


def explain(facts: RunFacts, step: int | None = None) -> Explanation:
    """Say why a run does not move, or has ended as it has; with *step*, why that step does not."""
    if step is not None and facts.status is not RunStatus.PENDING:
        causes = (*ranked(_whole(facts)), *_about(facts, step))
    elif facts.status.final:
        causes = explaining_ends.why(facts)
    elif facts.status is RunStatus.PENDING:
        causes = ranked(_not_admitted(facts))
    else:
        causes = (*ranked(_whole(facts)), *ranked([*_steps(facts), *_limits(facts)]))
    status = facts.status.value
    return Explanation(facts.now, causes, facts.id, facts.workflow, facts.version, status, created_at=facts.created_at)


def _about(facts: RunFacts, step: int) -> tuple[Cause, ...]:
    """Say why one step does not move, or has ended as it has."""
    state = facts.steps.get(step)
    if facts.status.final or (state is not None and state.status.final):
        return (explaining_ended_step.why(facts, step),)
    return explaining_steps.about(facts, step)


# -- before it starts ------------------------------------------------------------------------------------------


def _not_admitted(facts: RunFacts) -> list[Cause]:
    """Say why a run is not let in."""
    if not facts.around.known:
        return [_accepted(facts)]
    pause, gate = facts.around.paused("workflow", facts.workflow), facts.gate
    causes = [] if pause is None else [paused_workflow(pause, facts)]
    if gate is not None and gate.active >= gate.limit:
        causes.append(_full(facts, gate))
    elif pause is None:
        text = "the run is accepted, and waits for a worker to let it in"
        causes.append(Cause(CauseKind.NOT_ADMITTED, _run(facts), text, Weight.WAITS, facts.created_at))
    if facts.around.deserted:
        causes.append(no_worker_at_all(facts.around, "runs are let in by workers"))
    return causes


def _accepted(facts: RunFacts) -> Cause:
    """Say what is known of a run that had not been let in, away from its installation."""
    gate = facts.plan.gate
    where = "a worker" if gate is None else f"a worker, or for room at its gate of {gate.limit}"
    text = f"the run waits for {where}, to let it in; which of them, the capsule does not say"
    return Cause(CauseKind.NOT_ADMITTED, _run(facts), text, Weight.WAITS, facts.created_at)


def paused_workflow(pause: Pause, facts: RunFacts) -> Cause:
    """Say who holds the workflow of a run that may not start."""
    return Cause(
        CauseKind.WORKFLOW_PAUSED,
        Subject("workflow", pause.name),
        f"workflow {quoted(pause.name)} is paused by {pause.paused_by}{reason(pause.reason)}: its new runs wait",
        Weight.HELD,
        max(pause.paused_at, facts.created_at),
        holders=(Holder("person", pause.paused_by, pause.reason, pause.paused_at),),
        command=command("workflow", "resume", pause.name),
    )


def _full(facts: RunFacts, gate: GateFacts) -> Cause:
    name = gate_name(facts.workflow, gate.key)
    still = bool(gate.holders) and all(status == RunStatus.PAUSED for _, status, _ in gate.holders)
    stuck = gate.active == 1 and gate.oldest is not None and gate.oldest.stuck
    return Cause(
        CauseKind.GATE_FULL,
        Subject("gate", name),
        f"the run waits at gate {quoted(name)}: {_taken(gate)}, {_line(gate.ahead)} before it",
        Weight.HELD if still or stuck else Weight.WAITS,
        facts.created_at,
        holders=tuple(Holder("run", str(run_id), status, since) for run_id, status, since in gate.holders),
        command=None if gate.oldest is None else command("explain", str(gate.oldest.run)),
        data={"limit": gate.limit, "active": gate.active, "ahead": gate.ahead, "waiting": gate.waiting},
        because=() if gate.oldest is None else below(gate.oldest, "the run that has been in longest"),
    )


def _taken(gate: GateFacts) -> str:
    return "its only place is taken" if gate.limit == 1 else f"{gate.active} of {gate.limit} runs are in"


def _line(ahead: int) -> str:
    return "none waits" if ahead == 0 else "1 waits" if ahead == 1 else f"{ahead:,} wait"


def gate_name(workflow: str, key: str) -> str:
    """Return what a gate is called."""
    return f"{workflow}/{key}" if key else workflow


def below(other: Explanation, who: str) -> tuple[Cause, ...]:
    """Return the first cause of another run, as a link of this one's chain."""
    if not other.causes:
        return ()
    first = other.causes[0]
    text = f"{who}, {other.run}, is {other.status}: {first.text}"
    return (
        Cause(
            *(first.kind, first.subject, text, first.weight, first.since, first.until, first.holders),
            *(first.command, first.count, first.members, first.behind),
            {**first.data, "run": str(other.run)},
            first.because,
        ),
    )


# -- the whole run ---------------------------------------------------------------------------------------------


def _whole(facts: RunFacts) -> list[Cause]:
    """Say what an operator or an end that has begun does to the whole run."""
    match facts.status:
        case RunStatus.PAUSED:
            return [_paused(facts)]
        case RunStatus.CANCELLING:
            return [_cancelling(facts)]
        case RunStatus.COMPENSATING:
            return [_compensating(facts)]
        case RunStatus.RUNNING if facts.error is not None:
            return [_failing(facts)]
    return []


def _steps(facts: RunFacts) -> list[Cause]:
    """Return why its steps do not move, unless that hangs below what the whole run is at."""
    ending = facts.status in (RunStatus.CANCELLING, RunStatus.COMPENSATING) or (
        facts.status is RunStatus.RUNNING and facts.error is not None
    )
    return [] if ending else explaining_steps.why(facts)


def _paused(facts: RunFacts) -> Cause:
    told = facts.last(EventType.RUN_PAUSED)
    data = {} if told is None else told.data
    actor = data.get("actor") or nobody
    return Cause(
        CauseKind.RUN_PAUSED,
        _run(facts),
        f"the run is paused by {actor}{reason(data.get('reason'))}: nothing new starts",
        Weight.HELD,
        None if told is None else told.at,
        holders=(Holder("person", str(actor), data.get("reason"), None if told is None else told.at),),
        command=command("resume", str(facts.id)),
    )


def _cancelling(facts: RunFacts) -> Cause:
    told = facts.last(EventType.RUN_CANCELLING)
    data = {} if told is None else told.data
    running = _running(facts)
    return Cause(
        CauseKind.CANCELLING,
        _run(facts),
        f"the run was cancelled by {data.get('actor') or nobody}{reason(data.get('reason'))}, "
        f"and ends when {running} running {'step has' if running == 1 else 'steps have'} stopped",
        Weight.WAITS,
        None if told is None else told.at,
        command=command("cancel", str(facts.id), "--force"),
        because=ranked(explaining_steps.roots(facts)),
    )


def _compensating(facts: RunFacts) -> Cause:
    told = facts.last(EventType.RUN_COMPENSATING)
    left = sum(1 for no, state in facts.steps.items() if _to_undo(facts, no, state.status))
    why = "" if facts.error is None else f", because {said(facts.error)}"
    return Cause(
        CauseKind.COMPENSATING,
        _run(facts),
        f"the run undoes what was done, {left} {'step is' if left == 1 else 'steps are'} left{why}",
        Weight.WAITS,
        None if told is None else told.at,
        data={"left": left, "error": facts.error},
        because=ranked(explaining_steps.roots(facts)),
    )


def _to_undo(facts: RunFacts, no: int, status: StepStatus) -> bool:
    undoing = facts.plan.steps[no].compensation
    if status is not StepStatus.COMPLETED or undoing is None:
        return False
    state = facts.steps.get(undoing)
    return state is None or not state.status.final


def _failing(facts: RunFacts) -> Cause:
    running, told = _running(facts), facts.last(EventType.RUN_FAILING)
    return Cause(
        CauseKind.FAILING,
        _run(facts),
        f"the run fails, because {said(facts.error or {})}, and ends when {running} running "
        f"{'step has' if running == 1 else 'steps have'} finished",
        Weight.WAITS,
        None if told is None else told.at,
        command=_hurry(facts),
        data={"error": facts.error},
        because=ranked(explaining_steps.roots(facts)),
    )


def _hurry(facts: RunFacts) -> str | None:
    """Return what stops the rest of a run that fails; nothing where it would leave undone what is to be undone."""
    undone = facts.plan.compensates_on_cancel or not any(
        _to_undo(facts, no, state.status) for no, state in facts.steps.items()
    )
    return command("cancel", str(facts.id)) if undone else None


def _limits(facts: RunFacts) -> list[Cause]:
    """Say when the run is ended whatever it does."""
    if facts.deadline_at is None or facts.status is RunStatus.PAUSED:
        return []
    limit = "" if facts.plan.timeout is None else f" of {duration.text(facts.plan.timeout)}"
    text = f"the run has a time limit{limit}, and fails when that is over"
    return [
        Cause(CauseKind.DEADLINE, _run(facts), text, Weight.NOTES, until=facts.deadline_at, count=0),
    ]


def _running(facts: RunFacts) -> int:
    return sum(1 for state in facts.steps.values() if state.status is StepStatus.RUNNING)


def _run(facts: RunFacts) -> Subject:
    return Subject("run", str(facts.id))


reason = explaining_steps.reason
said = explaining_steps.said
