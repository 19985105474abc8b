"""What may be stuck in an installation, counted in sets: a line for each kind of it, however many there are.

Read-only. Runs under way are found by the index of those, their steps by key; what has ended is never looked at.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from flowforge.model.circumstances import GateGroup, RunGroup
from flowforge.store.database import Connection

#: What is due for less is about to be looked at.
_GRACE = "interval '2 seconds'"

#: One pass over the steps of runs under way, grouped before anything is joined to it. A label is asked for where it
#: says what is waited for: the number of a foreach's items would make a group of each.
STEPS = f"""
SELECT w.name, open.version_id, open.step_no, open.status::text, open.paused, open.worker, open.code, open.label,
       open.over, open.many, open.since, open.due, open.run
FROM (
    SELECT r.workflow_id, r.version_id, s.step_no, s.status, r.status = 'paused' AS paused,
           CASE WHEN s.status = 'running' THEN s.worker END AS worker,
           CASE WHEN s.status = 'waiting' THEN s.error ->> 'code' END AS code,
           CASE WHEN s.status = 'waiting' AND s.error IS NULL AND s.label !~ '^[0-9]+$' THEN s.label END AS label,
           coalesce(s.status <> 'queued' AND s.due_at < clock_timestamp() - {_GRACE}, false) AS over,
           count(*)::int4 AS many, min(CASE WHEN s.status = 'queued' THEN s.queued_at ELSE s.started_at END) AS since,
           min(s.due_at) AS due, (array_agg(r.id))[1] AS run
    FROM runs r JOIN steps s ON s.run_id = r.id
    WHERE r.finished_at IS NULL AND r.status IN ('running', 'paused', 'cancelling', 'compensating')
      AND s.status IN ('queued', 'running', 'waiting')
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
) AS open JOIN workflows w ON w.id = open.workflow_id
"""  # noqa: S608 - constants only

_IN = "h.finished_at IS NULL AND h.status IN ('running', 'paused', 'cancelling', 'compensating')"

GATES = f"""
SELECT w.name, g.key, g.max_active, held.active, held.paused, waiting.count, waiting.since,
       oldest.id, oldest.status::text, oldest.started_at
FROM (
    SELECT gate_id, count(*)::int4 AS count, min(created_at) AS since FROM runs
    WHERE gate_id IS NOT NULL AND finished_at IS NULL AND status = 'pending'
    GROUP BY gate_id ORDER BY count(*) DESC LIMIT %b::int4
) AS waiting
JOIN gates g ON g.id = waiting.gate_id JOIN workflows w ON w.id = g.workflow_id
CROSS JOIN LATERAL (
    SELECT count(*)::int4 AS active, (count(*) FILTER (WHERE h.status = 'paused'))::int4 AS paused
    FROM runs h WHERE h.gate_id = g.id AND {_IN}
) AS held
LEFT JOIN LATERAL (
    SELECT h.id, h.status, h.started_at FROM runs h WHERE h.gate_id = g.id AND {_IN} ORDER BY h.started_at LIMIT 1
) AS oldest ON true
ORDER BY waiting.count DESC
"""  # noqa: S608 - constants only

#: Those that wait at a gate are counted there.
RUNS = """
SELECT w.name, r.status, r.count, r.since, r.run FROM (
    SELECT workflow_id, status::text, count(*)::int4, min(created_at) AS since, (array_agg(id))[1] AS run FROM runs
    WHERE finished_at IS NULL AND status IN ('paused', 'cancelling') GROUP BY workflow_id, status
    UNION ALL
    SELECT workflow_id, 'pending', count(*)::int4, min(created_at), (array_agg(id))[1] FROM runs
    WHERE gate_id IS NULL AND finished_at IS NULL AND status = 'pending' GROUP BY workflow_id
) AS r (workflow_id, status, count, since, run) JOIN workflows w ON w.id = r.workflow_id
ORDER BY r.count DESC
"""

ACTIVE = "SELECT count(*), clock_timestamp() FROM runs WHERE finished_at IS NULL"
INCIDENTS = "SELECT count(*) FROM incidents WHERE resolved_at IS NULL"

#: Gates that are told, those with the longest lines.
MOST_GATES = 100


class StepRow(NamedTuple):
    """Open steps that are alike."""

    workflow: str
    version_id: int
    step_no: int
    status: str
    #: Their runs are held.
    paused: bool
    #: Who executes them, if somebody does.
    worker: str | None
    code: str | None
    label: str | None
    over: bool
    many: int
    since: datetime | None
    due: datetime | None
    run: UUID


async def steps(connection: Connection) -> list[StepRow]:
    """Return the open steps of runs under way, in groups."""
    cursor = await connection.cursor(binary=True).execute(STEPS)
    return [StepRow(*row) for row in await cursor.fetchall()]


async def gates(connection: Connection) -> list[GateGroup]:
    """Return the gates at which runs wait, the longest lines first."""
    cursor = await connection.cursor(binary=True).execute(GATES, (MOST_GATES,))
    found = await cursor.fetchall()
    return [_gate([*row[:7], None if row[7] is None else (row[7], row[8], row[9])]) for row in found]


def _gate(values: list[Any]) -> GateGroup:
    return GateGroup(*values)


async def runs(connection: Connection) -> list[RunGroup]:
    """Return runs that are held or wait as a whole, by workflow."""
    cursor = await connection.cursor(binary=True).execute(RUNS)
    return [RunGroup(*row) for row in await cursor.fetchall()]


async def active(connection: Connection) -> tuple[int, datetime]:
    """Return how many runs have not ended, and the server's time."""
    row = await (await connection.cursor(binary=True).execute(ACTIVE)).fetchone()
    assert row is not None
    return row[0], row[1]


async def incidents(connection: Connection) -> int:
    """Return how many incidents are open."""
    row = await (await connection.cursor(binary=True).execute(INCIDENTS)).fetchone()
    return 0 if row is None else int(row[0])
