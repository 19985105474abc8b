"""What waits and where: queues, gates, and the way from the outbox to a worker."""

from __future__ import annotations

from typing import Any, Unpack

import pandas as pd

from flowforge.forensics import frames, tallies
from flowforge.forensics.filters import Filters, Given, Moment, Runs
from flowforge.forensics.frames import number, seconds, text, time
from flowforge.forensics.source import Question, Source, ask
from flowforge.forensics.widths import width
from flowforge.store.forensics import statements

QUEUE_DEPTH = {
    "at": time("beginning of the bucket"),
    "queue": text("the queue"),
    "queued": number("attempts dispatched in the bucket"),
    "started": number("attempts that a worker began"),
    "depth": number("attempts that wait for a worker at the end of the bucket"),
    "running": number("attempts being executed at the end of the bucket"),
}
OUTBOX_LAG = {
    "at": time("beginning of the bucket, by when steps were dispatched"),
    "dispatched": number("dispatches committed with their transition"),
    "delivered": number("of them begun by a worker"),
    "p50_s": seconds("from committed to begun, median"),
    "p95_s": seconds("from committed to begun, 95th percentile"),
    "max_s": seconds("from committed to begun, the longest"),
    "repeated": number("dispatched again, because nobody had taken them; missing in bundles"),
    "unpublished": number("of them still in the outbox, now"),
    "oldest_s": seconds("age of the oldest of those"),
}
GATES = {
    "workflow": text("the workflow"),
    "key": text("key of the gate; empty: one gate for the whole workflow, or none"),
    "limit": number("runs that the gate lets in at a time; missing: no gate"),
    "runs": number("runs that lived in the window"),
    "waiting": number("of them still waiting"),
    "active": number("of them in"),
    "wait_p50_s": seconds("from accepted to let in, median; up to now for those that wait"),
    "wait_p95_s": seconds("from accepted to let in, 95th percentile"),
    "wait_max_s": seconds("from accepted to let in, the longest"),
    "wait_sum_s": seconds("from accepted to let in, all together"),
    "active_p50_s": seconds("from let in to ended, median"),
    "active_max_s": seconds("from let in to ended, the longest; up to now for one that is in"),
    "longest_holder": text("the run that was in for longest"),
    "holder_status": text("where that one stands"),
}

_DEPTH = Question(statements.QUEUE_DEPTH, tallies.queue_depth, grows=("count",))
_LAG = Question(statements.OUTBOX_LAG, tallies.outbox_lag, grows=("dispatched", "delivered", "repeated"))
_GATES = Question(statements.GATES, tallies.gates)


def queue_depth(
    since: Moment = None,
    *,
    runs: Runs = None,
    bucket: str = "1m",
    source: Source | None = None,
    **filters: Unpack[Filters],
) -> pd.DataFrame:
    """Return how many attempts waited and ran over time, by queue. Columns: `fx.columns("queue_depth")`."""
    given: Given = {"since": since, "runs": runs, **filters}
    found = ask(_DEPTH, given, source, bucket=width(bucket))
    if found.empty:
        return frames.frame([], QUEUE_DEPTH)
    begun = found["count"].where(found["started_at"].notna(), 0)
    changes = pd.concat(
        [
            _changes(found, "queued_at", queued=found["count"], waiting=found["count"]),
            _changes(
                found.assign(at=found["started_at"].fillna(found["ended_at"])), "at", started=begun, running=begun
            ).assign(waiting=-found["count"]),
            _changes(found[found["started_at"].notna()], "ended_at", running=-found["count"]),
        ]
    )
    made = changes.dropna(subset="at").groupby(["queue", "at"], as_index=False).sum()
    made["depth"] = made.groupby("queue")["waiting"].cumsum()
    made["running"] = made.groupby("queue")["running"].cumsum()
    return frames.noted(frames.frame(made, QUEUE_DEPTH), found)


def _changes(found: pd.DataFrame, at: str, **counts: Any) -> pd.DataFrame:
    none = {"queued": 0, "started": 0, "waiting": 0, "running": 0}
    return pd.DataFrame({"at": found[at], "queue": found["queue"], **none}).assign(**counts)


def outbox_lag(
    since: Moment = None,
    *,
    runs: Runs = None,
    bucket: str = "1m",
    source: Source | None = None,
    **filters: Unpack[Filters],
) -> pd.DataFrame:
    """Return how long committed dispatches took to reach a worker, and what lies in the outbox now.

    The outbox is emptied by what publishes it, so its past is told by the steps: the time from committed to begun holds
    the relay, the stream, and the wait for a free worker. Columns: `fx.columns("outbox_lag")`.
    """
    given: Given = {"since": since, "runs": runs, **filters}
    return frames.frame(ask(_LAG, given, source, bucket=width(bucket)), OUTBOX_LAG)


def gates(
    since: Moment = None, *, runs: Runs = None, source: Source | None = None, **filters: Unpack[Filters]
) -> pd.DataFrame:
    """Return how long runs waited to be let in, by workflow and gate, the most waiting first.

    Columns: `fx.columns("gates")`.
    """
    given: Given = {"since": since, "runs": runs, **filters}
    return frames.frame(ask(_GATES, given, source), GATES)
