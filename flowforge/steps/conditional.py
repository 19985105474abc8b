"""The conditional step: chooses which branch of the graph goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowforge.model.json import Json
from flowforge.model.outcome import Completed, Outcome
from flowforge.steps.base import Assignment
from flowforge.steps.failures import ConfigError, rendered
from flowforge.steps.settings import StepSettings


class Conditional:
    """Evaluates `condition` to the branch `true` or `false`, or takes the first of a list whose `when` holds."""

    def __init__(self, settings: StepSettings | None = None) -> None:
        pass

    def execute(self, assignment: Assignment) -> Outcome:
        """Return the branch taken; a branch that leads nowhere is fine."""
        branches = rendered(assignment).get("branches")
        if isinstance(branches, list | tuple):
            return _first(assignment, branches)
        if isinstance(branches, dict) or branches is None:
            return _either(assignment, branches or {})
        raise ConfigError("'branches' must be a mapping of true and false, or a list")


def _either(assignment: Assignment, branches: Mapping[str, Any]) -> Completed:
    expression = assignment.step.expressions.get("condition")
    if expression is None:
        raise ConfigError("a conditional needs a 'condition'")
    result = expression.evaluate(assignment.context)
    label = "true" if result else "false"
    return _taken(assignment, result=result, label=label, branch=branches.get(label))


def _first(assignment: Assignment, branches: Sequence[Any]) -> Completed:
    for no, branch in enumerate(branches):
        expression = assignment.step.expressions.get(f"branches.{no}.when")
        # Only the last branch may come without a condition: it is the otherwise.
        result: Json = True if expression is None else expression.evaluate(assignment.context)
        if result:
            return _taken(assignment, result=result, label=str(no), branch=branch)
    return _taken(assignment, result=False, label=None, branch=None)


def _taken(assignment: Assignment, *, result: Json, label: str | None, branch: Any) -> Completed:
    target = branch.get("target_step") if isinstance(branch, dict) else branch
    output: Json = {"condition_result": result, "branch_taken": label, "target_step": target}
    return Completed(output, branch=label if label in assignment.step.branches else None)
