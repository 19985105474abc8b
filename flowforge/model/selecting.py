"""Which events of a history are asked for; what is None or empty does not filter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from flowforge.errors import UsageError
from flowforge.model.diagnostics import closest
from flowforge.model.documents import RunEvent
from flowforge.model.event import EventType


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Events of a run, by what they are about and when they were."""

    #: Ids of steps; a step stands for those inside it too: its children, its items, what undoes it.
    steps: tuple[str, ...] = ()
    #: Types, in full or with `*`: `step.failed`, `step.*`, `*.failed`.
    types: tuple[str, ...] = ()
    #: At or after, and before.
    since: datetime | None = None
    until: datetime | None = None
    #: Only events with a greater number.
    after: int = 0
    #: The first so many of those that match.
    limit: int | None = None

    def __post_init__(self) -> None:
        """Refuse types that no event has: nothing would ever match."""
        for wanted in self.types:
            known = [kind.value for kind in EventType]
            if any(fnmatchcase(kind, wanted) for kind in known):
                continue
            meant = closest(wanted, known)
            hint = f"did you mean '{meant}'?" if meant else f"there are: {', '.join(known)}"
            raise UsageError(f"no event has the type '{wanted}'", hint=hint)

    def matches(self, event: RunEvent) -> bool:
        """Say whether an event is asked for, but for the limit."""
        return (
            event.seq > self.after
            and (not self.types or any(fnmatchcase(event.type, wanted) for wanted in self.types))
            and (not self.steps or any(_about(event.step, step) for step in self.steps))
            and (self.since is None or event.at >= self.since)
            and (self.until is None or event.at < self.until)
        )

    def chosen(self, events: Iterable[RunEvent]) -> list[RunEvent]:
        """Return the events that are asked for, in order."""
        found = [event for event in events if self.matches(event)]
        return found if self.limit is None else found[: self.limit]


def _about(step: str | None, wanted: str) -> bool:
    return step is not None and (step == wanted or step.startswith((f"{wanted}.", f"{wanted}[", f"{wanted}:")))
