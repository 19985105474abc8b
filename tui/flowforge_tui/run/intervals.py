"""What each step did when, as intervals read off its events. Pure: now is an argument.

Intervals of one step do not overlap; where nothing is known of a step, there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from flowforge.model.documents import RunEvent


class Kind(StrEnum):
    """What a step does in an interval."""

    QUEUED = "queued"
    RUNNING = "exec"
    BACKOFF = "backoff"
    TIMER = "timer"
    SIGNAL = "signal"
    CHILDREN = "children"


class Interval(NamedTuple):
    """A piece of a step's time."""

    kind: Kind
    start: datetime
    end: datetime
    #: The attempt ended badly.
    failed: bool = False
    #: It goes on.
    open: bool = False


_BEGINS = {"step.queued": Kind.QUEUED, "step.started": Kind.RUNNING}


def of_steps(events: Iterable[RunEvent], now: datetime) -> dict[str, list[Interval]]:
    """Return the intervals of each step, in order; what goes on ends *now*."""
    found: dict[str, list[Interval]] = {}
    since: dict[str, tuple[Kind, datetime]] = {}
    for event in events:
        if event.step is None:
            continue
        begun = since.pop(event.step, None)
        if begun is not None:
            failed = begun[0] is Kind.RUNNING and event.type in ("step.retrying", "step.failed")
            found.setdefault(event.step, []).append(Interval(*begun, event.at, failed))
        begins = _begins(event)
        if begins is not None:
            since[event.step] = begins, event.at
    for step, (kind, start) in since.items():
        found.setdefault(step, []).append(Interval(kind, start, max(now, start), open=True))
    return found


def _begins(event: RunEvent) -> Kind | None:
    if event.type == "step.waiting":
        if "signal" in event.data or "approvals" in event.data:
            return Kind.SIGNAL
        return Kind.TIMER if "due_at" in event.data and "items" not in event.data else Kind.CHILDREN
    if event.type == "step.retrying":
        return Kind.BACKOFF if "retry_at" in event.data else None
    if event.type == "step.decided":
        return Kind.SIGNAL
    return _BEGINS.get(event.type)


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Return what several steps did, for one bar: intervals of one kind that touch are one."""
    by_kind: dict[tuple[Kind, bool], list[Interval]] = {}
    for one in sorted(intervals, key=lambda interval: interval.start):
        row = by_kind.setdefault((one.kind, one.failed), [])
        if row and not one.failed and one.start <= row[-1].end:
            row[-1] = row[-1]._replace(end=max(row[-1].end, one.end), open=row[-1].open or one.open)
        else:
            row.append(one)
    return [one for row in by_kind.values() for one in row]


def critical_path(
    dependencies: Mapping[str, Sequence[str]], intervals: Mapping[str, Sequence[Interval]]
) -> frozenset[str]:
    """Return the steps that the run's length is made of: from the last to end, each time the dependency it waited for.

    Steps without intervals were not executed and are on no path.
    """
    ends = {step: max(one.end for one in row) for step, row in intervals.items() if row and step in dependencies}
    path: list[str] = []
    step = max(ends, key=lambda one: ends[one], default=None)
    while step is not None:
        path.append(step)
        before = [one for one in dependencies[step] if one in ends and one not in path]
        step = max(before, key=lambda one: ends[one], default=None)
    return frozenset(path)
