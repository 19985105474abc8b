"""The words of the latency ledger: kinds of time, phases of steps, and what a run's time went into.

All moments are aware datetimes, all lengths timedeltas; documents give seconds with six decimals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from flowforge.model.documents import rfc3339


class Kind(StrEnum):
    """What a moment went into; in the order in which kinds are listed.

    - `gate`: accepted, waits for a free place under the workflow's limit.
    - `outbox`, `queue`: ready; not published yet, and published but taken by no worker.
    - `execution`: a worker executes an attempt that it does not lose.
    - `back-off`: a failed attempt waits for the next one.
    - `timer`: a delay, or a time that the step itself has named.
    - `signal`: a signal, or a decision of people.
    - `child`: a run that the step has started.
    - `blocked`: other steps of the same run: dependencies, or the items of a foreach.
    - `paused`: an operator holds the run.
    - `infrastructure`: an attempt whose worker was lost, had to stop, or could not execute it.
    - `compensation`: undoing what was done.
    - `ended`: the run was over, until an operator let it go on. Only of runs.
    """

    __hash__ = str.__hash__

    GATE = "gate"
    OUTBOX = "outbox"
    QUEUE = "queue"
    EXECUTION = "execution"
    BACKOFF = "back-off"
    TIMER = "timer"
    SIGNAL = "signal"
    CHILD = "child"
    BLOCKED = "blocked"
    PAUSED = "paused"
    INFRASTRUCTURE = "infrastructure"
    COMPENSATION = "compensation"
    ENDED = "ended"


class Phase(NamedTuple):
    """A stretch of time of one kind; never empty."""

    kind: Kind
    start: datetime
    end: datetime
    #: The attempt that executes, failed, waits or was lost; None where none has begun.
    attempt: int | None = None

    @property
    def duration(self) -> timedelta:
        """How long it lasts."""
        return self.end - self.start

    def document(self) -> dict[str, Any]:
        """Return the phase as an element of `phases`."""
        return {
            "kind": self.kind.value,
            "start": rfc3339(self.start),
            "end": rfc3339(self.end),
            "seconds": self.duration.total_seconds(),
            "attempt": self.attempt,
        }


class Stretch(NamedTuple):
    """One step on the critical path: from when it was ready until it let go on what came after it."""

    step: str
    start: datetime
    end: datetime

    def document(self) -> dict[str, Any]:
        """Return the stretch as an element of `critical_path`."""
        seconds = (self.end - self.start).total_seconds()
        return {"step": self.step, "start": rfc3339(self.start), "end": rfc3339(self.end), "seconds": seconds}


@dataclass(frozen=True, slots=True)
class Phases:
    """Where the time of a run went, up to a moment."""

    #: When the run was created, and when it ended for the last time; the moment asked about if it is open.
    start: datetime
    end: datetime
    #: What the run's time went into: one kind at every moment, without a gap.
    timeline: tuple[Phase, ...]
    #: By step id, in the order of the definition, then of appearance; steps without any time have none.
    steps: Mapping[str, tuple[Phase, ...]]
    #: The steps that the end, or the present, was waiting for: oldest first, not overlapping.
    critical: tuple[Stretch, ...]

    @property
    def wall(self) -> timedelta:
        """The wall time of the run; `parts` sum to it exactly."""
        return self.end - self.start

    @property
    def parts(self) -> dict[Kind, timedelta]:
        """How much of the wall time went into what; only what took any, in the order of Kind."""
        return totals(self.timeline)

    def document(self, *, steps: bool = False) -> dict[str, Any]:
        """Return the ledger as it stands in a run document; with *steps* the phases of each step too."""
        found: dict[str, Any] = {
            "start": rfc3339(self.start),
            "end": rfc3339(self.end),
            "seconds": self.wall.total_seconds(),
            "parts": {kind.value: took.total_seconds() for kind, took in self.parts.items()},
            "critical_path": [stretch.document() for stretch in self.critical],
        }
        if steps:
            found["timeline"] = [phase.document() for phase in self.timeline]
            found["steps"] = [
                {"id": step, "phases": [phase.document() for phase in phases]} for step, phases in self.steps.items()
            ]
        return found


def totals(phases: Iterable[Phase]) -> dict[Kind, timedelta]:
    """Return how much time went into what, in the order of Kind; kinds that took none are left out."""
    found = dict.fromkeys(Kind, timedelta())
    for phase in phases:
        found[phase.kind] += phase.duration
    return {kind: took for kind, took in found.items() if took}
