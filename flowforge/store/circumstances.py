"""What may explain one run, read in sets; flowforge.model.explaining judges it.

Read-only, and nothing is locked: who asks why must not be a cause. All of it is read in one snapshot, which the caller
opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from flowforge.model.circumstances import Busy, GateFacts, LaneFacts, Told, WorkerFacts
from flowforge.model.event import EventType
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus
from flowforge.store import steps, workers
from flowforge.store.database import Connection
from flowforge.store.workers import WorkerRow

SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

RUN = """
SELECT r.id, w.name, v.version, r.version_id, r.status::text, r.created_at, r.started_at, r.finished_at, r.deadline_at,
       r.error, r.gate_id, r.priority, r.parent_run_id, r.parent_step_no, clock_timestamp()
FROM runs r JOIN workflow_versions v ON v.id = r.version_id JOIN workflows w ON w.id = r.workflow_id
WHERE r.id = %b::uuid
"""

KEPT = """
SELECT step_no, output FROM steps
WHERE run_id = %b::uuid AND status = 'waiting' AND error IS NULL AND label = 'approval'
"""

TOLD = """
SELECT seq, type, at, step, attempt, data FROM events WHERE run_id = %b::uuid AND type = ANY(%b::text[]) ORDER BY seq
"""

_IN = "r.finished_at IS NULL AND r.status IN ('running', 'paused', 'cancelling', 'compensating')"

GATE = f"""
SELECT g.key, g.max_active,
       (SELECT count(*) FROM runs r WHERE r.gate_id = g.id AND {_IN}),
       (SELECT count(*) FROM runs r WHERE r.gate_id = g.id AND r.finished_at IS NULL AND r.status = 'pending'
            AND (r.priority > %b::int2 OR (r.priority = %b::int2 AND r.id < %b::uuid))),
       (SELECT count(*) FROM runs r WHERE r.gate_id = g.id AND r.finished_at IS NULL AND r.status = 'pending')
FROM gates g WHERE g.id = %b::int8
"""  # noqa: S608 - constants only

HOLDERS = f"""
SELECT r.id, r.status::text, r.started_at FROM runs r WHERE r.gate_id = %b::int8 AND {_IN}
ORDER BY r.started_at, r.id LIMIT %b::int4
"""  # noqa: S608 - constants only

#: The newest run of each step that waits for one, and how likely it is to stand still until somebody does something: a
#: step that waits for a person or a signal has a label.
CHILDREN = """
SELECT DISTINCT ON (r.parent_step_no) r.parent_step_no, r.id, CASE
    WHEN r.status = 'paused' THEN 0
    WHEN EXISTS (SELECT FROM steps s WHERE s.run_id = r.id AND s.status = 'waiting' AND s.label IS NOT NULL) THEN 1
    WHEN r.status = 'pending' THEN 2
    WHEN EXISTS (SELECT FROM steps s WHERE s.run_id = r.id AND s.status = 'waiting') THEN 3
    WHEN EXISTS (SELECT FROM steps s WHERE s.run_id = r.id AND s.status = 'queued') THEN 4
    ELSE 5 END
FROM runs r
WHERE r.parent_run_id = %b::uuid AND r.parent_step_no = ANY(%b::int4[]) ORDER BY r.parent_step_no, r.id DESC
"""

UNPUBLISHED = "SELECT step_no FROM outbox WHERE lane = ANY(%b::text[]) AND run_id = %b::uuid"

#: The age of a dispatch is that of its step's queueing; only the oldest of a lane is looked up.
LANES = """
SELECT o.lane, o.count, (
    SELECT s.queued_at FROM outbox f JOIN steps s ON s.run_id = f.run_id AND s.step_no = f.step_no
    WHERE f.lane = o.lane AND f.id = o.first)
FROM (SELECT lane, count(*) AS count, min(id) AS first FROM outbox GROUP BY lane) AS o
"""

BUSY = f"""
SELECT s.worker, w.name, r.version_id, s.step_no, count(*)::int4, min(s.started_at), (array_agg(r.id))[1]
FROM runs r JOIN steps s ON s.run_id = r.id JOIN workflows w ON w.id = r.workflow_id
WHERE {_IN} AND s.status = 'running'
GROUP BY s.worker, w.name, r.version_id, s.step_no
"""  # noqa: S608 - constants only

#: Holders of a gate that are named.
MOST_HOLDERS = 5


class RunRow(NamedTuple):
    """A run, and the server's time."""

    id: UUID
    workflow: str
    version: int
    version_id: int
    status: RunStatus
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    error: dict[str, Any] | None
    gate_id: int | None
    priority: int
    parent: UUID | None
    parent_step: int | None
    now: datetime


