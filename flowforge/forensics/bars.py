"""What each step of a run did over time, as bars: queued, executing, backing off, waiting."""

from __future__ import annotations

from datetime import datetime

from flowforge.forensics import tries
from flowforge.forensics.source import Case
from flowforge.model.card import Bar

_PHASES = {"failed": "failed", "retried": "failed", "lost": "lost"}


def bars(case: Case) -> list[Bar]:
    """Return the bars of a run's steps, in order of time."""
    now = case.seen_at
    found: list[Bar] = []
    before: dict[str, tuple[datetime, str]] = {}
    for attempt in tries.retold(case.run, case.events, now):
        step, no, queued = attempt["step"], attempt["attempt"], attempt["queued_at"]
        if step in before:
            ended, outcome = before[step]
            phase = "wait" if outcome == "waiting" else "backoff"
            found.append(Bar(step, phase, ended, max(ended, queued), no))
        begun = attempt["started_at"] or attempt["ended_at"] or now
        found.append(Bar(step, "queue", queued, begun, no))
        if attempt["started_at"] is not None:
            found.append(Bar(step, _PHASES.get(attempt["outcome"], "exec"), begun, attempt["ended_at"] or now, no))
        before[step] = (attempt["ended_at"] or now, attempt["outcome"])
    found += _unfinished_waits(case, before, now)
    return [bar for bar in found if bar.end > bar.begin or bar.phase != "queue"]


def _unfinished_waits(case: Case, before: dict[str, tuple[datetime, str]], now: datetime) -> list[Bar]:
    """A step that completes by itself when its time has come has no further attempt; one may still be waiting."""
    found = []
    for step in case.run.get("steps") or ():
        ended, outcome = before.get(step["id"], (now, ""))
        if outcome in ("waiting", "retried"):
            until = tries.moment(step["finished_at"]) if step["finished_at"] else now
            phase = "wait" if outcome == "waiting" else "backoff"
            found.append(Bar(step["id"], phase, ended, max(ended, until), step["attempts"] or 1))
    return found
