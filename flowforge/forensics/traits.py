"""What runs were started with, and what waits for people: who is affected, and who is asked."""

from __future__ import annotations

from typing import Unpack

import pandas as pd

from flowforge.forensics import frames, tallies_traits
from flowforge.forensics.filters import Filters, Given, Moment, Runs
from flowforge.forensics.frames import number, seconds, share, text, time
from flowforge.forensics.source import Question, Source, ask, current
from flowforge.store.forensics import statements

TRAITS = {
    "workflow": text("the workflow"),
    "trait": text("a label, or a field of the input: `label region`, `input.amount`, `input.order.kind`"),
    "value": text("what it says"),
    "runs": number("runs that were started with it, of the newest that were looked at"),
    "share": share("part of the workflow's runs"),
    "completed": number("of them completed"),
    "failed": number("of them failed"),
    "failure_rate": share("failed / (completed + failed)"),
    "others_failed": number("runs without it that failed"),
    "others_rate": share("failed / (completed + failed) of the runs without it"),
    "example_failed": text("the newest that failed with it"),
}
WAITS = {
    "workflow": text("the workflow"),
    "step": text("the step that asks"),
    "type": text("approval or wait_signal"),
    "runs": number("runs that wait there now"),
    "since": time("since when the first waits"),
    "waited_s": seconds("how long that is"),
    "due_at": time("when the first one stops waiting; missing: never"),
    "example_run": text("the one that waits longest"),
}

_TRAITS = Question(statements.TRAITS, tallies_traits.traits)
_WAITS = Question(statements.WAITS, tallies_traits.waits)


def traits(
    since: Moment = None,
    *,
    runs: Runs = None,
    limit: int = 5000,
    source: Source | None = None,
    **filters: Unpack[Filters],
) -> pd.DataFrame:
    """Return what the newest runs were started with, and whether those that share it fail more than the others.

    *limit* is how many runs are looked at. Columns: `fx.columns("traits")`; what most share comes first.
    """
    given: Given = {"since": since, "runs": runs, **filters}
    found = ask(_TRAITS, given, source, limit=limit)
    if len(found):
        counts = {
            name: found[name].astype("float64") for name in ("completed", "failed", "whole_completed", "whole_failed")
        }
        others_failed = counts["whole_failed"] - counts["failed"]
        others = others_failed + counts["whole_completed"] - counts["completed"]
        ended = counts["completed"] + counts["failed"]
        found = found.assign(
            share=found["runs"].astype("float64") / found["whole"].astype("float64"),
            failure_rate=counts["failed"] / ended.where(ended > 0),
            others_failed=others_failed,
            others_rate=others_failed / others.where(others > 0),
        )
    return frames.frame(found, TRAITS)


def waits(
    since: Moment = None, *, runs: Runs = None, source: Source | None = None, **filters: Unpack[Filters]
) -> pd.DataFrame:
    """Return the approvals and signals that runs wait for, the most awaited first. Columns: `fx.columns("waits")`."""
    chosen = source or current()
    given: Given = {"since": since, "runs": runs, **filters}
    made = frames.frame(ask(_WAITS, given, chosen), WAITS)
    made["waited_s"] = (pd.Timestamp(chosen.now()) - made["since"]).dt.total_seconds()
    return made