class BusyRow(NamedTuple):
    """Running attempts of one step of a version, on one worker."""

    worker: str
    workflow: str
    version_id: int
    step_no: int
    many: int
    since: datetime
    run: UUID


async def snapshot(connection: Connection) -> None:
    """Let the transaction that has just begun see one moment."""
    await connection.execute(SNAPSHOT)


async def run(connection: Connection, run_id: UUID) -> RunRow | None:
    """Return a run."""
    row = await (await connection.cursor(binary=True).execute(RUN, (run_id,))).fetchone()
    return None if row is None else RunRow(*row)._replace(status=RunStatus(row[4]))


async def states(connection: Connection, run_id: UUID) -> dict[int, StepState]:
    """Return every step of a run that has a row."""
    found = await steps.select_whole(connection, [run_id])
    return {state.no: state for state in (steps.state(row[1:]) for row in found)}


async def kept(connection: Connection, run_id: UUID) -> dict[int, Any]:
    """Return what the steps that ask people keep, by number."""
    cursor = await connection.cursor(binary=True).execute(KEPT, (run_id,))
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def told(connection: Connection, run_id: UUID, types: Sequence[EventType]) -> list[Told]:
    """Return the events of some types, in order."""
    cursor = await connection.cursor(binary=True).execute(TOLD, (run_id, [str(one) for one in types]))
    return [Told(*row) for row in await cursor.fetchall()]


async def gate(connection: Connection, one: RunRow) -> GateFacts | None:
    """Return the gate at which a run waits."""
    if one.gate_id is None:
        return None
    cursor = connection.cursor(binary=True)
    await cursor.execute(GATE, (one.priority, one.priority, one.id, one.gate_id))
    row = await cursor.fetchone()
    if row is None:
        return None
    holders = await (await cursor.execute(HOLDERS, (one.gate_id, MOST_HOLDERS))).fetchall()
    values = [*row, [(found[0], found[1], found[2]) for found in holders]]
    return GateFacts(*values)


async def children(connection: Connection, run_id: UUID, numbers: Sequence[int], most: int) -> dict[int, UUID]:
    """Return the newest run that each of some steps has started, of *most* steps: some of every kind of standing."""
    if not numbers:
        return {}
    cursor = await connection.cursor(binary=True).execute(CHILDREN, (run_id, list(numbers)))
    places: dict[int, int] = {}
    found: list[tuple[int, int, int, UUID]] = []
    for number, child, kind in await cursor.fetchall():
        places[kind] = place = places.get(kind, -1) + 1
        found.append((place, kind, number, child))
    return {number: child for _, _, number, child in sorted(found)[:most]}


async def unpublished(connection: Connection, run_id: UUID, lanes: Sequence[str]) -> frozenset[int]:
    """Return the steps of a run whose dispatch lies in the outbox."""
    cursor = await connection.cursor(binary=True).execute(UNPUBLISHED, (list(lanes), run_id))
    return frozenset([row[0] for row in await cursor.fetchall()])


async def lanes(connection: Connection) -> dict[str, LaneFacts]:
    """Return what lies in the outbox, by lane."""
    cursor = await connection.cursor(binary=True).execute(LANES)
    return {row[0]: LaneFacts(row[1], row[2]) for row in await cursor.fetchall()}


async def busy(connection: Connection) -> list[BusyRow]:
    """Return what all workers are busy with."""
    cursor = await connection.cursor(binary=True).execute(BUSY)
    return [BusyRow(*row) for row in await cursor.fetchall()]


async def present(connection: Connection) -> list[WorkerFacts]:
    """Return the workers that are registered, not yet with what they do."""
    return [_worker(row) for row in await workers.all_workers(connection)]


def occupied(found: Sequence[WorkerFacts], taken: Sequence[tuple[str, Busy]]) -> list[WorkerFacts]:
    """Return workers with what they do."""
    by_worker: dict[str, list[Busy]] = {}
    for worker, one in taken:
        by_worker.setdefault(worker, []).append(one)
    return [replace(worker, busy=tuple(by_worker.get(worker.id, ()))) for worker in found]


def _worker(row: WorkerRow) -> WorkerFacts:
    types, children = frozenset(row.step_types), row.python_processes
    return WorkerFacts(row.id, row.status, row.queues, types, row.concurrency, row.seen_at, row.lease, children)
