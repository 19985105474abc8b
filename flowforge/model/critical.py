"""The critical path: the steps that the end of a run, or its present, was waiting for.

Found from the end: what ended last, what that had waited for, and so on. A step is ready at the very moment at which
the last of what it waited for ended, so the step before it is one that ended then: one of its dependencies if there is
one, else whatever let it go on (the item before it, its own items, the step that was undone before it). A step that
took no time, because it was settled in the transaction that granted it, is not on the path.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from flowforge.model.phase import Kind, Phase, Stretch
from flowforge.model.plan import Plan

#: Which of several open steps the present waits for, and what a moment counts as that several steps share: progress
#: before trouble, trouble before waiting, and of waiting first what the installation can do something about.
PRECEDENCE = (
    Kind.EXECUTION,
    Kind.COMPENSATION,
    Kind.INFRASTRUCTURE,
    Kind.OUTBOX,
    Kind.QUEUE,
    Kind.BACKOFF,
    Kind.CHILD,
    Kind.SIGNAL,
    Kind.TIMER,
    Kind.PAUSED,
    Kind.BLOCKED,
    Kind.GATE,
    Kind.ENDED,
)
#: Kinds in which a step waits for what is another's.
NOT_ITS_OWN = frozenset({Kind.GATE, Kind.BLOCKED})


class _Spell(NamedTuple):
    """A stretch in which a step was ready, worked on or waited for something of its own."""

    end: datetime
    rank: int
    start: datetime
    step: str
    last: Kind


def critical_path(plan: Plan, steps: Mapping[str, Sequence[Phase]]) -> tuple[Stretch, ...]:
    """Return the path, oldest stretch first."""
    spells = sorted(spell for name, phases in steps.items() for spell in _spells(_rank(plan, name), name, phases))
    chosen = _last(spells)
    path: list[Stretch] = []
    before = len(spells)
    while chosen is not None:
        path.append(Stretch(chosen.step, chosen.start, chosen.end))
        before = bisect_right(spells, (chosen.start, _HIGHEST), 0, before)
        chosen = _before(plan, spells, before, chosen)
    return tuple(reversed(path))


#: Above the rank of every step.
_HIGHEST = 1 << 62


def _last(spells: list[_Spell]) -> _Spell | None:
    """Return what ended last; of several, such as those that were cancelled together, what was the furthest."""
    if not spells:
        return None
    last = (spell for spell in spells if spell.end == spells[-1].end)
    return min(last, key=lambda spell: (PRECEDENCE.index(spell.last), spell.start, -spell.rank))


def _before(plan: Plan, spells: list[_Spell], before: int, chosen: _Spell) -> _Spell | None:
    """Return what let a spell begin; where nothing ended at that moment, what had ended last."""
    if not before:
        return None
    ended = spells[before - 1]
    if ended.end < chosen.start:
        return ended
    wanted = _dependencies(plan, chosen.step)
    for no in range(before - 1, -1, -1):
        if spells[no].end != chosen.start:
            break
        if spells[no].step in wanted:
            return spells[no]
    return ended


def _dependencies(plan: Plan, name: str) -> frozenset[str]:
    number = plan.find(name)
    if number is None:
        return frozenset()
    return frozenset(plan.steps[edge.step].id for edge in plan.steps[number].dependencies)


def _rank(plan: Plan, name: str) -> int:
    number = plan.find(name)
    return -1 if number is None else plan.steps[number].rank


def _spells(rank: int, name: str, phases: Sequence[Phase]) -> list[_Spell]:
    found: list[_Spell] = []
    for phase in phases:
        if phase.kind in NOT_ITS_OWN:
            continue
        if found and found[-1].end == phase.start:
            found[-1] = found[-1]._replace(end=phase.end, last=phase.kind)
        else:
            found.append(_Spell(phase.end, rank, phase.start, name, phase.kind))
    return found
