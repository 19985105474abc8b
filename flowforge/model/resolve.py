"""What follows for the rest of the graph when a step becomes final: successors run, are skipped, or go on waiting.

The joins are decided here and only here (design.md section 4). Skips travel along the graph without recursion.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from flowforge.model import repeating
from flowforge.model.event import EventType
from flowforge.model.plan import Edge, Join, OnError, StepPlan
from flowforge.model.state import StepState
from flowforge.model.status import StepStatus
from flowforge.model.turn import Turn


class Resolved(NamedTuple):
    """A step that became final, and how its outgoing edges count.

    *branch_target* is the step a conditional chose; *skips* makes every edge count as skipped; *fails* lets only
    the join of the parallel step around it go on.
    """

    no: int
    branch_target: int | None = None
    skips: bool = False
    fails: bool = False


def resolve(turn: Turn, first: Resolved) -> list[StepState]:
    """Resolve the edges of a final step, and of all that is skipped by that; return the steps that became ready.

    The ready ones are already queued.
    """
    ready: list[StepState] = []
    pending = deque([first])
    while pending:
        resolved = pending.popleft()
        source = turn.plan.steps[resolved.no]
        if source.foreach is not None and source.parent == source.foreach:
            ready += repeating.item_ended(turn, source.foreach)
        for edge in source.successors:
            successor = turn.step(edge.step)
            if successor.status is not StepStatus.PENDING:
                continue
            counted = successor.counted(
                successor.open_dependencies - 1,
                successor.skipped_dependencies + skips(source, edge, turn.plan.steps[edge.step], resolved),
            )
            if counted.open_dependencies > 0:
                turn.put(counted)
            elif skipped(turn.plan.steps[edge.step], counted.skipped_dependencies):
                turn.finish(counted, StepStatus.SKIPPED)
                turn.emit(EventType.STEP_SKIPPED, edge.step)
                pending.append(Resolved(edge.step, skips=True))
            else:
                ready.append(turn.queue(counted))
    return ready


def skipped(step: StepPlan, count: int) -> bool:
    """Say whether a step whose dependencies are all resolved is skipped, *count* of them being skipped."""
    if count == 0:
        return False
    if step.join is Join.ALL:
        return True
    if step.join is Join.ANY:
        return count >= sum(1 for edge in step.dependencies if not edge.order_only)
    return count >= step.skippable_dependencies


def outgoing(step: StepPlan, state: StepState, branch: str | None) -> Resolved:
    """Say how the edges of a step in a final status count."""
    if state.status is StepStatus.COMPLETED:
        return Resolved(step.no, branch_target=None if branch is None else step.branches.get(branch))
    if state.status is StepStatus.SKIPPED and state.error is None:
        return Resolved(step.no, skips=True)
    if state.status is StepStatus.FAILED and step.parent is not None and step.on_error is OnError.FAIL:
        return Resolved(step.no, fails=True)
    if state.status is StepStatus.CANCELLED:
        return Resolved(step.no, fails=True)
    return Resolved(step.no)


def skips(source: StepPlan, edge: Edge, target: StepPlan, resolved: Resolved) -> int:
    """Say for how many skipped dependencies of *target* the edge from *source* counts.

    Join `auto` forgives skips by conditionals only: any other one comes from a failure, and is enough by itself.
    """
    if not untaken(source, edge, target, resolved):
        return 0
    by_conditional = (edge.branch or source.skippable) and not resolved.fails
    return 1 if by_conditional or target.join is not Join.AUTO else max(1, target.skippable_dependencies)


def untaken(source: StepPlan, edge: Edge, target: StepPlan, resolved: Resolved) -> bool:
    """Say whether the edge from *source* to *target* counts as skipped."""
    if edge.order_only:
        return False
    if resolved.skips:
        return True
    if resolved.fails:
        return target.no != source.parent
    return edge.branch and edge.leads_to != resolved.branch_target
