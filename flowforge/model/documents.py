"""The documents that surfaces print: runs, steps, events, in the shape that scripts rely on.

The shape is a contract (`flowforge/<thing>/v1`): it grows, it never changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, get_args
from uuid import UUID

from flowforge.model.changes import changes
from flowforge.model.event import Event, EventType
from flowforge.model.json import Json
from flowforge.model.status import RunStatus, StepStatus


def rfc3339(moment: datetime | None) -> str | None:
    """Return a time as RFC 3339 in UTC, with microseconds; None stays None."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run."""

    id: str
    name: str
    type: str
    status: StepStatus
    attempts: int = 0
    crashes: int = 0
    worker: str | None = None
    output: Json = None
    error: dict[str, Any] | None = None
    progress: Json = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    #: Lease end of a running step, due time of a waiting one, next dispatch of a queued one.
    due_at: datetime | None = None
    #: What a waiting step waits for, beside a time: an approval, a signal, its items, a run.
    waits_for: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """Return the element of a run document's `steps`."""
        return {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "status": self.status.value,
            "attempts": self.attempts,
            "crashes": self.crashes,
            "worker": self.worker,
            "output": self.output,
            "error": self.error,
            "progress": self.progress,
            "queued_at": rfc3339(self.queued_at),
            "started_at": rfc3339(self.started_at),
            "finished_at": rfc3339(self.finished_at),
            "due_at": rfc3339(self.due_at),
            "waits_for": self.waits_for,
        }


@dataclass(frozen=True, slots=True)
class Compensation:
    """What was undone of a run."""

    #: none, running, completed or failed.
    status: str = "none"
    #: The steps that undo others, in the order in which they began; their ids are `<step>:compensate`.
    steps: tuple[Step, ...] = ()
    #: Ids of completed steps that have an effect and nothing that undoes it.
    not_reversible: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: RunStatus, undoing: Iterable[Step], stays: Iterable[str]) -> Compensation:
        """Return what was undone of a run, from its steps that undo others and what nothing undoes."""
        steps = tuple(sorted(undoing, key=lambda step: (step.queued_at is None, step.queued_at)))
        if run is RunStatus.COMPENSATING:
            status = "running"
        elif any(step.status is StepStatus.FAILED for step in steps):
            status = "failed"
        else:
            status = "completed" if steps else "none"
        return cls(status, steps, () if status == "none" else tuple(stays))

    def document(self) -> dict[str, Any]:
        """Return the run document's `compensation`."""
        steps = [{**step.document(), "undoes": step.id.removesuffix(":compensate")} for step in self.steps]
        return {"status": self.status, "steps": steps, "not_reversible": list(self.not_reversible)}


