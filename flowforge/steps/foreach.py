"""The foreach step: finds its items, and collects what became of them.

It is executed twice: once to say what the items are, and again when all of them have ended. What is repeated is
steps of the run like others, which other workers may execute.
"""

from __future__ import annotations

from typing import Any

from flowforge.model.outcome import SKIPPED, Completed, Expanded, Failed, Outcome, StepError
from flowforge.model.plan import MAX_ITEMS
from flowforge.steps.base import Assignment
from flowforge.steps.failures import ConfigError, rendered
from flowforge.steps.settings import StepSettings

#: Errors of items that are kept in the step's own error.
MOST_ERRORS = 100


class Foreach:
    """Gives `{results: [output of each item], errors: {position: error}, count}`; an item that failed has null.

    Where what is repeated can be undone, the items stay in it as well.
    """

    def __init__(self, settings: StepSettings | None = None) -> None:
        pass

    def execute(self, assignment: Assignment) -> Outcome:
        """Return the items, or what became of them."""
        wake = assignment.wake
        if wake is None or wake.waited is None:
            items = _items(assignment)
            return Expanded({"items": items}, len(items))
        return _collected(assignment)


def _items(assignment: Assignment) -> list[Any]:
    expression = assignment.step.expressions.get("items")
    found = rendered(assignment).get("items") if expression is None else expression.evaluate(assignment.context)
    if isinstance(found, dict):
        found = [{"key": key, "value": value} for key, value in found.items()]
    if not isinstance(found, list):
        raise ConfigError(f"'items' must be a list or a mapping, not {_called(found)}")
    if len(found) > MAX_ITEMS:
        raise ConfigError(f"a foreach has at most {MAX_ITEMS:,} items, here are {len(found):,}")
    return found


def _called(value: Any) -> str:
    return {str: "text", bool: "a truth value", type(None): "null"}.get(type(value), "a number")


def _collected(assignment: Assignment) -> Outcome:
    wake = assignment.wake
    assert wake is not None
    results: list[Any] = []
    errors: dict[str, Any] = {}
    for position, item in enumerate(wake.items):
        results.append(item.get("output"))
        if item.get("error") is not None:
            errors[str(position)] = item["error"]
    fatal = {} if assignment.step.handled else {no: one for no, one in errors.items() if one.get("code") != SKIPPED}
    if fatal:
        return _failed(assignment.step.id, fatal, len(results))
    output = {"results": results, "errors": errors, "count": len(results)}
    body = assignment.step.body
    if body is not None and len(body.templates) > body.size:
        # What undoes the steps of an item may read it.
        output["items"] = wake.waited["items"]
    return Completed(output)


def _failed(step: str, errors: dict[str, Any], count: int) -> Failed:
    first = next(iter(errors))
    some = dict(list(errors.items())[:MOST_ERRORS])
    return Failed(
        StepError(
            code="FOREACH_FAILED",
            message=f"{len(errors):,} of {count:,} items failed, first {step}[{first}]: {errors[first]['message']}",
            retryable=False,
            hint="flowforge retry RUN repeats the items that failed",
            details={"failed": [int(position) for position in errors], "errors": some},
        )
    )
