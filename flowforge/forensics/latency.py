"""How long attempts waited and ran: percentiles, and how they changed over the window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import pandas as pd

from flowforge.errors import UsageError
from flowforge.forensics import frames, tallies
from flowforge.forensics.filters import Filters, Given, Moment, Runs
from flowforge.forensics.frames import Columns, number, seconds, share, text, time
from flowforge.forensics.quantiles import quantiles
from flowforge.forensics.source import Question, Source, ask
from flowforge.store.forensics import statements

QUANTILES = (0.5, 0.95, 0.99)
KEYS = ["workflow", "version", "step", "worker"]


def latency_columns(q: Sequence[float] = QUANTILES) -> Columns:
    """Return the columns of a frame of latencies: two for each quantile."""
    found = {
        "workflow": text("the workflow"),
        "version": number("its version, by version"),
        "step": text("the step, by step and by version; items of a foreach together"),
        "worker": text("the worker, by worker"),
        "attempts": number("attempts that began"),
        "failed": number("of them failed, whether another one followed or not"),
        "timeouts": number("of them ran out of time"),
    }
    for name, words in (
        ("queue", "from dispatched to begun"),
        ("exec", "from begun to settled, without what was lost"),
    ):
        found |= {f"{name}_{_label(one)}_s": seconds(f"{words}, {one:g} quantile") for one in q}
        found |= {f"{name}_max_s": seconds(f"{words}, the longest"), f"{name}_sum_s": seconds(f"{words}, all together")}
    return {**found, "exec_share": share("part of all execution time")}


TREND = {
    "workflow": text("the workflow"),
    "step": text("the step"),
    "part": number("part of the window, from 1"),
    "since": time("when the first attempt of the part began"),
    "until": time("when the last one began"),
    "attempts": number("attempts that began in the part and have ended"),
    "exec_p50_s": seconds("median from begun to settled"),
    "queue_p50_s": seconds("median from dispatched to begun"),
}

_GROWS = ("count", "failed", "timeouts", "queue_sum", "exec_sum")
_LATENCY = {
    by: Question(statement, lambda facts, by=by: tallies.latency(facts, by=by), grows=_GROWS)
    for by, statement in statements.LATENCY.items()
}
_TREND = Question(statements.TREND, tallies.trend, grows=("count",))


def latency(
    runs: Runs = None,
    *,
    since: Moment = None,
    by: str = "step",
    q: Sequence[float] = QUANTILES,
    source: Source | None = None,
    **filters: Unpack[Filters],
) -> pd.DataFrame:
    """Return percentiles of queue and execution times, what took longest in all first.

    *by* is step, workflow, version (of a step) or worker. Postgres counts times to three digits, so that quantiles of
    millions take seconds; of more than 100,000 runs some are asked, and `attrs["sampled"]` says so.
    Columns: `fx.columns("latency")`; those of other quantiles are named alike, `exec_p90_s` for 0.9.
    """
    if by not in _LATENCY:
        raise UsageError(f"latencies are not grouped by '{by}'", hint=f"by: {', '.join(_LATENCY)}")
    if not q or not all(0 <= one <= 1 for one in q):
        raise UsageError("q is a list of numbers between 0 and 1", hint="q=[0.5, 0.95, 0.99]")
    given: Given = {"since": since, "runs": runs, **filters}
    found = ask(_LATENCY[by], given, source)
    groups: Any = [] if found.empty else found.groupby(KEYS, dropna=False)
    rows = [_row(dict(zip(KEYS, key, strict=True)), some, q) for key, some in groups]
    rows.sort(key=lambda row: -row["exec_sum_s"])
    made = frames.noted(frames.frame(rows, latency_columns(q)), found)
    total = made["exec_sum_s"].sum()
    made["exec_share"] = made["exec_sum_s"] / total if total else 0.0
    return made


def trend(
    runs: Runs = None, *, since: Moment = None, parts: int = 6, source: Source | None = None, **filters: Unpack[Filters]
) -> pd.DataFrame:
    """Return how long steps took over time: medians in equal parts of the window; steps that only wait are left out.

    Columns: `fx.columns("trend")`.
    """
    given: Given = {"since": since, "runs": runs, **filters}
    found = ask(_TREND, given, source, parts=parts)
    groups: Any = [] if found.empty else found.groupby(["workflow", "step", "part"])
    return frames.noted(frames.frame([_part(key, some) for key, some in groups], TREND), found)


def _row(row: dict[str, Any], some: pd.DataFrame, q: Sequence[float]) -> dict[str, Any]:
    for name in ("queue", "exec"):
        row |= {f"{name}_{_label(one)}_s": took for one, took in zip(q, quantiles(some, q, name), strict=True)}
        row |= {
            f"{name}_max_s": some[f"{name}_max"].max(),
            f"{name}_sum_s": float(some[f"{name}_sum"].fillna(0.0).sum()),
        }
    counts = {"attempts": "count", "failed": "failed", "timeouts": "timeouts"}
    return row | {name: int(some[column].sum()) for name, column in counts.items()}


def _part(key: tuple[str, str, int], some: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(("workflow", "step", "part"), key, strict=True))
    row |= {f"{name}_p50_s": quantiles(some, [0.5], name)[0] for name in ("exec", "queue")}
    return row | {"attempts": int(some["count"].sum()), "since": some["since"].min(), "until": some["until"].max()}


def _label(quantile: float) -> str:
    return f"p{quantile * 100:g}".replace(".", "_")
