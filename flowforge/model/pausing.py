"""Workflows and queues that operators hold, and how queues stand, as documents.

The shapes are contracts (`flowforge/pause/v1`, the elements of `flowforge/queues/v1`): they grow, they never change.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flowforge.model.documents import rfc3339


@dataclass(frozen=True, slots=True)
class Pause:
    """A workflow or a queue that an operator holds, or held."""

    #: workflow or queue.
    kind: str
    name: str
    paused_at: datetime
    paused_by: str
    reason: str | None = None
    resumed_at: datetime | None = None
    resumed_by: str | None = None
    resume_reason: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the pause document, `flowforge/pause/v1`."""
        return {
            "schema": "flowforge/pause/v1",
            "kind": self.kind,
            "name": self.name,
            "paused": self.resumed_at is None,
            "paused_at": rfc3339(self.paused_at),
            "paused_by": self.paused_by,
            "reason": self.reason,
            "resumed_at": rfc3339(self.resumed_at),
            "resumed_by": self.resumed_by,
            "resume_reason": self.resume_reason,
        }


@dataclass(frozen=True, slots=True)
class Held:
    """What a request to hold or let go came to."""

    kind: str
    name: str
    #: Whether it is held now.
    paused: bool
    #: False when it was so before.
    changed: bool
    #: The pause that is, or was.
    pause: Pause | None
    #: How many runs or steps it concerns: those that wait.
    waiting: int = 0

    def document(self) -> dict[str, Any]:
        """Return the pause document, `flowforge/pause/v1`, with what was done."""
        done = {"paused": self.paused, "changed": self.changed, "waiting": self.waiting}
        if self.pause is not None:
            return {**self.pause.document(), **done}
        never = dict.fromkeys(("paused_at", "paused_by", "reason", "resumed_at", "resumed_by", "resume_reason"))
        return {"schema": "flowforge/pause/v1", "kind": self.kind, "name": self.name, **never, **done}


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """A queue: what lies in it, who serves it, whether it is held."""

    name: str
    #: Steps that are queued, by the database.
    queued: int
    #: Dispatches in the outbox, in the stream and not taken, taken and not acknowledged; None while Redis is down.
    outbox: int
    backlog: int | None
    pending: int | None
    #: How long the oldest step has been queued.
    oldest: timedelta | None
    workers: int
    slots: int
    taken: int
    pause: Pause | None
    dead_letters: int | None

    def document(self) -> dict[str, Any]:
        """Return the element of `flowforge/queues/v1`."""
        return {
            "name": self.name,
            "paused": self.pause is not None,
            "paused_at": None if self.pause is None else rfc3339(self.pause.paused_at),
            "paused_by": None if self.pause is None else self.pause.paused_by,
            "reason": None if self.pause is None else self.pause.reason,
            "queued": self.queued,
            "outbox": self.outbox,
            "backlog": self.backlog,
            "pending": self.pending,
            "oldest_seconds": None if self.oldest is None else self.oldest.total_seconds(),
            "workers": self.workers,
            "slots": self.slots,
            "taken": self.taken,
            "dead_letters": self.dead_letters,
        }


@dataclass(frozen=True, slots=True)
class Queues:
    """Every queue that is known, and why the streams cannot be looked into, if so."""

    queues: tuple[QueueFacts, ...]
    streams_down: str | None = None
