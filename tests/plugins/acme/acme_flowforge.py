"""A step type that converts lengths, and a provider of secrets: all that a package for FlowForge needs."""

from __future__ import annotations

from typing import Any, ClassVar

from flowforge.model.outcome import Completed, Outcome
from flowforge.steps.base import Assignment
from flowforge.steps.settings import StepSettings

METRES = {"m": 1.0, "km": 1000.0, "mile": 1609.344}


class Convert:
    """Converts `value` from one unit to another and gives `{value, unit}`."""

    config_schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "required": ["value", "from", "to"],
        "additionalProperties": False,
        "properties": {
            "value": {"type": "number", "minimum": 0},
            "from": {"enum": sorted(METRES)},
            "to": {"enum": sorted(METRES)},
        },
    }

    def __init__(self, settings: StepSettings) -> None:
        self._settings = settings

    def execute(self, assignment: Assignment) -> Outcome:
        """Return the converted value."""
        config: Any = assignment.step.config.render(assignment.context)
        metres = config["value"] * METRES[config["from"]]
        return Completed({"value": round(metres / METRES[config["to"]], 6), "unit": config["to"]})


class Safe:
    """Knows one secret."""

    def __init__(self, settings: StepSettings) -> None:
        self._values = {"combination": "left-12-right-7"}

    def get(self, name: str) -> str | None:
        """Return a secret, or None."""
        return self._values.get(name)
