"""Attempts, steps and events of runs, row by row."""

from __future__ import annotations

from typing import Any, Unpack

import pandas as pd

from flowforge.forensics import frames, tallies
from flowforge.forensics.filters import Filters, Given, Moment, Runs
from flowforge.forensics.frames import number, seconds, text, time, value
from flowforge.forensics.source import Question, Reference, Source, ask, current
from flowforge.store.forensics import statements

ATTEMPTS = {
    "run": text("the run"),
    "workflow": text("its workflow"),
    "version": number("version of the workflow"),
    "step": text("the step"),
    "type": text("its type; missing for items of a foreach and steps that undo others"),
    "attempt": number("counted from 1; one that its worker gave back is not counted"),
    "queued_at": time("when it was ready and dispatched (enqueued)"),
    "started_at": time("when a worker claimed it and began"),
    "ended_at": time("when it was settled, or its worker was found to be lost"),
    "worker": text("who executed it"),
    "outcome": text(
        "completed; failed: for good; retried: failed, and another attempt follows; lost: with its worker; waiting: it "
        "goes on when something comes; released: given back; cancelled; skipped; running; queued"
    ),
    "queue_s": seconds("from dispatched to begun; up to now for one that waits"),
    "exec_s": seconds("from begun to settled"),
    "code": text("code of the error"),
    "message": text("text of the error"),
}
STEPS = {
    "run": text("the run"),
    "step": text("id of the step"),
    "name": text("its name"),
    "type": text("its type"),
    "status": text("where it stands"),
    "attempts": number("attempts begun"),
    "crashes": number("attempts lost with their worker"),
    "worker": text("who executed it last"),
    "queued_at": time("when it was dispatched last"),
    "started_at": time("when its last attempt began"),
    "finished_at": time("when it ended"),
    "queue_s": seconds("from dispatched to begun, of the last attempt"),
    "exec_s": seconds("from begun to ended, of the last attempt"),
    "code": text("code of its error"),
    "message": text("text of its error"),
    "output": value("what it came to, as JSON"),
}
EVENTS = {
    "run": text("the run"),
    "seq": number("place in the history, from 1 without gaps"),
    "at": time("when it was committed"),
    "since_s": seconds("from the first event"),
    "type": text("what happened"),
    "step": text("to which step"),
    "attempt": number("in which attempt"),
    "data": value("what else is known, as JSON"),
}

_ATTEMPTS = Question(statements.ATTEMPT_ROWS, tallies.attempts)


def attempts(
    runs: Runs | Reference = None,
    *,
    since: Moment = None,
    limit: int = 10_000,
    source: Source | None = None,
    **filters: Unpack[Filters],
) -> pd.DataFrame:
    """Return one row for each try of each step, oldest first: of a run, of runs, or of all that a filter matches.

    Columns: `fx.columns("attempts")`. *limit* keeps the newest, of those runs that ended last or
    have not ended.
    """
    chosen = source or current()
    given: Given = {"since": since, "runs": None if runs is None else _ids(runs, chosen), **filters}
    found = frames.frame(ask(_ATTEMPTS, given, chosen, limit=limit), ATTEMPTS)
    return found.sort_values(["queued_at", "run", "step", "attempt"], ignore_index=True)


def steps(run: Reference, *, source: Source | None = None) -> pd.DataFrame:
    """Return the steps of a run, those included that were never reached. Columns: `fx.columns("steps")`."""
    case = (source or current()).case(run)
    found = frames.frame([_step(case.id, step) for step in case.run.get("steps") or ()], STEPS)
    found["queue_s"] = (found["started_at"] - found["queued_at"]).dt.total_seconds()
    found["exec_s"] = (found["finished_at"] - found["started_at"]).dt.total_seconds()
    return frames.frame(found, STEPS)


def events(run: Reference, *, source: Source | None = None) -> pd.DataFrame:
    """Return the history of a run, oldest first. Columns: `fx.columns("events")`."""
    case = (source or current()).case(run)
    found = frames.frame(case.events, EVENTS)
    if len(found):
        found["since_s"] = (found["at"] - found["at"].iloc[0]).dt.total_seconds()
    return found


def _ids(runs: Runs | Reference, source: Source) -> Any:
    """Return full ids; a single run may be given as on the command line."""
    return source.resolve(runs) if isinstance(runs, str) else runs


def _step(run: str, step: dict[str, Any]) -> dict[str, Any]:
    error = step["error"] or {}
    return {**step, "run": run, "step": step["id"], "code": error.get("code"), "message": error.get("message")}
