"""What a simulation came to: the document that surfaces print, on a clock that began when the run did.

The shape is a contract (`flowforge/simulation/v1`): it grows, it never changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flowforge.model.documents import rfc3339
from flowforge.model.event import Event
from flowforge.model.status import RunStatus, StepStatus


@dataclass(frozen=True, slots=True)
class SimulatedAttempt:
    """One attempt, in time since the run was created."""

    number: int
    started_after: timedelta
    finished_after: timedelta
    #: completed, failed, waiting, expanded, cancelled
    outcome: str

    def document(self) -> dict[str, Any]:
        """Return the element of a step's `attempts`."""
        return {
            "number": self.number,
            "started_after_ms": _ms(self.started_after),
            "finished_after_ms": _ms(self.finished_after),
            "outcome": self.outcome,
        }


@dataclass(frozen=True, slots=True)
class SimulatedStep:
    """What a step came to."""

    id: str
    name: str
    type: str
    status: StepStatus
    #: Where that came from: `computed` here, `stub`, `recorded` in a run, `failure` that was asked for, or `assumed`:
    #: nobody said what it comes to. None: it was not executed.
    source: str | None
    attempts: tuple[SimulatedAttempt, ...] = ()
    output: Any = None
    error: Mapping[str, Any] | None = None
    #: The configuration that its last attempt would have been given; secrets are replaced by their names.
    config: Any = None
    #: What is to be known about it, for people.
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the element of a simulation's `steps`."""
        return {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "status": self.status.value,
            "source": self.source,
            "attempts": [one.document() for one in self.attempts],
            "output": self.output,
            "error": self.error,
            "config": self.config,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a run would come to."""

    workflow: str
    #: None: a file that is not published.
    version: int | None
    status: RunStatus
    input: Any
    output: Any
    error: Mapping[str, Any] | None
    started_at: datetime
    took: timedelta
    steps: tuple[SimulatedStep, ...]
    events: tuple[Event, ...]
    #: What a run that has not ended waits for, by step.
    waits_for: Mapping[str, str]

    def step(self, step_id: str) -> SimulatedStep:
        """Return a step; KeyError when the run has none of that id."""
        found = next((step for step in self.steps if step.id == step_id), None)
        if found is None:
            raise KeyError(step_id)
        return found

    def document(self) -> dict[str, Any]:
        """Return the simulation document, `flowforge/simulation/v1`."""
        return {
            "schema": "flowforge/simulation/v1",
            "workflow": self.workflow,
            "version": self.version,
            "status": self.status.value,
            "input": self.input,
            "output": self.output,
            "error": self.error,
            "started_at": rfc3339(self.started_at),
            "took_ms": _ms(self.took),
            "waits_for": [{"step": step, "for": what} for step, what in self.waits_for.items()],
            "steps": [step.document() for step in self.steps],
            "events": [self._event(no, event) for no, event in enumerate(self.events, 1)],
        }

    def _event(self, no: int, event: Event) -> dict[str, Any]:
        return {
            "seq": no,
            "type": event.type.value,
            "step": event.step,
            "attempt": event.attempt,
            "at": rfc3339(event.at),
            "after_ms": _ms(event.at - self.started_at),
            "data": event.data or {},
        }


def _ms(value: timedelta) -> int:
    return round(value / timedelta(milliseconds=1))
