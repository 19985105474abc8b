"""Runs that steps of other runs have started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from flowforge.model.status import RunStatus
from flowforge.store.database import Connection

NEWEST = """
SELECT r.id, w.name, v.version, r.status::text, r.error
FROM runs r JOIN workflow_versions v ON v.id = r.version_id JOIN workflows w ON w.id = r.workflow_id
WHERE r.parent_run_id = %b::uuid AND r.parent_step_no = %b::int4 ORDER BY r.id DESC LIMIT 1
"""

#: Those that the step had started before it was repeated have its number mirrored (transitions.py).
COUNT = "SELECT count(*) FROM runs WHERE parent_run_id = %b::uuid AND parent_step_no IN (%b::int4, %b::int4)"

OUTPUT = "SELECT output FROM runs WHERE id = %b::uuid"

#: The step that started a run, mirrored or not, with its run's version.
STARTERS = """
SELECT r.id, p.version_id, greatest(r.parent_step_no, -1 - r.parent_step_no)
FROM runs r JOIN runs p ON p.id = r.parent_run_id WHERE r.id = ANY(%b::uuid[])
"""

DEPTH = """
WITH RECURSIVE above AS (
    SELECT id, parent_run_id, 0 AS depth FROM runs WHERE id = %b::uuid
    UNION ALL
    SELECT r.id, r.parent_run_id, above.depth + 1 FROM runs r JOIN above ON r.id = above.parent_run_id
    WHERE above.depth < 100
)
SELECT max(depth) FROM above
"""


class Found(NamedTuple):
    """A run that a step has started."""

    id: UUID
    workflow: str
    version: int
    status: RunStatus
    error: dict[str, Any] | None


async def newest(connection: Connection, run_id: UUID, step: int) -> Found | None:
    """Return the last run that a step has started."""
    row = await (await connection.cursor(binary=True).execute(NEWEST, (run_id, step))).fetchone()
    return None if row is None else Found(row[0], row[1], row[2], RunStatus(row[3]), row[4])


async def count(connection: Connection, run_id: UUID, step: int) -> int:
    """Return how many runs a step has started, before it was repeated too."""
    row = await (await connection.cursor(binary=True).execute(COUNT, (run_id, step, -1 - step))).fetchone()
    return 0 if row is None else int(row[0])


async def output(connection: Connection, run_id: UUID) -> Any:
    """Return a run's output."""
    row = await (await connection.cursor(binary=True).execute(OUTPUT, (run_id,))).fetchone()
    return None if row is None else row[0]


async def starters(connection: Connection, run_ids: Sequence[UUID]) -> list[tuple[UUID, int, int]]:
    """Return of runs that steps have started (run, version of the step's run, number of the step)."""
    cursor = await connection.cursor(binary=True).execute(STARTERS, (list(run_ids),))
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


async def depth(connection: Connection, run_id: UUID) -> int:
    """Return how many runs a run lies within."""
    row = await (await connection.cursor(binary=True).execute(DEPTH, (run_id,))).fetchone()
    return 0 if row is None else int(row[0])


async def started_by(connection: Connection, run_id: UUID, limit: int) -> list[UUID]:
    """Return the runs that a run's steps have started, oldest first."""
    query = "SELECT id FROM runs WHERE parent_run_id = %b::uuid ORDER BY id LIMIT %b::int4"
    cursor = await connection.cursor(binary=True).execute(query, (run_id, limit))
    return [row[0] for row in await cursor.fetchall()]
