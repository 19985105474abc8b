"""Runs, and what became of the versions they belong to."""

from __future__ import annotations

from typing import Unpack

import pandas as pd

from flowforge.forensics import frames, tallies
from flowforge.forensics.filters import Filters, Given, Moment, Runs
from flowforge.forensics.frames import number, seconds, share, text, time, value
from flowforge.forensics.source import Question, Source, ask
from flowforge.store.forensics import statements

RUNS = {
    "run": text("id of the run"),
    "workflow": text("its workflow"),
    "version": number("version of the workflow"),
    "status": text("where it stands"),
    "trigger": text("what started it"),
    "created_at": time("when it was accepted"),
    "started_at": time("when its gate let it in"),
    "finished_at": time("when it ended"),
    "gate_wait_s": seconds("from accepted to let in"),
    "duration_s": seconds("from let in to ended, or to now"),
    "code": text("code of the error that it failed with"),
    "failed_step": text("the step that it failed at"),
    "message": text("text of the error"),
    "priority": number("higher goes first at the gate"),
    "replay_of": text("the run that it repeats"),
    "parent": text("the run whose step started it"),
    "idempotency_key": text("key of its start"),
    "labels": value("its labels"),
}
VERSIONS = {
    "workflow": text("the workflow"),
    "version": number("its version"),
    "runs": number("runs that lived in the window"),
    "completed": number("of them completed"),
    "failed": number("of them failed"),
    "cancelled": number("of them cancelled"),
    "active": number("of them not ended"),
    "failure_rate": share("failed / (completed + failed)"),
    "duration_p50_s": seconds("median from let in to ended, of those that completed"),
    "first_run_at": time("when the first was accepted"),
    "last_run_at": time("when the last was accepted"),
    "example_failed": text("the newest that failed"),
    "example_completed": text("the newest that completed"),
}

_RUNS = Question(statements.RUNS, tallies.runs, by_creation=True)
_VERSIONS = Question(statements.VERSIONS, tallies.versions)


def runs(
    since: Moment = None,
    *,
    runs: Runs = None,
    limit: int = 1000,
    source: Source | None = None,
    **filters: Unpack[Filters],
) -> pd.DataFrame:
    """Return the runs that were created in a window, the newest first, as `flowforge ps` does.

    Columns: `fx.columns("runs")`. Filters: since, until, workflow, status, label, runs.
    """
    given: Given = {"since": since, "runs": runs, **filters}
    return frames.frame(ask(_RUNS, given, source, limit=limit), RUNS)


def versions(
    since: Moment = None, *, runs: Runs = None, source: Source | None = None, **filters: Unpack[Filters]
) -> pd.DataFrame:
    """Return what became of the runs of each version: whether a deployment is to blame shows here.

    Columns: `fx.columns("versions")`.
    """
    given: Given = {"since": since, "runs": runs, **filters}
    found = frames.frame(ask(_VERSIONS, given, source), VERSIONS)
    ended = (found["completed"] + found["failed"]).astype("float64")
    found["failure_rate"] = found["failed"].astype("float64") / ended.where(ended > 0)
    return found
