"""What errors, traits and open questions say of a cause; the rest of detectors.py, and as pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pandas as pd

from flowforge.forensics import frames
from flowforge.forensics.detectors import Finding, brief
from flowforge.model.card import span

#: Errors of a kind that have to be there.
SEVERAL = 3
#: A trait is shared by what failed: share of all that failed, failing rate with it and without it.
SHARED, FAILING, SPARED = 0.9, 0.8, 0.2
#: One value floods a workflow: its share of the runs.
FLOOD = 0.6
#: Seconds after which somebody should have answered.
LONG = 3600.0

_MEMORY = re.compile(r"MemoryError|SIGKILL|[Oo]ut of memory|[Cc]annot allocate memory")
_MISSING = re.compile(r"has no '|is not defined")
_READING = ("EXPRESSION_ERROR", "OUTPUT_ERROR")


def rate_limited(clusters: pd.DataFrame) -> Iterator[Finding]:
    """Steps that are told to ask less often."""
    for row in frames.rows(clusters[(clusters["code"] == "HTTP_429") & (clusters["count"] >= SEVERAL)]):
        what = (
            f"{_place(row)} asks more often than it is allowed to: {row.count} attempts were answered 429, "
            f"{row.final} of them for good, {_when(row)}; trying again adds to it."
        )
        doing = "lower concurrency.limit of the workflow; spread retries: backoff exponential, jitter, longer delays"
        yield _finding("rate_limited", 0.88, row, what, doing)


def unreachable(clusters: pd.DataFrame) -> Iterator[Finding]:
    """Steps whose other side is not there at all."""
    refused = clusters["message"].fillna("").str.contains(": cannot connect", regex=False)
    for row in frames.rows(clusters[(clusters["code"] == "NETWORK") & refused & (clusters["count"] >= SEVERAL)]):
        what = f"What {_place(row)} calls cannot be reached: {row.count} attempts, {_when(row)}: {brief(row.message)}"
        yield _finding(
            "unreachable", 0.85, row, what, "is it up, is its address right, does the network let it through?"
        )


def out_of_memory(clusters: pd.DataFrame) -> Iterator[Finding]:
    """Functions that take more memory than they are given."""
    for row in frames.rows(_saying(clusters, _MEMORY)):
        what = (
            f"{_place(row)} runs out of memory, or is killed as if it did: {row.count} attempts, {row.final} of them "
            f"for good, {_when(row)}: {brief(row.message)}"
        )
        doing = "give it smaller parts, or more: FLOWFORGE_PYTHON_MEMORY_BYTES; dmesg names what the system has killed"
        yield _finding("out_of_memory", 0.9, row, what, doing)


def missing_field(clusters: pd.DataFrame, latency: pd.DataFrame) -> Iterator[Finding]:
    """Steps that read what those before them do not give any more."""
    reading = clusters[clusters["code"].isin(_READING)]
    for row in frames.rows(_saying(reading, _MISSING)):
        steps = set(str(row.steps).split(", "))
        same = latency[latency["workflow"].isin(str(row.workflows).split(", ")) & latency["step"].isin(steps)]
        well = int((same["attempts"] - same["failed"]).sum())
        before = f"; {well} other attempts found it, so what gives it has changed" if well else ""
        what = (
            f"{_place(row)} reads what is not there, {_times(row.count)}, {_when(row)}: {brief(row.message)}{before}."
        )
        doing = f"flowforge show {row.example_run}; compare with a run that went well: notebooks/03_good_vs_bad"
        yield _finding("missing_field", 0.78, row, what, doing)


def common_trait(traits: pd.DataFrame) -> Iterator[Finding]:
    """What all runs that failed were started with, and those that did not were not."""
    for workflow, some in frames.groups(traits, "workflow"):
        failed = (some["failed"] + some["others_failed"]).astype("float64")
        telling = (
            (some["failed"] >= SEVERAL)
            & (some["failed"] / failed >= SHARED)
            & (some["failure_rate"] >= FAILING)
            & (some["others_rate"] <= SPARED)
        )
        found = some[telling.fillna(value=False)]
        if found.empty:
            continue
        first: Any = next(frames.rows(found))
        names = ", ".join(f"{row.trait} = {brief(row.value, 40)}" for row in frames.rows(found.head(3)))
        what = (
            f"The runs of {workflow} that failed have something in common: {names}; {first.failed} of "
            f"{first.completed + first.failed} with it failed, {first.others_rate:.0%} of those without."
        )
        doing = f"flowforge show {first.example_failed}; who starts runs with it?"
        yield Finding("common_trait", 0.74, str(workflow), None, what, int(first.failed), first.example_failed, doing)


def flood(traits: pd.DataFrame, gates: pd.DataFrame, starving: set[Any]) -> Iterator[Finding]:
    """Who takes most of the places that runs wait for."""
    for workflow, some in frames.groups(traits[traits["workflow"].isin(starving)], "workflow"):
        several = some[some.groupby("trait")["share"].transform("max") < 1]
        most = several[several["share"] >= FLOOD].head(1)
        waited = gates.loc[gates["workflow"] == workflow, "wait_sum_s"].sum()
        for row in frames.rows(most):
            what = (
                f"{row.runs} runs of {workflow}, {row.share:.0%} of all, have {row.trait} = {brief(row.value, 40)}: "
                f"they take the places that all runs together waited {span(float(waited))} for."
            )
            doing = f"a gate for each: concurrency.key from {row.trait}, so that one cannot crowd out the others"
            yield Finding("flood", 0.88, str(workflow), None, what, int(row.runs), None, doing)


def waits_for_people(waits: pd.DataFrame) -> Iterator[Finding]:
    """Approvals and signals that nobody gives."""
    for row in frames.rows(waits):
        weight = 0.85 if row.waited_s >= LONG else 0.66 if row.runs >= SEVERAL else 0.45
        kind = "an approval" if row.type == "approval" else "a signal"
        due = "" if pd.isna(row.due_at) else f"; the first stops waiting at {row.due_at:%Y-%m-%d %H:%M:%S}"
        what = (
            f"{row.runs} run{'s wait' if row.runs > 1 else ' waits'} for {kind} at {row.workflow}/{row.step}, for up "
            f"to {span(float(row.waited_s))}{due}: nobody has answered."
        )
        how = "approve" if row.type == "approval" else "signal"
        doing = (
            f"flowforge {how} {row.example_run} {row.step if how == 'approve' else 'NAME'}; who should have been told?"
        )
        yield Finding("waits_for_people", weight, row.workflow, row.step, what, int(row.runs), row.example_run, doing)


def dispatch_lost(lag: pd.DataFrame) -> Iterator[Finding]:
    """Dispatches that nobody took, so that they had to be repeated."""
    again = lag[lag["repeated"].fillna(0) > 0]
    if not again.empty:
        count, most = int(again["repeated"].sum()), float(again["max_s"].max())
        what = (
            f"{count} dispatches were repeated, {again['at'].min():%H:%M:%S} and later, because nobody had taken them "
            f"for long (up to {span(most)}): the streams lost what they had, or nobody served the queue."
        )
        doing = "flowforge doctor; was Redis emptied or restarted without persistence? flowforge worker ls"
        yield Finding("dispatch_lost", 0.82, None, None, what, count, None, doing)


def _finding(cause: str, weight: float, row: Any, what: str, doing: str) -> Finding:
    return Finding(cause, weight, row.workflows, row.steps, what, int(row.count), row.example_run, doing)


def _saying(clusters: pd.DataFrame, words: re.Pattern[str]) -> pd.DataFrame:
    return clusters[clusters["message"].fillna("").map(lambda text: bool(words.search(text))).astype(bool)]


def _place(row: Any) -> str:
    return f"{row.workflows}/{row.steps}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _when(row: Any) -> str:
    return f"from {row.first_seen:%H:%M:%S} to {row.last_seen:%H:%M:%S}"