@dataclass(frozen=True, slots=True)
class Run:
    """One run; *steps* is None where they were not asked for."""

    id: UUID
    workflow: str
    version: int
    status: RunStatus
    input: Json
    output: Json
    error: dict[str, Any] | None
    trigger: str
    created_at: datetime
    labels: dict[str, str] = field(default_factory=dict)
    priority: int = 0
    replay_of: UUID | None = None
    idempotency_key: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline_at: datetime | None = None
    #: Number of the last event.
    seq: int = 0
    steps: tuple[Step, ...] | None = None
    compensation: Compensation = Compensation()
    #: The run and the id of the step that started it.
    parent: tuple[UUID, str | None] | None = None
    #: The start found this run under its idempotency key, instead of making a new one.
    duplicate: bool = False

    def document(self) -> dict[str, Any]:
        """Return the run document, `flowforge/run/v1`."""
        document: dict[str, Any] = {
            "schema": "flowforge/run/v1",
            "id": str(self.id),
            "workflow": self.workflow,
            "version": self.version,
            "status": self.status.value,
            "input": self.input,
            "output": self.output,
            "error": self.error,
            "labels": self.labels,
            "trigger": self.trigger,
            "priority": self.priority,
            "replay_of": None if self.replay_of is None else str(self.replay_of),
            "parent": None if self.parent is None else {"run": str(self.parent[0]), "step": self.parent[1]},
            "idempotency_key": self.idempotency_key,
            "created_at": rfc3339(self.created_at),
            "started_at": rfc3339(self.started_at),
            "finished_at": rfc3339(self.finished_at),
            "deadline_at": rfc3339(self.deadline_at),
        }
        if self.steps is not None:
            document["steps"] = [step.document() for step in self.steps]
        document["compensation"] = self.compensation.document()
        return document

    def _repr_html_(self) -> str:
        """Show the run in a notebook as a card."""
        from flowforge.model import card

        document = self.document()
        return card.html(document, card.bars_of_rows(document))


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One event of a run's history."""

    run: UUID
    seq: int
    type: str
    at: datetime
    step: str | None = None
    attempt: int | None = None
    data: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the event document, `flowforge/event/v1`."""
        return {
            "schema": "flowforge/event/v1",
            "run": str(self.run),
            "seq": self.seq,
            "type": self.type,
            "step": self.step,
            "attempt": self.attempt,
            "at": rfc3339(self.at),
            "data": self.data,
        }

    def plain(self) -> Event:
        """Return the event as the model knows it, without its run and number."""
        return Event(EventType(self.type), self.at, self.step, self.attempt, self.data or None)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a rehearsal came to at one step, beside what the run had come to."""

    id: str
    #: Status in the run, and in the rehearsal; None where one of them does not have the step.
    before: str | None
    after: str | None
    #: `computed` here, `recorded` in the run and taken from there, or `unknown`: it would be executed, and nobody
    #: knows what it would come to.
    source: str
    output_before: Json = None
    output_after: Json = None
    type: str = ""

    @property
    def same(self) -> bool:
        """Whether the rehearsal came to the same."""
        return self.before == self.after and self.output_before == self.output_after

    def document(self) -> dict[str, Any]:
        """Return the element of a rehearsal document's `steps`."""
        return {
            "id": self.id,
            "type": self.type,
            "before": self.before,
            "after": self.after,
            "source": self.source,
            "same": self.same,
            "output_before": self.output_before,
            "output_after": self.output_after,
            "changes": [change.document() for change in changes(self.output_before, self.output_after)],
        }


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a replay would come to, as far as that can be known without doing anything."""

    run: UUID
    workflow: str
    version: int
    status_before: str
    status_after: str
    steps: tuple[Rehearsed, ...]
    output_before: Json = None
    output_after: Json = None
    error: dict[str, Any] | None = None

    @property
    def same(self) -> bool:
        """Whether the replay would come to what the run had come to."""
        ends = (self.status_before, self.output_before) == (self.status_after, self.output_after)
        return ends and all(step.same for step in self.steps)

    def document(self) -> dict[str, Any]:
        """Return the rehearsal document, `flowforge/replay/v1`."""
        return {
            "schema": "flowforge/replay/v1",
            "dry_run": True,
            "run": str(self.run),
            "workflow": self.workflow,
            "version": self.version,
            "same": self.same,
            "status": {"before": self.status_before, "after": self.status_after},
            "output": {"before": self.output_before, "after": self.output_after},
            "error": self.error,
            "steps": [step.document() for step in self.steps],
        }


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that a person has to look at; the fields are the columns of its row."""

    id: int
    #: One of aside.IncidentKind.
    kind: str
    workflow: str
    #: The run that it happened to last.
    run_id: UUID
    step: str | None
    error: dict[str, Any]
    count: int
    first_seen: datetime
    last_seen: datetime
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    resolution: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the incident document, `flowforge/incident/v1`."""
        return {
            "schema": "flowforge/incident/v1",
            "id": self.id,
            "status": "open" if self.resolved_at is None else "resolved",
            "kind": self.kind,
            "workflow": self.workflow,
            "run": str(self.run_id),
            "step": self.step,
            "error": self.error,
            "count": self.count,
            "first_seen": rfc3339(self.first_seen),
            "last_seen": rfc3339(self.last_seen),
            "resolved_at": rfc3339(self.resolved_at),
            "resolved_by": self.resolved_by,
            "resolution": self.resolution,
        }


#: How lists of runs may be sorted: by when they were accepted (the order of ids), started or ended, by how long they
#: took, by the name of their workflow; the newest and the longest come first.
Sort: TypeAlias = Literal["created", "started", "finished", "duration", "workflow"]
SORTS: tuple[Sort, ...] = get_args(Sort)


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list; what is None or empty does not filter. All that is given has to hold."""

    statuses: tuple[RunStatus, ...] = ()
    #: Its name; `*` stands for anything.
    workflow: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    version: int | None = None
    trigger: str | None = None
    #: Code of the error that the run failed with, or is failing with.
    error: str | None = None
    #: Ids of steps, and how they stand.
    steps: tuple[tuple[str, StepStatus], ...] = ()
    #: Fields of input and output (`input.customer.id`), and their values as text.
    fields: tuple[tuple[str, str], ...] = ()
    #: The run that they replay, and the run that started them: ids, or parts of them as in every reference.
    replay_of: UUID | str | None = None
    parent: UUID | str | None = None
    #: Words in the workflow's name, the id, the labels or the error; and words that are nowhere there.
    words: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    sort: Sort = "created"
    #: The last run of the page before.
    after: UUID | None = None

    @property
    def empty(self) -> bool:
        """Whether it matches every run."""
        return self == RunFilter(limit=self.limit, sort=self.sort, after=self.after)


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing did."""

    workflow: str
    version: int
    digest: str
    #: False when the same content was there already.
    created: bool
    status: str = "published"
    warnings: tuple[Any, ...] = ()
