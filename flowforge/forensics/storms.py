"""Retries: how much more was asked of a dependency than it was meant to be."""

from __future__ import annotations

from typing import Unpack

import pandas as pd

from flowforge.forensics import frames, tallies
from flowforge.forensics.filters import Filters, Given, Moment, Runs
from flowforge.forensics.frames import number, share, text, time
from flowforge.forensics.source import Question, Source, ask
from flowforge.forensics.widths import width
from flowforge.store.forensics import statements

RETRY_STORMS = {
    "at": time("beginning of the window"),
    "workflow": text("the workflow"),
    "step": text("the step; items of a foreach together"),
    "attempts": number("attempts that began in the window"),
    "first_attempts": number("of them first ones: what was meant to be asked"),
    "retries": number("of them further ones"),
    "failed": number("of them failed, whether another one followed or not"),
    "lost": number("of them lost with their worker"),
    "amplification": share("attempts / first attempts (1 where none were first): 1 is no retry at all"),
    "first_try_success": share("first attempts that completed: what retries hide"),
    "expected_amplification": share(
        "what the failures would make of it: 1 / (1 - failed / attempts); missing where all failed"
    ),
    "synchronised": share("retries in the busiest sixtieth of the window / all: 1 is all at once, 0.02 is spread"),
}

_COUNTS = ("attempts", "first_attempts", "first_try_completed", "retries", "failed", "lost", "burst")
_STORMS = Question(statements.RETRY_STORMS, tallies.retry_storms, grows=_COUNTS)


def retry_storms(
    since: Moment = None,
    *,
    runs: Runs = None,
    window: str = "1m",
    source: Source | None = None,
    **filters: Unpack[Filters],
) -> pd.DataFrame:
    """Return windows and steps in which anything was retried, oldest first. Columns: `fx.columns("retry_storms")`."""
    given: Given = {"since": since, "runs": runs, **filters}
    found = ask(_STORMS, given, source, window=width(window))
    if len(found):
        counts = {name: found[name].astype("float64") for name in ("attempts", "first_attempts", "retries", "failed")}
        first = counts["first_attempts"]
        found["amplification"] = counts["attempts"] / first.clip(lower=1)
        found["first_try_success"] = found["first_try_completed"].astype("float64") / first.where(first > 0)
        failing = counts["failed"] / counts["attempts"]
        found["expected_amplification"] = 1 / (1 - failing.where(failing < 1))
        found["synchronised"] = found["burst"].astype("float64") / counts["retries"]
    return frames.frame(found, RETRY_STORMS)
