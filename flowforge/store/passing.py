"""What an audit reads of work on its way: dispatches, leases, timers, room at gates, receipts that are due.

Read-only, a statement each. All of it is somewhere at any moment, so nothing here is wrong by itself: what is returned
has been due for a patience, in seconds of the database's clock, or says what a later look has to find again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.rows import dict_row

from flowforge.store import pauses
from flowforge.store.database import Connection
from flowforge.store.receipts import WITHOUT

#: Rows of one kind that an audit reads.
MOST = 10_000

#: Of a row `o` of the outbox: a worker that lives publishes its lane.
_SERVED = """EXISTS (
    SELECT FROM workers w, unnest(w.queues) AS q (name)
    WHERE w.status = 'active' AND w.seen_at > clock_timestamp() - w.lease
      AND o.lane IN (q.name, q.name || '.python'))"""

#: Dispatches that their step is past. One that was withdrawn before anybody took it (its step was cancelled, or is
#: dispatched anew) waits, as any other, until somebody serves its lane.
STALE = f"""
SELECT o.lane, o.id, o.run_id, s.status::text, o.dispatch_no, s.dispatch_no AS newest
FROM outbox o LEFT JOIN steps s ON s.run_id = o.run_id AND s.step_no = o.step_no
WHERE (s.run_id IS NULL OR s.status <> 'queued' OR s.dispatch_no <> o.dispatch_no)
  AND (s.status IS NULL OR s.status NOT IN ('pending', 'queued', 'cancelled', 'skipped') OR {_SERVED})
LIMIT %s
"""  # noqa: S608 - constants only
#: Dispatches that do not leave although their lane is served; where it is not, the queue has no worker.
LATE = f"""
SELECT o.run_id, o.lane, s.queued_at
FROM outbox o JOIN steps s ON s.run_id = o.run_id AND s.step_no = o.step_no AND s.dispatch_no = o.dispatch_no
WHERE s.status = 'queued' AND s.queued_at <= clock_timestamp() - make_interval(secs => %s) AND {_SERVED} LIMIT %s
"""  # noqa: S608 - constants only

#: A run that waits to be let in has no timers, and a paused one dispatches nothing: neither is overdue.
OVERDUE = """
SELECT r.id AS run_id, s.step_no, r.version_id, s.status::text, s.attempt, s.worker, s.due_at,
       clock_timestamp() AS now, (s.run_id, s.step_no) IN (SELECT o.run_id, o.step_no FROM outbox o) AS unpublished
FROM runs r JOIN steps s ON s.run_id = r.id
WHERE r.finished_at IS NULL AND r.status IN ('running', 'paused', 'cancelling', 'compensating')
  AND s.status IN ('running', 'waiting', 'queued')
  AND NOT (s.status = 'queued' AND r.status NOT IN ('running', 'compensating'))
  AND s.due_at < clock_timestamp() - make_interval(secs => %s)
LIMIT %s
"""

#: Who waits at a gate because its workflow is held is not waiting for room.
GATES = f"""
SELECT g.id, g.workflow_id, w.name || coalesce('/' || nullif(g.key, ''), '') AS name, g.max_active,
       count(*) FILTER (WHERE r.status IN ('running', 'paused', 'cancelling', 'compensating')) AS active,
       array_agg(r.id ORDER BY r.id)
           FILTER (WHERE r.status IN ('running', 'paused', 'cancelling', 'compensating')) AS runs,
       array_agg(r.id ORDER BY r.priority DESC, r.id)
           FILTER (WHERE r.status = 'pending' AND (w.id IN ({pauses.HELD_WORKFLOWS})) IS NOT TRUE) AS line
FROM gates g JOIN workflows w ON w.id = g.workflow_id JOIN runs r ON r.gate_id = g.id AND r.finished_at IS NULL
GROUP BY g.id, w.name
"""  # noqa: S608 - constants only

#: Ends without a receipt, among the newest and those that are said to be due. What is not said to be due is forgotten;
#: the others are in a line, and nobody comes to it if a worker has been here all the time and made none.
DUE = f"""
SELECT r.id, r.finished_at, (r.id, r.finished_at) IN (SELECT d.run_id, d.finished_at FROM receipts_due d) AS in_line
FROM (
    SELECT run_id AS id FROM receipts_due
    UNION (SELECT id FROM runs WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT %s)
) AS recent JOIN runs r USING (id)
WHERE {WITHOUT} AND r.finished_at < clock_timestamp() - make_interval(secs => %s) LIMIT %s
"""  # noqa: S608 - constants only
LINE_STANDS = """
SELECT EXISTS (SELECT FROM workers WHERE status = 'active' AND seen_at > clock_timestamp() - lease
               AND started_at < clock_timestamp() - make_interval(secs => %s))
   AND NOT EXISTS (SELECT FROM receipt_batches WHERE created_at > clock_timestamp() - make_interval(secs => %s))
"""

SEEN = "SELECT EXISTS (SELECT FROM workers WHERE seen_at > clock_timestamp() - make_interval(secs => %s))"


class Overdue(NamedTuple):
    """A step whose lease, timer or claim is overdue; the fields are the columns of the statement."""

    run_id: UUID
    step_no: int
    version_id: int
    #: running, waiting or queued
    status: str
    attempt: int
    worker: str | None
    due_at: datetime
    now: datetime
    #: A dispatch of it lies in the outbox.
    unpublished: bool


class Gate(NamedTuple):
    """A gate with runs; the fields are the columns of the statement."""

    id: int
    workflow_id: int
    name: str
    max_active: int
    active: int
    #: Those that are in.
    runs: list[UUID] | None
    #: Those that wait for room, the next one first.
    line: list[UUID] | None


async def _all(connection: Connection, query: str, *parameters: Any) -> list[dict[str, Any]]:
    cursor = connection.cursor(row_factory=dict_row)
    return await (await cursor.execute(query.encode(), parameters or None)).fetchall()


async def _said(connection: Connection, query: str, *parameters: Any) -> bool:
    row = await (await connection.execute(query.encode(), parameters)).fetchone()
    return bool(row and row[0])


async def stale(connection: Connection) -> list[dict[str, Any]]:
    """Return the dispatches in the outbox that their steps are past."""
    return await _all(connection, STALE, MOST)


async def late(connection: Connection, patience: float) -> list[dict[str, Any]]:
    """Return the dispatches that have been in the outbox for long."""
    return await _all(connection, LATE, patience, MOST)


async def overdue(connection: Connection, patience: float) -> list[Overdue]:
    """Return the steps that somebody should have looked at."""
    return [Overdue(**row) for row in await _all(connection, OVERDUE, patience, MOST)]


async def gates(connection: Connection) -> list[Gate]:
    """Return every gate at which there are runs."""
    return [Gate(**row) for row in await _all(connection, GATES)]


async def without_receipt(connection: Connection, patience: float) -> list[dict[str, Any]]:
    """Return runs that ended before the patience and have no receipt of that."""
    return await _all(connection, DUE, MOST, patience, MOST)


async def line_stands(connection: Connection, seconds: float) -> bool:
    """Say whether no receipt was made for so long although a worker was there."""
    return await _said(connection, LINE_STANDS, seconds, seconds)


async def seen_within(connection: Connection, seconds: float) -> bool:
    """Say whether any worker was there lately: it, or who comes after it, may be about to do what is left."""
    return await _said(connection, SEEN, seconds)
