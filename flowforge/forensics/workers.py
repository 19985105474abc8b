"""Workers: what each did, and what was lost with those that vanished."""

from __future__ import annotations

from typing import Unpack

import pandas as pd

from flowforge.forensics import frames, tallies
from flowforge.forensics.filters import Filters, Given, Moment, Runs
from flowforge.forensics.frames import number, seconds, share, text, time, value
from flowforge.forensics.source import Question, Source, ask
from flowforge.store.forensics import statements

WORKERS = {
    "worker": text("its id"),
    "host": text("where it runs; missing once it is forgotten, and in bundles"),
    "pid": number("its process"),
    "version": text("release it runs"),
    "queues": value("queues it serves"),
    "concurrency": number("attempts it runs at a time"),
    "status": text("active, draining, stopped, lost; unknown once it is forgotten, and in bundles"),
    "attempts": number("attempts it began"),
    "completed": number("of them completed"),
    "failed": number("of them failed"),
    "lost": number("of them lost with it"),
    "busy_s": seconds("execution times together"),
    "first_seen": time("when it began its first attempt in the window"),
    "last_seen": time("when it settled its last one, or was last heard of"),
    "busy_share": share("busy_s / (time between the two x concurrency)"),
}
LEASE_EXPIRIES = {
    "run": text("the run"),
    "workflow": text("its workflow"),
    "version": number("version of the workflow"),
    "step": text("the step"),
    "attempt": number("the attempt that was lost"),
    "worker": text("who had it"),
    "started_at": time("when it began"),
    "lost_at": time("when it was found to be lost"),
    "held_s": seconds("from begun to found lost"),
    "taken_over_by": text("who executed it next"),
    "taken_over_at": time("when"),
    "delay_s": seconds("from begun to begun again: what the loss cost"),
}

_COUNTS = ("attempts", "completed", "failed", "lost", "busy_s")
_WORKERS = Question(statements.WORKERS, tallies.workers, grows=_COUNTS)
_EXPIRIES = Question(statements.LEASE_EXPIRIES, tallies.lease_expiries)


def workers(
    since: Moment = None, *, runs: Runs = None, source: Source | None = None, **filters: Unpack[Filters]
) -> pd.DataFrame:
    """Return what each worker did in a window. Columns: `fx.columns("workers")`."""
    given: Given = {"since": since, "runs": runs, **filters}
    found = frames.frame(ask(_WORKERS, given, source), WORKERS)
    there = (found["last_seen"] - found["first_seen"]).dt.total_seconds() * found["concurrency"].astype("float64")
    found["busy_share"] = found["busy_s"] / there.where(there > 0)
    return found


def lease_expiries(
    since: Moment = None,
    *,
    runs: Runs = None,
    limit: int = 1000,
    source: Source | None = None,
    **filters: Unpack[Filters],
) -> pd.DataFrame:
    """Return the attempts that were lost with their worker, newest first. Columns: `fx.columns("lease_expiries")`."""
    given: Given = {"since": since, "runs": runs, **filters}
    return frames.frame(ask(_EXPIRIES, given, source, limit=limit), LEASE_EXPIRIES)
