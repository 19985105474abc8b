"""Failures that several step types share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flowforge.errors import ExpressionError, FlowforgeError
from flowforge.model import duration
from flowforge.model.json import Json
from flowforge.model.outcome import Failed, StepError
from flowforge.steps.base import Assignment

_MINUTE = 60


class ConfigError(FlowforgeError):
    """The configuration, as rendered for this attempt, makes no sense; the message names the key."""


def bad_config(error: ConfigError) -> Failed:
    """Return the failure for a configuration that cannot work: trying again gives the same."""
    return Failed(StepError(code="BAD_CONFIG", message=error.message, retryable=False, hint=error.hint))


def expression_failed(error: ExpressionError) -> Failed:
    """Return the failure of a step whose expression cannot be evaluated: it gives the same every time."""
    quoted = "" if error.source in error.message else f", in: {error.source}"
    details = {"expression": error.source, "offset": error.offset}
    return Failed(
        StepError(
            code="EXPRESSION_ERROR",
            message=error.message + quoted,
            kinds=("expression",),
            retryable=False,
            hint=error.hint,
            details=details,
        )
    )


def timed_out(limit: timedelta) -> Failed:
    """Return the failure of an attempt that took longer than it may."""
    seconds = limit.total_seconds()
    text = f"{seconds:g} s" if seconds < _MINUTE else duration.text(limit)
    return Failed(StepError(code="TIMEOUT", message=f"timed out after {text}", kinds=("timeout",)))


def rendered(assignment: Assignment) -> Mapping[str, Any]:
    """Return the configuration of an attempt, or raise ConfigError or ExpressionError."""
    config: Json = assignment.step.config.render(assignment.context)
    if not isinstance(config, dict):
        raise ConfigError(f"the configuration of step '{assignment.step.id}' is not a mapping")
    return config
