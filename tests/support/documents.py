"""Run documents, without the parts that may be missing."""

from __future__ import annotations

from typing import Any

from flowforge.model.documents import Run, Step


def steps_of(run: Run) -> tuple[Step, ...]:
    """Return the steps of a run that was read with them."""
    assert run.steps is not None
    return run.steps


def error_of(run: Run) -> dict[str, Any]:
    """Return the error of a run that has one."""
    assert run.error is not None, run.status
    return run.error


def outputs_of(run: Run) -> list[Any]:
    """Return what the steps of a run came to, in their order."""
    return [step.output for step in steps_of(run)]


def output_of(run: Run, step_id: str) -> Any:
    """Return what a step of a run came to."""
    return next(step.output for step in steps_of(run) if step.id == step_id)
