"""Where a run would have gone another way with another version of its workflow, by class.

A cause is named once: what a branch that differs leads to, or a step that fails, is not listed as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from flowforge.model.documents import Rehearsal, Rehearsed


class Divergence(StrEnum):
    """How a run differs.

    - `branch`: a conditional decides otherwise, or a step runs that was left out, or the other way round.
    - `missing`: a step that did its work is not there any more.
    - `new`: a step that was not there would run, and nothing that is recorded says what it comes to.
    - `output`: a step, or the run, gives something else.
    - `outcome`: a step, or the run, ends otherwise; or the input is refused.
    """

    BRANCH = "branch"
    MISSING = "missing"
    NEW = "new"
    OUTPUT = "output"
    OUTCOME = "outcome"


class Difference(NamedTuple):
    """One difference of one run; *step* is None for the run itself."""

    kind: Divergence
    step: str | None
    before: Any
    after: Any


_DONE = frozenset({"completed", "failed", "compensated"})


def differences(rehearsal: Rehearsal) -> list[Difference]:
    """Return how a run would differ."""
    found = [one for step in rehearsal.steps for one in _of_step(step)]
    branches = any(one.kind is Divergence.BRANCH for one in found)
    ends = rehearsal.status_before == rehearsal.status_after
    if not branches and ends:
        found += [_ran_or_not(step) for step in rehearsal.steps if _moved(step)]
    if not ends and not any(one.kind is Divergence.OUTCOME for one in found):
        found.append(Difference(Divergence.OUTCOME, None, rehearsal.status_before, rehearsal.status_after))
    if not found and rehearsal.output_before != rehearsal.output_after:
        found.append(Difference(Divergence.OUTPUT, None, rehearsal.output_before, rehearsal.output_after))
    return found


def _of_step(step: Rehearsed) -> Iterator[Difference]:
    if step.after is None:
        if step.before in _DONE:
            yield Difference(Divergence.MISSING, step.id, step.before, None)
    elif step.before is None:
        if step.after in _DONE and step.source == "unknown":
            yield Difference(Divergence.NEW, step.id, None, step.after)
    elif step.before != step.after:
        if step.before in _DONE and step.after in _DONE:
            yield Difference(Divergence.OUTCOME, step.id, step.before, step.after)
    elif step.output_before != step.output_after:
        kind = Divergence.BRANCH if step.type == "conditional" else Divergence.OUTPUT
        yield Difference(kind, step.id, step.output_before, step.output_after)


def _moved(step: Rehearsed) -> bool:
    """Say whether a step ran before and not now, or the other way round."""
    both = step.before is not None and step.after is not None
    return both and step.before != step.after and not (step.before in _DONE and step.after in _DONE)


def _ran_or_not(step: Rehearsed) -> Difference:
    return Difference(Divergence.BRANCH, step.id, step.before, step.after)


#: Runs that are named for each finding.
NAMED = 10


@dataclass(slots=True)
class Divergent:
    """Runs that differ alike, with one of them as an example."""

    kind: Divergence
    step: str | None
    before: Any
    after: Any
    runs: list[UUID]
    count: int = 0

    def document(self) -> dict[str, Any]:
        """Return the element of a verification's `divergences`."""
        return {
            "class": self.kind.value,
            "step": self.step,
            "count": self.count,
            "runs": [str(run) for run in self.runs],
            "example": {"before": self.before, "after": self.after},
        }


class Tally:
    """The differences of many runs, those that are alike together."""

    def __init__(self) -> None:
        self._found: dict[tuple[Divergence, str | None], Divergent] = {}

    def add(self, run: UUID, found: Sequence[Difference]) -> None:
        """Count how a run differs."""
        # Items of a foreach differ alike.
        alike = {(one.kind, one.step and one.step.partition("[")[0]): one for one in reversed(found)}
        for key, one in alike.items():
            kept = self._found.setdefault(key, Divergent(one.kind, key[1], one.before, one.after, []))
            kept.count += 1
            if len(kept.runs) < NAMED:
                kept.runs.append(run)

    def result(self) -> tuple[Divergent, ...]:
        """Return what was found, by class, the most frequent first."""
        order = list(Divergence)
        return tuple(sorted(self._found.values(), key=lambda one: (order.index(one.kind), -one.count, one.step or "")))


@dataclass(frozen=True, slots=True)
class Verification:
    """What past runs of a version would come to with another one."""

    workflow: str
    #: The version whose runs were replayed; None when there is none.
    version: int | None
    replayed: int
    #: Runs that prove nothing, by reason.
    left_out: Mapping[str, int]
    divergences: tuple[Divergent, ...]
    accepted: frozenset[Divergence] = frozenset()

    @property
    def refused(self) -> bool:
        """Whether something differs that nobody accepted."""
        return any(one.kind not in self.accepted for one in self.divergences)

    def document(self) -> dict[str, Any]:
        """Return the verification document, `flowforge/verification/v1`."""
        return {
            "schema": "flowforge/verification/v1",
            "workflow": self.workflow,
            "version": self.version,
            "replayed": self.replayed,
            "left_out": dict(self.left_out),
            "accepted": sorted(self.accepted),
            "refused": self.refused,
            "divergences": [one.document() for one in self.divergences],
        }
