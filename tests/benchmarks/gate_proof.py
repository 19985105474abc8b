"""Whether a gate was ever too full: how many of its runs were active after each commit, from what was committed.

The clock in the rows cannot say it: two transactions read it in another order than they commit. The order of commits
is the one that Postgres notes for each transaction. A run is admitted only for a place that was seen to be free, so
whatever freed the place committed, and was noted, before; and no order of two that did not see each other can make the
sum too large when each of them was right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from tests.benchmarks.results import Failed

#: What each transaction did to the number of active runs: those it started less those it ended.
CHANGES = """
SELECT pg_xact_commit_timestamp(e.xmin) AS committed_at,
       sum(CASE item ->> 'type' WHEN 'workflow.started' THEN 1 ELSE -1 END)::int AS change
FROM workflows w JOIN runs r ON r.workflow_id = w.id JOIN run_events e ON e.run_id = r.id,
     json_array_elements(e.events) AS item
WHERE w.name = %s AND item ->> 'type' IN
      ('workflow.started', 'workflow.completed', 'workflow.failed', 'workflow.cancelled')
GROUP BY e.xmin::text, committed_at
"""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the history says."""

    #: The greatest number of runs that were active at once.
    most: int
    #: The commits that started or ended runs, after each of which was counted.
    commits: int


def prove(changes: Sequence[tuple[datetime, int]]) -> Proof:
    """Add up what transactions changed, in the order in which they committed."""
    active = most = 0
    for _, change in sorted(changes):
        active += change
        most = max(most, active)
    if active:
        raise Failed(f"{active} runs are still active: the history is not complete")
    return Proof(most, len(changes))


def look(connection: psycopg.Connection[tuple[Any, ...]], workflow: str) -> Proof:
    """Read the history of a workflow's runs, all of which have ended."""
    return prove([(at, change) for at, change in connection.execute(CHANGES, (workflow,)).fetchall()])
