"""The register of workers: who is there, what they serve, and when they were last seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flowforge.store.database import Connection

REGISTER = """
INSERT INTO workers (id, host, pid, version, queues, step_types, concurrency, lease, python_processes, status)
VALUES (%b, %b, %b::int4, %b, %b::text[], %b::text[], %b::int4, %b, %b::int4, 'active')
ON CONFLICT (id) DO UPDATE SET status = 'active', seen_at = clock_timestamp()
"""

#: A worker that has not been seen for longer than its lease is lost, whatever its row says.
_SELECT = """
SELECT w.id, w.host, w.pid, w.version, w.queues, w.step_types, w.concurrency, w.lease,
       CASE WHEN w.status <> 'stopped' AND w.seen_at < clock_timestamp() - w.lease THEN 'lost' ELSE w.status END,
       w.started_at, w.seen_at, w.python_processes
FROM workers w
"""
LIST = f"{_SELECT} ORDER BY w.started_at"
SOME = f"{_SELECT} WHERE w.id = ANY(%b::text[])"
IDS = "SELECT id FROM workers ORDER BY started_at, id"


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker process."""

    id: str
    host: str
    pid: int
    version: str
    queues: tuple[str, ...]
    step_types: tuple[str, ...]
    concurrency: int
    lease: timedelta
    #: active, draining, stopped or lost
    status: str
    started_at: datetime
    seen_at: datetime
    #: How many python steps it runs at a time.
    python_processes: int | None = None


async def register(connection: Connection, worker: WorkerRow) -> None:
    """Add a worker, or say that it is there again."""
    values = (worker.id, worker.host, worker.pid, worker.version, list(worker.queues), list(worker.step_types))
    await connection.execute(REGISTER, (*values, worker.concurrency, worker.lease, worker.python_processes))


async def all_workers(connection: Connection) -> list[WorkerRow]:
    """Return every known worker, oldest first."""
    cursor = await connection.cursor(binary=True).execute(LIST)
    rows = await cursor.fetchall()
    return [_worker(*row) for row in rows]


async def ids(connection: Connection) -> list[str]:
    """Return the ids of all workers, the oldest first."""
    return [row[0] for row in await (await connection.execute(IDS)).fetchall()]


async def by_ids(connection: Connection, worker_ids: Sequence[str]) -> dict[str, WorkerRow]:
    """Return workers by id."""
    cursor = await connection.cursor(binary=True).execute(SOME, (list(worker_ids),))
    return {row[0]: _worker(*row) for row in await cursor.fetchall()}


def _worker(*row: Any) -> WorkerRow:
    values = [*row[:4], tuple(row[4]), tuple(row[5]), *row[6:]]
    return WorkerRow(*values)


async def set_status(connection: Connection, ids: Sequence[str], status: str) -> list[str]:
    """Change the status of workers that have not stopped; return which."""
    cursor = await connection.execute(
        "UPDATE workers SET status = %s WHERE id = ANY(%s) AND status <> 'stopped' RETURNING id", (status, list(ids))
    )
    return [row[0] for row in await cursor.fetchall()]


async def forget(connection: Connection, older_than: timedelta) -> int:
    """Delete workers that were last seen long ago."""
    cursor = await connection.execute(
        "DELETE FROM workers WHERE seen_at < clock_timestamp() - %s::interval", (older_than,)
    )
    return cursor.rowcount


async def any_alive(connection: Connection, queues: Sequence[str]) -> bool:
    """Say whether a worker that serves one of the queues was seen within its lease."""
    cursor = await connection.execute(
        """SELECT EXISTS (SELECT FROM workers WHERE status = 'active' AND queues && %s::text[]
                          AND seen_at > clock_timestamp() - lease)""",
        (list(queues),),
    )
    row = await cursor.fetchone()
    return bool(row and row[0])
