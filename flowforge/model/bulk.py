"""Asking the same of many runs: the plan of it, what it would come to, and what became of each run. Pure.

A plan remembers how each run stood when it was made; a run that has changed since then is not what somebody decided
about, and is left alone. The document `flowforge/plan/v1` is a contract: it grows, it never changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from flowforge.errors import InputError
from flowforge.model.documents import rfc3339
from flowforge.model.drift import Care, Expected, Seen
from flowforge.model.status import RunStatus

SCHEMA = "flowforge/plan/v1"


class Verb(StrEnum):
    """What can be asked of many runs."""

    CANCEL = "cancel"
    RETRY = "retry"
    REPLAY = "replay"
    PAUSE = "pause"
    RESUME = "resume"


_ACTIVE = tuple(status for status in RunStatus if not status.final)
#: The statuses in which a run can do what is asked, as far as that can be seen from outside.
POSSIBLE: dict[Verb, tuple[RunStatus, ...]] = {
    Verb.CANCEL: _ACTIVE,
    Verb.RETRY: (RunStatus.FAILED, RunStatus.CANCELLED),
    Verb.REPLAY: tuple(RunStatus),
    Verb.PAUSE: (RunStatus.RUNNING, RunStatus.PAUSED),
    Verb.RESUME: (RunStatus.PAUSED, RunStatus.RUNNING),
}
#: In which of them it makes a difference: what a filter chooses that names no status.
MEANT: dict[Verb, tuple[RunStatus, ...]] = {
    **POSSIBLE,
    Verb.REPLAY: (),
    Verb.PAUSE: (RunStatus.RUNNING,),
    Verb.RESUME: (RunStatus.PAUSED,),
}
_WHY = {
    Verb.CANCEL: "has ended already",
    Verb.RETRY: "only a failed or cancelled run can be retried",
    Verb.PAUSE: "only a running run can be paused",
    Verb.RESUME: "only a paused run can be resumed",
}
#: The statuses in which a run holds a slot of its gate.
HOLDING = frozenset({RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.CANCELLING, RunStatus.COMPENSATING})


@dataclass(frozen=True, slots=True)
class Target:
    """A run of a plan, as it stood when the plan was made."""

    id: UUID
    workflow: str
    version: int
    status: RunStatus
    #: Number of its last event.
    seq: int
    finished_at: datetime | None = None
    #: Whether its workflow has a limit.
    gated: bool = False
    #: Steps that would be undone if it was cancelled.
    undoes: int = 0

    def document(self) -> dict[str, Any]:
        """Return the element of a plan document's `runs`."""
        return {
            "run": str(self.id),
            "workflow": self.workflow,
            "version": self.version,
            "status": self.status.value,
            "seq": self.seq,
            "finished_at": rfc3339(self.finished_at),
            "gated": self.gated,
            "undoes": self.undoes,
        }

    @property
    def seen(self) -> Seen:
        """How it stood."""
        return Seen(self.status, self.seq, self.finished_at)


