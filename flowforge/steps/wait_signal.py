"""The wait_signal step: goes on when a signal of its name has come, early or late, or when it has waited too long."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flowforge.model import duration
from flowforge.model.documents import rfc3339
from flowforge.model.outcome import Completed, Failed, Outcome, StepError, Waiting
from flowforge.steps import waiting
from flowforge.steps.base import Assignment
from flowforge.steps.failures import ConfigError, rendered
from flowforge.steps.settings import StepSettings


class WaitSignal:
    """Gives `{signal, payload, actor, received_at, timed_out}`."""

    def __init__(self, settings: StepSettings | None = None) -> None:
        pass

    def execute(self, assignment: Assignment) -> Outcome:
        """Return what came, or wait for it."""
        config, known = rendered(assignment), waiting.waited(assignment)
        name = config.get("name") or assignment.step.name_in_context
        if not isinstance(name, str):
            raise ConfigError("'name' must be text")
        if assignment.wake is not None and assignment.wake.received:
            first = assignment.wake.received[0]
            return _completed(first.name, first.payload, first.actor, first.at)
        deadline = waiting.deadline(assignment, config.get("timeout"), known)
        if not waiting.over(assignment, deadline):
            return Waiting(deadline, {"deadline": waiting.text(deadline), "name": name}, signal=name)
        if config.get("on_timeout", "fail") == "continue":
            return _completed(name, config.get("default"), None, None)
        return Failed(_too_late(assignment, name))


def _completed(name: str, payload: Any, actor: str | None, at: datetime | None) -> Completed:
    received = rfc3339(at)
    output = {"signal": name, "payload": payload, "actor": actor, "received_at": received, "timed_out": at is None}
    return Completed(output)


def _too_late(assignment: Assignment, name: str) -> StepError:
    since = duration.text(assignment.step.waits) if assignment.step.waits else "its timeout"
    return StepError(
        code="SIGNAL_TIMEOUT",
        message=f"no signal '{name}' came within {since}",
        kinds=("timeout",),
        retryable=False,
        hint=f"flowforge signal RUN {name} sends one; flowforge retry RUN waits anew",
    )
