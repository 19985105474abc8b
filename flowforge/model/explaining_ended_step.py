"""Why one step has ended as it has, or never ran: the branch not taken, the failure, the person who skipped it.

A step that was skipped because another one was hangs on that one.
"""

from __future__ import annotations

from flowforge.model import resolve
from flowforge.model.circumstances import RunFacts
from flowforge.model.explaining_ends import step_failed
from flowforge.model.explaining_queued import quoted
from flowforge.model.explaining_steps import LONGEST, said
from flowforge.model.explanation import Cause, CauseKind, Subject, Weight, listed
from flowforge.model.outcome import SKIPPED
from flowforge.model.plan import StepPlan
from flowforge.model.state import StepState
from flowforge.model.status import StepStatus


def why(facts: RunFacts, no: int, depth: int = LONGEST) -> Cause:
    """Return why a step is in a final status, or was never looked at by a run that has ended."""
    step, state = facts.plan.steps[no], facts.steps.get(no)
    if state is None or not state.status.final or (state.status is StepStatus.CANCELLED and not state.attempt):
        return _note(step, f"step {quoted(step.id)} did not run: the run had ended before its turn came", state)
    match state.status:
        case StepStatus.FAILED:
            return step_failed(facts, step)
        case StepStatus.SKIPPED:
            return _skipped(facts, step, state, depth)
        case StepStatus.CANCELLED:
            return _note(step, f"step {quoted(step.id)} was stopped: the run, or what it lies in, was to end", state)
        case StepStatus.COMPENSATED:
            return _note(step, f"step {quoted(step.id)} completed, and was undone later", state)
    return Cause(
        CauseKind.COMPLETED,
        Subject("step", step.id),
        f"step {quoted(step.id)} completed on attempt {state.attempt}: there is nothing to move",
        Weight.NOTES,
        state.finished_at,
    )


def _skipped(facts: RunFacts, step: StepPlan, state: StepState, depth: int) -> Cause:
    if state.error is not None:
        by_hand = state.error.get("code") == SKIPPED
        why_so = state.error.get("message") if by_hand else f"left out, because it failed: {said(state.error)}"
        return _note(step, f"step {quoted(step.id)} was {why_so}", state)
    chosen, left_out = _untaken(facts, step)
    if chosen:
        return _note(step, f"step {quoted(step.id)} was skipped: {listed(chosen)}", state)
    names = listed([quoted(facts.plan.steps[no].id) for no in left_out])
    text = f"step {quoted(step.id)} was skipped, because {names or 'what it depends on'} did not complete"
    because = (why(facts, left_out[0], depth - 1),) if left_out and depth > 0 else ()
    return _note(step, text, state, because)


def _untaken(facts: RunFacts, step: StepPlan) -> tuple[list[str], list[int]]:
    """Return which conditionals went another way, in words, and which other dependencies count as skipped."""
    chosen, left_out = [], []
    for edge in step.dependencies:
        source, state = facts.plan.steps[edge.step], facts.steps.get(edge.step)
        if state is None or not resolve.untaken(source, edge, step, resolve.outgoing(source, state, state.label)):
            continue
        if edge.branch and state.status is StepStatus.COMPLETED:
            chosen.append(_choice(facts, source, state.label))
        else:
            left_out.append(edge.step)
    return chosen, left_out


def _choice(facts: RunFacts, conditional: StepPlan, label: str | None) -> str:
    target = None if label is None else conditional.branches.get(label)
    if label is None:
        return f"no branch of {quoted(conditional.id)} was taken"
    leads = "nowhere" if target is None else f"to {quoted(facts.plan.steps[target].id)}"
    return f"{quoted(conditional.id)} took the branch {quoted(label)}, which leads {leads}"


def _note(step: StepPlan, text: str, state: StepState | None = None, because: tuple[Cause, ...] = ()) -> Cause:
    since = None if state is None else state.finished_at
    subject = Subject("step", step.id)
    return Cause(CauseKind.STEP_LEFT_OUT, subject, text, Weight.NOTES, since, because=because)
