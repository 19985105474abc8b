"""The join of a parallel step: collects what its children did, under the ids they have inside it."""

from __future__ import annotations

from typing import Any

from flowforge.model.outcome import SKIPPED, Completed, Failed, Outcome, StepError
from flowforge.steps.base import Assignment
from flowforge.steps.settings import StepSettings


class Parallel:
    """Gives `{results: {child: output}, errors: {child: error}}`; a child that was skipped is in neither."""

    def __init__(self, settings: StepSettings | None = None) -> None:
        pass

    def execute(self, assignment: Assignment) -> Outcome:
        """Complete unless a child failed whose failure nobody handles; then fail, with all in the details."""
        results: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        prefix = f"{assignment.step.name_in_context}."
        for name, facts in assignment.context.get("steps", {}).items():
            child = name.removeprefix(prefix)
            if child == name or "." in child:  # not below this step, or a grandchild
                continue
            if facts.get("error") is not None:
                errors[child] = facts["error"]
            elif "output" in facts:
                results[child] = facts["output"]
        collected = {"results": results, "errors": errors}
        fatal = {
            child: error
            for child, error in errors.items()
            if prefix + child not in assignment.step.handled and error.get("code") != SKIPPED
        }
        return _failed(collected, fatal) if fatal else Completed(collected)


def _failed(collected: dict[str, Any], errors: dict[str, Any]) -> Failed:
    names = ", ".join(sorted(errors))
    first = next(iter(errors.values()))
    reason = f": {first['message']}" if len(errors) == 1 and isinstance(first, dict) and "message" in first else ""
    return Failed(
        StepError(
            code="PARALLEL_FAILED",
            message=f"{'step' if len(errors) == 1 else f'{len(errors)} steps'} {names} failed{reason}",
            retryable=False,
            details=collected,
        )
    )