def refusal(verb: Verb, status: RunStatus) -> str | None:
    """Return why a run that stands so cannot do what is asked; None when it can."""
    return None if status in POSSIBLE[verb] else _WHY[verb]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked, of which runs, by whom."""

    id: UUID
    verb: Verb
    targets: tuple[Target, ...]
    made_at: datetime
    by: str
    #: Arguments of the verb: reason, force, from_step ...
    options: Mapping[str, Any] = field(default_factory=dict)
    #: How the runs were chosen, for people.
    chosen_by: str | None = None
    #: The statuses that were asked for by name; a run that has left them is not meant any more.
    among: frozenset[RunStatus] = frozenset()

    @property
    def able(self) -> tuple[Target, ...]:
        """The runs that can do what is asked."""
        return tuple(target for target in self.targets if refusal(self.verb, target.status) is None)

    @property
    def reason(self) -> str:
        """What is kept in each run's history: the reason, and the plan."""
        given = self.options.get("reason")
        return f"{given} [plan {self.id}]" if given else f"[plan {self.id}]"

    def expects(self, target: Target, care: Care) -> Expected:
        """Return what has to hold of a run when it is asked."""
        return Expected(target.seen, care, self.among)

    def groups(self) -> list[tuple[str, int, RunStatus, int]]:
        """Return how many runs there are of each workflow, version and status, the most first."""
        counts = Counter((one.workflow, one.version, one.status) for one in self.targets)
        return sorted(((*key, number) for key, number in counts.items()), key=lambda row: (-row[3], row[:3]))

    @property
    def slots(self) -> int:
        """How many slots of gates become free."""
        return sum(one.gated and one.status in HOLDING for one in self.able) if self.verb is Verb.CANCEL else 0

    @property
    def compensations(self) -> tuple[int, int]:
        """How many steps are undone, and of how many runs."""
        undone = [one.undoes for one in self.able if one.undoes] if self._undoes else []
        return sum(undone), len(undone)

    @property
    def _undoes(self) -> bool:
        return self.verb is Verb.CANCEL and not self.options.get("force")

    def counts(self) -> dict[str, Any]:
        """Return what the plan comes to, as data."""
        by_status = Counter(one.status.value for one in self.targets)
        refused = Counter(why for one in self.targets if (why := refusal(self.verb, one.status)) is not None)
        steps, runs = self.compensations
        return {
            "runs": len(self.targets),
            "able": len(self.able),
            "by_status": dict(by_status),
            "by_workflow": dict(Counter(f"{one.workflow}@{one.version}" for one in self.targets)),
            "refused": dict(refused),
            "slots_freed": self.slots,
            "compensations": {"steps": steps, "runs": runs},
        }

    def document(self) -> dict[str, Any]:
        """Return the plan document."""
        return {
            "schema": SCHEMA,
            "id": str(self.id),
            "verb": self.verb.value,
            "options": dict(self.options),
            "chosen_by": self.chosen_by,
            "statuses": sorted(status.value for status in self.among),
            "made_at": rfc3339(self.made_at),
            "by": self.by,
            "counts": self.counts(),
            "runs": [target.document() for target in self.targets],
        }

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """Return the plan that a document holds; InputError says what is wrong with it."""
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise InputError(f"this is not a plan: its schema is not {SCHEMA}")
        try:
            return cls(
                UUID(document["id"]),
                Verb(document["verb"]),
                tuple(_target(one) for one in document["runs"]),
                datetime.fromisoformat(document["made_at"]),
                str(document["by"]),
                _options(document.get("options") or {}),
                document.get("chosen_by"),
                frozenset(RunStatus(one) for one in document.get("statuses") or ()),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"this plan cannot be read: {type(error).__name__}: {error}") from None


#: Arguments that a plan may hold, and their types.
_KNOWN: dict[str, tuple[type, ...]] = {
    "reason": (str,),
    "force": (bool,),
    "from_step": (str,),
    "to_version": (int,),
    "version": (int,),
    "changes": (dict,),
}


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if name not in _KNOWN or (value is not None and not isinstance(value, _KNOWN[name])):
            raise ValueError(f"the option '{name}' is unknown, or its value is not one")
    return dict(given)


def _target(one: Mapping[str, Any]) -> Target:
    ended = one.get("finished_at")
    return Target(
        UUID(one["run"]),
        str(one["workflow"]),
        int(one["version"]),
        RunStatus(one["status"]),
        int(one["seq"]),
        None if ended is None else datetime.fromisoformat(ended),
        bool(one.get("gated")),
        int(one.get("undoes") or 0),
    )


class Result(StrEnum):
    """What became of a run of a plan.

    - `done`: it was done. `earlier`: it was done before, by the same plan.
    - `refused`: the run does not allow it. `changed`: the run is not as it was when the plan was made.
    """

    DONE = "done"
    EARLIER = "earlier"
    REFUSED = "refused"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run."""

    run: UUID
    result: Result
    message: str | None = None
    #: The run that was started, for a replay.
    started: UUID | None = None

    def document(self) -> dict[str, Any]:
        """Return the element of a bulk document's `runs`."""
        document: dict[str, Any] = {"run": str(self.run), "result": self.result.value, "message": self.message}
        return document | ({} if self.started is None else {"started": str(self.started)})


def tally(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Return how many runs came to what."""
    counts = Counter(one.result for one in outcomes)
    return {result.value: counts[result] for result in Result}
