"""What is seen of many things at once: runs on one line each, what workers have, what waits to be published.

Read-only, and asked several times a second by whoever watches: every statement goes by keys, and none reads the inputs
or outputs of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flowforge.store.database import Connection

RUNS = """
SELECT r.id, w.name, v.version, r.status::text, r.trigger, r.created_at, r.started_at, r.finished_at, r.labels,
       r.error, r.seq, r.version_id
FROM runs r JOIN workflow_versions v ON v.id = r.version_id JOIN workflows w ON w.id = r.workflow_id
WHERE r.id = ANY(%b::uuid[]) ORDER BY r.id DESC
"""

#: Of the steps that are not over, the one that says most: it runs, it waits, it is queued, or it has failed.
STEPS = """
SELECT k.run_id, a.done, a.waited, a.queued_at, n.step_no, n.status::text, n.attempt, n.due_at, n.label, n.worker,
       n.error IS NOT NULL
FROM unnest(%b::uuid[], %b::int4[]) AS k (run_id, size)
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE s.step_no < k.size AND s.status IN ('completed', 'skipped', 'compensated')),
           sum(s.started_at - s.queued_at) FILTER (WHERE s.started_at >= s.queued_at),
           min(s.queued_at) FILTER (WHERE s.status = 'queued')
    FROM steps s WHERE s.run_id = k.run_id
) AS a (done, waited, queued_at)
LEFT JOIN LATERAL (
    SELECT s.step_no, s.status, s.attempt, s.due_at, s.label, s.worker, s.error FROM steps s
    WHERE s.run_id = k.run_id AND s.status IN ('running', 'waiting', 'queued', 'failed')
    ORDER BY array_position(ARRAY['running', 'waiting', 'queued', 'failed']::step_status[], s.status),
             s.started_at DESC, s.step_no
    LIMIT 1
) AS n ON true
"""

#: Failures are counted among the newest thousands: nobody waits for an exact count of more.
#: What has not ended is asked for by `finished_at`: that has an index, a list of states has none.
PULSE = """
SELECT clock_timestamp(), current_setting('server_version'),
    (SELECT count(*) FROM runs WHERE finished_at IS NULL),
    (SELECT count(*) FROM (SELECT finished_at FROM runs WHERE status = 'failed' ORDER BY id DESC LIMIT 5000) AS newest
     WHERE finished_at > clock_timestamp() - interval '1 hour'),
    (SELECT count(*) FROM incidents WHERE resolved_at IS NULL),
    (SELECT count(*) FROM workers WHERE status <> 'stopped' AND seen_at > clock_timestamp() - lease)
"""

HELD = """
SELECT s.worker, s.run_id, r.version_id, w.name, s.step_no, s.started_at, s.due_at, s.due_at < clock_timestamp()
FROM (SELECT id, version_id, workflow_id FROM runs
      WHERE finished_at IS NULL AND status IN ('running', 'paused', 'cancelling', 'compensating')
      ORDER BY id DESC LIMIT 2000) AS r
JOIN workflows w ON w.id = r.workflow_id JOIN steps s ON s.run_id = r.id
WHERE s.status = 'running' ORDER BY s.started_at
"""

WAITS = """
SELECT r.version_id, s.step_no, s.started_at - s.queued_at
FROM (SELECT id, version_id FROM runs ORDER BY id DESC LIMIT 300) AS r JOIN steps s ON s.run_id = r.id
WHERE s.started_at >= s.queued_at
"""

UNPUBLISHED = "SELECT lane, count(*) FROM outbox GROUP BY lane"
UNPUBLISHED_SINCE = """
SELECT s.queued_at FROM (SELECT run_id, step_no FROM outbox ORDER BY id LIMIT 1) AS o
JOIN steps s ON s.run_id = o.run_id AND s.step_no = o.step_no
"""


async def runs(connection: Connection, run_ids: Sequence[UUID]) -> list[Any]:
    """Return rows of runs, newest first; the last column is their version's id."""
    return await _rows(connection, RUNS, (list(run_ids),))


async def steps(connection: Connection, run_ids: Sequence[UUID], sizes: Sequence[int]) -> list[Any]:
    """Return for each run what its steps come to; *sizes* are how many its version has."""
    return await _rows(connection, STEPS, (list(run_ids), list(sizes)))


async def pulse(connection: Connection) -> Any:
    """Return the time, the server's version, and counts of runs, incidents and workers."""
    (row,) = await _rows(connection, PULSE)
    return row


async def held(connection: Connection) -> list[Any]:
    """Return the attempts that workers have, oldest first."""
    return await _rows(connection, HELD)


async def waits(connection: Connection) -> list[tuple[int, int, timedelta]]:
    """Return (version, step number, time) of how long steps of the newest runs waited for a worker."""
    return await _rows(connection, WAITS)


async def unpublished(connection: Connection) -> tuple[dict[str, int], datetime | None]:
    """Return what lies in the outbox, by lane, and since when the oldest of it does."""
    counts = dict(await _rows(connection, UNPUBLISHED))
    since = await _rows(connection, UNPUBLISHED_SINCE) if counts else []
    return counts, since[0][0] if since else None


async def _rows(connection: Connection, statement: str, values: Sequence[Any] = ()) -> list[Any]:
    return await (await connection.cursor(binary=True).execute(statement, values)).fetchall()
