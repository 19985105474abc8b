"""What tests of executors say often."""

from __future__ import annotations

from typing import Any

from flowforge.model.outcome import Completed, Failed, Outcome, StepError


def output_of(outcome: Outcome | None) -> Any:
    """Return what a step gave."""
    assert isinstance(outcome, Completed), outcome
    return outcome.output


def error_of(outcome: Outcome | None) -> StepError:
    """Return why a step failed."""
    assert isinstance(outcome, Failed), outcome
    return outcome.error


def details_of(outcome: Outcome | None) -> Any:
    """Return the details of a failure."""
    return error_of(outcome).details
