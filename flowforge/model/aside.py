"""What a decision writes beside the run's own rows: signals that are kept or taken, incidents.

Few decisions do, so a turn makes one of these only when it needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from flowforge.model.state import Signal


class IncidentKind(StrEnum):
    """What happened that a person has to look at.

    - `irrecoverable_error`: a run failed for good.
    - `compensation_failed`: something that was done could not be undone.
    - `poison_step`: a step took down every worker that ran it.
    - `broken_invariant`: the store refused what can never be.
    """

    IRRECOVERABLE_ERROR = "irrecoverable_error"
    COMPENSATION_FAILED = "compensation_failed"
    POISON_STEP = "poison_step"
    BROKEN_INVARIANT = "broken_invariant"


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that a person has to look at."""

    kind: IncidentKind
    #: Id of the step.
    step: str | None
    error: dict[str, Any]


class Aside:
    """Signals and incidents of one decision."""

    __slots__ = ("cleared", "incidents", "sent", "taken")

    def __init__(self) -> None:
        #: Signals that came now.
        self.sent: list[Signal] = []
        #: The step that takes a signal, by the signal's number.
        self.taken: dict[int, int] = {}
        #: Steps that start over: what they had taken does not count any more.
        self.cleared: set[int] = set()
        self.incidents: list[Incident] = []

    def signals(self, before: tuple[Signal, ...]) -> tuple[Signal, ...]:
        """Return what is there after the decision."""
        kept = (signal for signal in (*before, *self.sent) if signal.step not in self.cleared or signal.step is None)
        return tuple(signal._replace(step=self.taken.get(signal.no, signal.step)) for signal in kept)
