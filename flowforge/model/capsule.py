"""A capsule: everything that is known of one run, in one value and in one file, to be looked at anywhere.

The file is one JSON document, compressed with gzip (`zcat FILE | jq .`):

    schema       flowforge/capsule/v1
    exported_at  when the run was looked at; one that had not ended is as it was then
    flowforge    the version that wrote it
    redacted     where values were taken out, by path
    run          the run document, flowforge/run/v1, with its steps, input and outputs
    events       the whole history, flowforge/event/v1, numbers 1..n
    definition   the canonical definition of the run's version
    logs         [{step, attempt, text}], what the attempts wrote
    receipts     the signed receipts, oldest first; `flowforge receipt verify` takes each
    children     capsules of the runs that its steps have started, if they were asked for

It grows, it never changes: a reader ignores what it does not know. Nothing in it is executed, ever.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from flowforge.model.documents import Run, RunEvent, rfc3339
from flowforge.model.event import Event
from flowforge.model.json import encode
from flowforge.model.phase import Phases
from flowforge.model.plan import Plan
from flowforge.version import __version__

SCHEMA = "flowforge/capsule/v1"
#: How deep capsules may lie in capsules.
MAX_CHILDREN_DEPTH = 16


class Log(NamedTuple):
    """What one attempt wrote."""

    step: str
    attempt: int
    text: str

    def document(self) -> dict[str, Any]:
        """Return the log as an element of a capsule's `logs`."""
        return self._asdict()


@dataclass(frozen=True)
class Capsule:
    """A run with everything that is known of it; needs no server."""

    run: Run
    events: tuple[RunEvent, ...]
    #: Canonical.
    definition: dict[str, Any]
    #: When this was all true: the run may have gone on since.
    exported_at: datetime
    logs: tuple[Log, ...] = ()
    receipts: tuple[dict[str, Any], ...] = ()
    children: tuple[Capsule, ...] = ()
    #: Paths of the values that were taken out, as `run.input.card.token`.
    redacted: tuple[str, ...] = ()
    #: The steps whose dispatch was still in the outbox.
    unpublished: frozenset[str] = field(default=frozenset(), compare=False)
    #: The plan, where it is known already.
    compiled: Plan | None = field(default=None, compare=False, repr=False)

    @cached_property
    def plan(self) -> Plan:
        """The compiled definition; DefinitionError when it is none."""
        if self.compiled is not None:
            return self.compiled
        from flowforge.model.load import check

        return check(self.definition).plan

    @cached_property
    def history(self) -> tuple[Event, ...]:
        """The events as the model knows them."""
        return tuple(event.plain() for event in self.events)

    def phases(self, until: datetime | None = None) -> Phases:
        """Return where the run's time went, up to a moment: its end, or when it was looked at."""
        from flowforge.model.phases import phases

        unpublished = self.unpublished if until is None else frozenset[str]()
        return phases(self.history, self.plan, until or self.exported_at, unpublished=unpublished)

    def document(self) -> dict[str, Any]:
        """Return the capsule as its file holds it."""
        return {
            "schema": SCHEMA,
            "exported_at": rfc3339(self.exported_at),
            "flowforge": __version__,
            "redacted": list(self.redacted),
            "run": self.run.document(),
            "events": [event.document() for event in self.events],
            "definition": self.definition,
            "logs": [log.document() for log in self.logs],
            "receipts": list(self.receipts),
            "children": [child.document() for child in self.children],
        }

    def pack(self) -> bytes:
        """Return the bytes of its file: the same capsule gives the same bytes."""
        return gzip.compress(encode(self.document()).encode(), mtime=0)


def family(capsule: Capsule) -> list[Capsule]:
    """Return a capsule and all that lie in it."""
    return [capsule, *(one for child in capsule.children for one in family(child))]
