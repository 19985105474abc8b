"""What runs were started with, and what waits for people, over the cases of a bundle; see tallies.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pandas as pd

from flowforge.forensics.source import Case, Facts
from flowforge.forensics.tries import moment

#: Characters of a value, and values that are told, as in Postgres.
_LONGEST, _MOST = 80, 1000
_PEOPLE = ("approval", "wait_signal")


def traits(facts: Facts, *, limit: int) -> pd.DataFrame:
    """Return what runs were started with, and what became of those that share it."""
    newest = [facts.cases[run] for run in facts.runs.sort_values("run", ascending=False)["run"].head(limit)]
    rows = [
        (case.run["workflow"], trait, value, case.id, case.run["status"])
        for case in newest
        for trait, value in _said(case)
    ]
    found = pd.DataFrame(rows, columns=["workflow", "trait", "value", "run", "status"])
    if found.empty:
        return found
    found = found.assign(completed=found["status"] == "completed", failed=found["status"] == "failed")
    made = found.groupby(["workflow", "trait", "value"]).agg(
        runs=("run", "size"), completed=("completed", "sum"), failed=("failed", "sum")
    )
    made["example_failed"] = found[found["failed"]].groupby(["workflow", "trait", "value"])["run"].max()
    made = made[made["runs"] > 1].reset_index()
    made["whole"] = made["workflow"].map(Counter(case.run["workflow"] for case in newest))
    for status in ("completed", "failed"):
        ended = Counter(case.run["workflow"] for case in newest if case.run["status"] == status)
        made[f"whole_{status}"] = made["workflow"].map(ended).fillna(0)
    order = ["runs", "workflow", "trait", "value"]
    return made.sort_values(order, ascending=[False, True, True, True], ignore_index=True).head(_MOST)


def waits(facts: Facts) -> pd.DataFrame:
    """Return what waits for people."""
    rows = [
        (case.run["workflow"], step["id"], step["type"], case.id, moment(step["started_at"]), _due(case, step["id"]))
        for case in facts.cases.values()
        if case.run["finished_at"] is None
        for step in case.run.get("steps") or ()
        if step["status"] == "waiting" and step["type"] in _PEOPLE
    ]
    found = pd.DataFrame(rows, columns=["workflow", "step", "type", "run", "since", "due_at"])
    made = (
        found.sort_values(["since", "run"])
        .groupby(["workflow", "step", "type"])
        .agg(runs=("run", "size"), since=("since", "min"), due_at=("due_at", "min"), example_run=("run", "first"))
    )
    order = ["runs", "workflow", "step"]
    return made.reset_index().sort_values(order, ascending=[False, True, True], ignore_index=True)


def _said(case: Case) -> Iterator[tuple[str, str]]:
    for key, value in (case.run["labels"] or {}).items():
        yield f"label {key}", str(value)[:_LONGEST]
    given = case.run["input"]
    for key, value in given.items() if isinstance(given, dict) else ():
        if isinstance(value, dict):
            yield from ((f"input.{key}.{name}", _text(one)) for name, one in value.items() if _plain(one))
        elif _plain(value):
            yield f"input.{key}", _text(value)


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _text(value: Any) -> str:
    return str(value).lower()[:_LONGEST] if isinstance(value, bool) else str(value)[:_LONGEST]


def _due(case: Case, step: str) -> Any:
    told = [event for event in case.events if event["type"] == "step.waiting" and event["step"] == step]
    due = told[-1]["data"].get("due_at") if told else None
    return None if due is None else moment(due)
