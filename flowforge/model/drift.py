"""What somebody has seen of a run before asking something of it, and whether that still holds when it is decided.

It is compared under the run's lock, so between the look and the deed nothing can come. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flowforge.model.status import RunStatus


class Care(StrEnum):
    """Which changes since the look keep a run from being asked.

    - `exact`: any at all; a receipt changes nothing about a run.
    - `kind`: it has ended, or goes on again, or has left the statuses that were asked for. What goes on moves all the
      time, and is meant nevertheless.
    - `none`: it is asked whatever came.
    """

    __hash__ = str.__hash__

    EXACT = "exact"
    KIND = "kind"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Seen:
    """How a run stood when somebody looked."""

    status: RunStatus
    #: Number of its last event.
    seq: int
    finished_at: datetime | None = None

    def drift(self, now: Seen, care: Care = Care.EXACT, among: frozenset[RunStatus] = frozenset()) -> str | None:
        """Return what has changed since and matters, None if nothing has; *among*: the statuses asked for."""
        if care is Care.NONE:
            return None
        if care is Care.KIND and not (self.status.final or now.status.final):
            return None if not among or now.status in among else self._became(now)
        if now.status is not self.status:
            return self._became(now)
        if now.status.final:
            return None if now.finished_at == self.finished_at else f"has ended again, {now.status.value} as before"
        return None if now.seq == self.seq else f"went on: event {self.seq} was its last, now it is {now.seq}"

    def _became(self, now: Seen) -> str:
        return f"was {self.status.value}, is {now.status.value}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What has to hold of a run for a request to be granted."""

    seen: Seen
    care: Care
    #: The statuses that were asked for; empty: any.
    among: frozenset[RunStatus] = frozenset()

    def drift(self, now: Seen) -> str | None:
        """Return what has changed and matters, None if nothing has."""
        return self.seen.drift(now, self.care, self.among)
