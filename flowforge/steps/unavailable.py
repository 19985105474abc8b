"""Step types that this worker cannot execute: their steps fail at once, and say why."""

from __future__ import annotations

from flowforge.model.outcome import Failed, StepError
from flowforge.steps.base import Assignment

CODE = "STEP_TYPE_UNAVAILABLE"


class Unavailable:
    """Fails every step with the same error."""

    def __init__(self, error: StepError) -> None:
        self._failed = Failed(error)

    def execute(self, assignment: Assignment) -> Failed:  # noqa: ARG002 - the answer is the same for all
        """Return the failure."""
        return self._failed


def unknown(kind: str) -> StepError:
    """Describe a type that nobody here has heard of."""
    return StepError(
        code=CODE,
        message=f"this worker has no step type '{kind}'",
        retryable=False,
        hint="install the package that provides it where the worker runs",
    )


def broken(kind: str, source: str, error: Exception) -> StepError:
    """Describe a type whose package cannot be loaded."""
    return StepError(
        code=CODE,
        message=f"step type '{kind}' of {source} cannot be loaded: {type(error).__name__}: {error}",
        retryable=False,
        hint="repair or remove the package where the worker runs",
    )
