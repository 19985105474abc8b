"""What each step did when, as the table draws it: the phases of the latency ledger, with what a bar needs beside them.

A phase says what a moment went into; an interval also says whether the attempt ended badly, whether it goes on, and
whether a step that is blocked waits for others or for what is inside it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from flowforge.model.documents import RunEvent
from flowforge.model.phase import Kind, Phases

#: What a step does itself; in the other kinds it waits for what is before it, and its bar is empty.
DRAWN = frozenset(Kind) - {Kind.GATE, Kind.ENDED}
EXECUTING = frozenset({Kind.EXECUTION, Kind.COMPENSATION, Kind.INFRASTRUCTURE})
QUEUED = frozenset({Kind.QUEUE, Kind.OUTBOX, Kind.PAUSED})


class Interval(NamedTuple):
    """A piece of a step's time."""

    kind: Kind
    start: datetime
    end: datetime
    #: The attempt ended badly.
    failed: bool = False
    #: It goes on.
    open: bool = False


def of_steps(ledger: Phases, events: Iterable[RunEvent], *, ended: bool) -> dict[str, list[Interval]]:
    """Return the intervals of each step, in order; steps that did nothing have none."""
    bad = {(one.step, one.at) for one in events if one.type in ("step.retrying", "step.failed")}
    found: dict[str, list[Interval]] = {}
    for step, phases in ledger.steps.items():
        row = [
            Interval(
                phase.kind,
                phase.start,
                phase.end,
                failed=phase.kind in EXECUTING and (step, phase.end) in bad,
                open=not ended and phase.end == ledger.end,
            )
            for phase in phases
            if phase.kind in DRAWN and (phase.kind is not Kind.BLOCKED or phase.attempt is not None)
        ]
        if row:
            found[step] = row
    return found


def merged(intervals: Sequence[Interval]) -> list[Interval]:
    """Return what several steps did, for one bar: intervals of one kind that touch are one."""
    by_kind: dict[tuple[Kind, bool], list[Interval]] = {}
    for one in sorted(intervals, key=lambda interval: interval.start):
        row = by_kind.setdefault((one.kind, one.failed), [])
        if row and not one.failed and one.start <= row[-1].end:
            row[-1] = row[-1]._replace(end=max(row[-1].end, one.end), open=row[-1].open or one.open)
        else:
            row.append(one)
    return [one for row in by_kind.values() for one in row]
