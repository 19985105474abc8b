"""Errors, brought together by what they have in common."""

from __future__ import annotations

import re
from typing import Unpack

import pandas as pd

from flowforge.forensics import frames, tallies_effects
from flowforge.forensics.filters import Filters, Given, Moment, Runs
from flowforge.forensics.frames import number, text, time
from flowforge.forensics.source import Question, Source, ask
from flowforge.store.forensics import statements

ERRORS = {
    "workflow": text("the workflow"),
    "version": number("its version"),
    "step": text("the step; items of a foreach together"),
    "code": text("code of the error"),
    "text": text("its text without ids and numbers"),
    "message": text("one of the texts as it was"),
    "frame": text("where it was raised, for functions: the innermost line of the traceback"),
    "count": number("attempts that failed with it"),
    "final": number("of them without another attempt"),
    "runs": number("runs it happened in"),
    "first_seen": time("when it came first"),
    "last_seen": time("when it came last"),
    "example_run": text("the run in which it came last"),
}
CLUSTERS = {
    "code": text("code of the errors"),
    "text": text("what their texts have in common"),
    "frame": text("where they were raised, for functions"),
    "workflows": text("the workflows, separated by commas"),
    "steps": text("the steps, separated by commas"),
    "count": number("attempts that failed with one of them"),
    "final": number("of them without another attempt"),
    "runs": number("runs, each counted once for every workflow version and step"),
    "first_seen": time("when the first came"),
    "last_seen": time("when the last came"),
    "example_run": text("the run in which the last came"),
    "message": text("one of the texts as it was"),
}

_ERRORS = Question(statements.ERRORS, tallies_effects.errors)
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def errors(
    since: Moment = None,
    *,
    runs: Runs = None,
    limit: int = 10_000,
    source: Source | None = None,
    **filters: Unpack[Filters],
) -> pd.DataFrame:
    """Return the errors of attempts, those with the same text together, the most frequent first.

    Columns: `fx.columns("errors")`. `fx.errors(...).pipe(fx.cluster_errors)` goes on from here.
    """
    given: Given = {"since": since, "runs": runs, **filters}
    found = ask(_ERRORS, given, source, limit=limit)
    found["frame"] = [innermost(one) for one in found["traceback"]] if "traceback" in found else None
    return frames.frame(found, ERRORS)


def cluster_errors(errors: pd.DataFrame) -> pd.DataFrame:
    """Bring errors together that differ only in what they are about: same code, same words, same line of code.

    Columns: `fx.columns("clusters")`; the most frequent first.
    """
    if errors.empty:
        return frames.frame([], CLUSTERS)
    found = errors.sort_values(["last_seen", "example_run"]).assign(
        text=errors["text"].fillna("").map(lambda one: _QUOTED.sub("<text>", one)), frame=errors["frame"].fillna("")
    )
    made = found.groupby(["code", "text", "frame"]).agg(
        workflows=("workflow", _together),
        steps=("step", _together),
        count=("count", "sum"),
        final=("final", "sum"),
        runs=("runs", "sum"),
        first_seen=("first_seen", "min"),
        last_seen=("last_seen", "max"),
        example_run=("example_run", "last"),
        message=("message", "first"),
    )
    ordered = made.reset_index().sort_values(["count", "code", "text"], ascending=[False, True, True])
    ordered["frame"] = ordered["frame"].replace("", None)
    return frames.frame(ordered, CLUSTERS)


def innermost(traceback: object) -> str | None:
    """Return the innermost line of a traceback: file, line and function."""
    found = _FRAME.findall(traceback) if isinstance(traceback, str) else []
    if not found:
        return None
    path, line, function = found[-1]
    return f"{'/'.join(path.split('/')[-2:])}:{line} {function}()"


def _together(names: pd.Series[str]) -> str:
    return ", ".join(sorted(set(names)))
