"""Findings: what the figures of a window come to, in words, the weightiest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from html import escape
from typing import Any, Unpack

import pandas as pd

from flowforge.errors import UsageError
from flowforge.forensics import causes, detectors, frames
from flowforge.forensics.detectors import Finding
from flowforge.forensics.effects import duplicates, repeated
from flowforge.forensics.failures import cluster_errors, errors
from flowforge.forensics.filters import Filters, Given, Moment, Runs
from flowforge.forensics.frames import number, share, text
from flowforge.forensics.latency import latency, trend
from flowforge.forensics.queues import gates, outbox_lag, queue_depth
from flowforge.forensics.runs import versions
from flowforge.forensics.sample import note
from flowforge.forensics.source import Source, current
from flowforge.forensics.storms import retry_storms
from flowforge.forensics.traits import traits, waits
from flowforge.forensics.workers import lease_expiries

FINDINGS = {
    "cause": text(
        "retry_storm, worker_lost, poison_step, gate_starvation, bad_deploy, slow_dependency, duplicate_effects, "
        "duplicate_starts, queue_backlog, outbox_stuck, dispatch_lost, rate_limited, unreachable, out_of_memory, "
        "missing_field, common_trait, flood, waits_for_people, error_cluster, failed_step …; nothing"
    ),
    "weight": share("how much it explains, between 0 and 1; the weightiest first"),
    "workflow": text("where"),
    "step": text("where"),
    "what": text("the evidence, as a sentence"),
    "count": number("attempts, runs or effects it is about"),
    "example_run": text("a run to look at"),
    "next": text("what to do now"),
}

#: What `about` narrows findings to.
ABOUT = {
    "errors": {
        "retry_storm",
        "bad_deploy",
        "error_cluster",
        "poison_step",
        "rate_limited",
        "unreachable",
        "out_of_memory",
        "missing_field",
        "common_trait",
    },
    "latency": {"slow_dependency", "gate_starvation", "queue_backlog", "flood", "waits_for_people", "dispatch_lost"},
    "delivery": {
        "worker_lost",
        "poison_step",
        "duplicate_effects",
        "duplicate_starts",
        "outbox_stuck",
        "dispatch_lost",
        "queue_backlog",
    },
}


def findings(
    since: Moment = None,
    *,
    runs: Runs = None,
    about: str | None = None,
    effects: pd.DataFrame | None = None,
    source: Source | None = None,
    **filters: Unpack[Filters],
) -> pd.DataFrame:
    """Return what happened in a window, recognised from its figures, the weightiest first.

    *about* narrows it: errors, latency, delivery. *effects* is the other side's list, as for `fx.duplicates`. Columns:
    `fx.columns("findings")`. `fx.tell` turns them into sentences.
    """
    if about is not None and about not in ABOUT:
        raise UsageError(f"findings are not about '{about}'", hint=f"about: {', '.join(ABOUT)}")
    chosen = source or current()
    given: Given = {"since": since, "runs": runs, **filters}
    times = latency(source=chosen, **given)
    found = list(_window(given, effects, chosen, times))
    if about is not None:
        found = [one for one in found if one.cause in ABOUT[about]]
    return frames.noted(made(found or [_nothing(given, chosen)]), times)


def made(found: Iterable[Finding]) -> pd.DataFrame:
    """Return findings as a frame, the weightiest first."""
    frame = frames.frame([asdict(one) for one in found], FINDINGS)
    order = ["weight", "count", "cause", "what"]
    return frame.sort_values(order, ascending=[False, False, True, True], ignore_index=True, kind="stable")


class Told:
    """Findings as sentences: a list in a notebook, lines elsewhere."""

    def __init__(self, found: pd.DataFrame) -> None:
        self.found = found

    @property
    def causes(self) -> list[str]:
        """The causes, the weightiest first."""
        return list(dict.fromkeys(self.found["cause"]))

    def __str__(self) -> str:
        lines = [f"- [{row.cause}] {row.what}\n  next: {row.next}" for row in frames.rows(self.found)]
        return "\n".join([*lines, *self._note])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        items = [
            f"<li style='margin:4px 0'><b>{escape(str(row.cause)).replace('_', ' ')}</b>: {escape(str(row.what))}"
            f"<br><span style='color:#666'>next: {escape(str(row.next))}</span></li>"
            for row in frames.rows(self.found)
        ]
        notes = [f"<p style='color:#666'>{escape(note)}</p>" for note in self._note]
        return (
            f"<ol class='tex2jax_ignore mathjax_ignore' style='max-width:860px'>{''.join(items)}</ol>{''.join(notes)}"
        )

    @property
    def _note(self) -> list[str]:
        found = note(self.found)
        return [] if found is None else [f"Times and storms are {found}; all else is exact."]


def tell(found: pd.DataFrame) -> Told:
    """Return findings as sentences."""
    return Told(found)


def _window(given: Given, effects: pd.DataFrame | None, source: Source, times: pd.DataFrame) -> Iterator[Finding]:
    how: Any = {**given, "source": source}
    held, lag, common = gates(**how), outbox_lag(**how), traits(**how)
    clusters = cluster_errors(errors(**how))
    yield from detectors.worker_lost(lease_expiries(**how))
    yield from detectors.duplicate_effects(duplicates(effects=effects, **how))
    yield from detectors.bad_deploy(versions(**how))
    starved = list(detectors.gate_starvation(held))
    yield from starved
    yield from causes.flood(common, held, {one.workflow for one in starved})
    yield from detectors.retry_storm(retry_storms(**how))
    yield from detectors.slow_dependency(trend(**how), times)
    yield from detectors.queue_backlog(times, queue_depth(**how))
    yield from detectors.outbox_stuck(lag)
    yield from causes.dispatch_lost(lag)
    for recognised in (causes.rate_limited, causes.unreachable, causes.out_of_memory):
        yield from recognised(clusters)
    yield from causes.missing_field(clusters, times)
    yield from causes.common_trait(common)
    yield from causes.waits_for_people(waits(**how))
    yield from detectors.error_cluster(clusters)
    yield from detectors.duplicate_starts(repeated(**how))


def _nothing(given: Given, source: Source) -> Finding:
    found = versions(source=source, **given)
    runs, failed = int(found["runs"].sum()), int(found["failed"].sum())
    what = (
        "No run lived in this window." if not runs else f"Nothing stands out in {runs} runs, {failed} of them failed."
    )
    return Finding("nothing", 0.0, None, None, what, runs, None, "widen the window: since='24h'")
