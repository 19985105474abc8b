"""The transform step: a value computed from the context."""

from __future__ import annotations

from typing import ClassVar

from flowforge.model.outcome import Completed, Outcome
from flowforge.steps.base import Assignment
from flowforge.steps.failures import ConfigError, rendered
from flowforge.steps.settings import StepSettings


class Transform:
    """Evaluates `expression` into `{<output_key>: value}`."""

    pure: ClassVar[bool] = True

    def __init__(self, settings: StepSettings | None = None) -> None:
        pass

    def execute(self, assignment: Assignment) -> Outcome:
        """Return the value under its key."""
        expression = assignment.step.expressions.get("expression")
        if expression is None:
            raise ConfigError("a transform needs an 'expression'")
        key = rendered(assignment).get("output_key", "result")
        if not isinstance(key, str) or not key:
            raise ConfigError("'output_key' must be text")
        return Completed({key: expression.evaluate(assignment.context)})
