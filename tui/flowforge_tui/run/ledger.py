"""Where the time of a run went: its wall time, split so that the parts sum to it. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

from flowforge_tui.run.intervals import Kind
from flowforge_tui.run.picture import Picture

#: Of what happens at the same time, the first of these is what the time counts as.
_ORDER = (Kind.RUNNING, Kind.QUEUED, Kind.BACKOFF, Kind.TIMER, Kind.SIGNAL, Kind.CHILDREN)
_WORDS = {Kind.QUEUED: "queue"}


def parts(picture: Picture) -> dict[str, timedelta]:
    """Return the parts of a run's wall time, by word; they sum to it."""
    start, end = picture.run.created_at, picture.end
    if end <= start:
        return {}
    changes: list[tuple[datetime, Kind, int]] = []
    for row in picture.intervals.values():
        for one in row:
            changes += [(one.start, one.kind, 1), (one.end, one.kind, -1)]
    started = min(picture.run.started_at or end, end)
    moments = sorted({start, started, end, *(at for at, _, _ in changes if start < at < end)})
    changes.sort(key=lambda change: change[0])
    active = dict.fromkeys(_ORDER, 0)
    sums: dict[str, timedelta] = {}
    at = 0
    for begin, until in pairwise(moments):
        while at < len(changes) and changes[at][0] <= begin:
            active[changes[at][1]] += changes[at][2]
            at += 1
        word = "gate" if begin < started else _word(active)
        sums[word] = sums.get(word, timedelta()) + (until - begin)
    return sums


def _word(active: dict[Kind, int]) -> str:
    kind = next((kind for kind in _ORDER if active[kind]), None)
    return "other" if kind is None else _WORDS.get(kind, kind.value)
