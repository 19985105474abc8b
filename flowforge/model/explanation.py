"""Why a run, or a whole installation, does not move: the answer as a value that every surface shows in its own way.

A cause says what waits for what, who holds it, since when, when it is over by itself, and the command that would move
it. What causes it in turn hangs below it. The document's shape is a contract (`flowforge/explanation/v1`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from flowforge.model.documents import rfc3339
from flowforge.model.duration import text as duration_text

SCHEMA = "flowforge/explanation/v1"


class Weight(StrEnum):
    """How much a cause holds up, the most first.

    - `held`: the whole of it stands still until somebody does something.
    - `blocked`: a part of it does.
    - `waits`: it goes on by itself, at a time or when something else has ended.
    - `works`: nothing is wrong, somebody is at work.
    - `notes`: good to know.
    """

    __hash__ = str.__hash__

    HELD = "held"
    BLOCKED = "blocked"
    WAITS = "waits"
    WORKS = "works"
    NOTES = "notes"


class CauseKind(StrEnum):
    """What a run, or a step of it, waits for, or why it has ended; scripts rely on the words."""

    __hash__ = str.__hash__

    # The run as a whole.
    WORKFLOW_PAUSED = "workflow_paused"
    GATE_FULL = "gate_full"
    NOT_ADMITTED = "not_admitted"
    RUN_PAUSED = "run_paused"
    CANCELLING = "cancelling"
    COMPENSATING = "compensating"
    FAILING = "failing"
    DEADLINE = "deadline"
    #: It waits for itself: what it waits for waits for it.
    DEADLOCK = "deadlock"
    # A step that waits for a worker.
    QUEUE_PAUSED = "queue_paused"
    NO_WORKER = "no_worker"
    TYPE_NOT_INSTALLED = "type_not_installed"
    WORKERS_BUSY = "workers_busy"
    STREAMS_DOWN = "streams_down"
    OUTBOX_LAG = "outbox_lag"
    DISPATCH_LOST = "dispatch_lost"
    QUEUED = "queued"
    # A step that has started.
    RUNNING = "running"
    STOPPING = "stopping"
    WORKER_LOST = "worker_lost"
    RETRY = "retry"
    DELAY = "delay"
    OVERDUE = "overdue"
    SIGNAL = "signal"
    APPROVAL = "approval"
    ITEMS = "items"
    CHILD_RUN = "child_run"
    WAITING = "waiting"
    SIBLING = "sibling"
    # How it ended.
    COMPLETED = "completed"
    STEP_FAILED = "step_failed"
    STEP_LEFT_OUT = "step_left_out"
    RUN_FAILED = "run_failed"
    TIMED_OUT = "timed_out"
    STOOD_AT = "stood_at"
    CHILD_ENDED = "child_ended"
    CANCELLED = "cancelled"
    UNDONE = "undone"
    NOT_UNDONE = "not_undone"
    # Of a whole installation.
    INCIDENTS = "incidents"
    DEAD_LETTERS = "dead_letters"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a cause is about."""

    #: run, step, gate, queue, workflow, worker, server or installation.
    kind: str
    name: str

    def document(self) -> dict[str, str]:
        """Return the member of a document."""
        return {"kind": self.kind, "name": self.name}


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has what something waits for."""

    #: run, worker or person.
    kind: str
    name: str
    #: What it does with it, in a few words.
    doing: str | None = None
    since: datetime | None = None

    def document(self) -> dict[str, Any]:
        """Return the member of a document."""
        return {"kind": self.kind, "name": self.name, "doing": self.doing, "since": rfc3339(self.since)}


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why something does not move, or has ended as it has."""

    kind: CauseKind
    subject: Subject
    #: One clause without times; names in it come from users.
    text: str
    weight: Weight
    since: datetime | None = None
    #: When it is over, or looked at again, without anybody doing anything.
    until: datetime | None = None
    holders: tuple[Holder, ...] = ()
    #: What a person types to move it.
    command: str | None = None
    #: How many steps or runs share it, and some of them by name.
    count: int = 1
    members: tuple[str, ...] = ()
    #: How many steps wait behind it.
    behind: int = 0
    #: What belongs to the kind: position, attempts, errors; JSON values.
    data: dict[str, Any] = field(default_factory=dict)
    because: tuple[Cause, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the element of an explanation's `causes`."""
        return {
            "kind": self.kind.value,
            "subject": self.subject.document(),
            "text": self.text,
            "weight": self.weight.value,
            "since": rfc3339(self.since),
            "until": rfc3339(self.until),
            "holders": [holder.document() for holder in self.holders],
            "command": self.command,
            "count": self.count,
            "members": list(self.members),
            "behind": self.behind,
            "data": self.data,
            "because": [cause.document() for cause in self.because],
        }

    def times(self, now: datetime) -> str:
        """Return since when and until when, in words; empty where neither is known."""
        parts = []
        if self.since is not None:
            parts.append(f"for {rough(now - self.since)}" if self.open else f"{rough(now - self.since)} ago")
        if self.until is not None:
            parts.append(f"until {clock(self.until)} ({ahead(self.until, now)})")
        return ", ".join(parts)

    def sentence(self, now: datetime) -> str:
        """Return the cause with its times."""
        times = self.times(now)
        return f"{self.text} ({times})" if times else self.text

    @property
    def open(self) -> bool:
        """Whether it goes on, and is not something that has happened."""
        return self.kind not in _HAPPENED

    def root(self) -> Cause:
        """Return the cause at the end of the chain."""
        return self.because[0].root() if self.because else self

    def chain(self) -> Iterator[Cause]:
        """Yield the cause and what leads to it, nearest first."""
        yield self
        if self.because:
            yield from self.because[0].chain()


_HAPPENED = frozenset(
    {
        *(CauseKind.COMPLETED, CauseKind.STEP_FAILED, CauseKind.STEP_LEFT_OUT, CauseKind.RUN_FAILED),
        *(CauseKind.TIMED_OUT, CauseKind.CHILD_ENDED, CauseKind.CANCELLED, CauseKind.UNDONE, CauseKind.NOT_UNDONE),
    }
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a run stands where it stands, or, without one, what is stuck in an installation."""

    #: By the database's clock.
    at: datetime
    causes: tuple[Cause, ...]
    run: UUID | None = None
    workflow: str | None = None
    version: int | None = None
    status: str | None = None
    #: It is of a capsule: as the run stood when it was exported, and of its installation only what lies in there.
    foreign: bool = False
    #: When the run was accepted.
    created_at: datetime | None = None

    @property
    def summary(self) -> str:
        """The first cause and what is behind it, on one line."""
        if not self.causes:
            return ""
        return "; ".join(cause.sentence(self.at) for cause in self.causes[0].chain())

    @property
    def command(self) -> str | None:
        """What would move it: the command of the first cause, or of what leads to it."""
        if not self.causes:
            return None
        commands = [cause.command for cause in self.causes[0].chain() if cause.command is not None]
        return commands[-1] if commands else None

    @property
    def moves_at(self) -> datetime | None:
        """When it moves by itself, as far as that is known; never, where its root stands still."""
        links = list(self.causes[0].chain()) if self.causes else []
        times = [cause.until for cause in links if cause.until is not None]
        return times[-1] if times and (links[-1].until is not None or links[-1].weight not in _STILL) else None

    @property
    def stuck(self) -> bool:
        """Whether something stands still until somebody does something."""
        return any(cause.weight in _STILL for cause in self.causes)

    def document(self) -> dict[str, Any]:
        """Return the explanation document, `flowforge/explanation/v1`; `run` is null for a whole installation."""
        return {
            "schema": SCHEMA,
            "at": rfc3339(self.at),
            "run": None if self.run is None else str(self.run),
            "workflow": self.workflow,
            "version": self.version,
            "status": self.status,
            "stuck": self.stuck,
            "summary": self.summary,
            "moves_at": rfc3339(self.moves_at),
            "command": self.command,
            "foreign": self.foreign,
            "causes": [cause.document() for cause in self.causes],
        }


_STILL = frozenset({Weight.HELD, Weight.BLOCKED})
_WEIGHTS = {weight: place for place, weight in enumerate(Weight)}


def ranked(causes: list[Cause]) -> tuple[Cause, ...]:
    """Return causes in order: what holds up the most, then what holds up the most steps, then the oldest."""
    return tuple(sorted(causes, key=_rank))


def _rank(cause: Cause) -> tuple[int, int, float]:
    since = 0.0 if cause.since is None else cause.since.timestamp()
    return (_WEIGHTS[cause.weight], -(cause.behind + cause.count), since)


def rough(span: timedelta) -> str:
    """Return a duration in one or two units: `3s`, `2m5s`, `3h12m`, `4d2h`."""
    seconds = max(0.0, span.total_seconds())
    unit = 1 if seconds < _HOUR else 60 if seconds < _DAY else _HOUR
    return duration_text(timedelta(seconds=int(seconds) // unit * unit))


_HOUR, _DAY = 3600, 86400


def command(*words: str) -> str:
    """Return a command line; names in it come from users, and are quoted for a shell."""
    return f"flowforge {shlex.join(words)}"


def ahead(moment: datetime, now: datetime) -> str:
    """Return how far ahead a time is."""
    return f"in {rough(moment - now)}" if moment > now else f"due {rough(now - moment)} ago"


def clock(moment: datetime) -> str:
    """Return a time as it is written in a sentence, in UTC as all times are."""
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


def listed(names: list[str], most: int = 3) -> str:
    """Return some names in a sentence."""
    more = len(names) - most
    shown = ", ".join(names[:most])
    return f"{shown} and {more} more" if more > 0 else shown
