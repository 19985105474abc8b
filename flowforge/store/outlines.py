"""Runs in outline, in sets: what has to be known to ask the same of many of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from psycopg.rows import TupleRow

from flowforge.model.bulk import Target
from flowforge.model.event import EventType
from flowforge.model.status import RunStatus
from flowforge.store.database import Connection

OUTLINES = """
SELECT r.id, w.name, v.version, r.status::text, r.seq, r.finished_at, r.gate_id IS NOT NULL, r.version_id
FROM runs r JOIN workflow_versions v ON v.id = r.version_id JOIN workflows w ON w.id = r.workflow_id
WHERE r.id = ANY(%b::uuid[])
"""

COMPLETED = "SELECT run_id, step_no FROM steps WHERE run_id = ANY(%b::uuid[]) AND status = 'completed'"

PAUSED = """
SELECT run_id, max(at) FROM events WHERE run_id = ANY(%b::uuid[]) AND type = %b::text GROUP BY run_id
"""

#: Names of plans are unique, so wherever one occurs in a history it is meant.
NAMED = """
SELECT DISTINCT run_id FROM run_events WHERE run_id = ANY(%b::uuid[]) AND strpos(events::text, %b::text) > 0
"""


async def read(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, tuple[Target, int]]:
    """Return runs as they stand now, each with the id of its version's row."""
    cursor = await connection.cursor(binary=True).execute(OUTLINES, (list(run_ids),))
    return {row[0]: (_target(row), row[7]) for row in await cursor.fetchall()}


def _target(row: TupleRow) -> Target:
    run_id, workflow, version, status, seq, finished_at, gated, _ = row
    return Target(run_id, workflow, version, RunStatus(status), seq, finished_at, gated)


async def completed_steps(connection: Connection, run_ids: Sequence[UUID]) -> list[tuple[UUID, int]]:
    """Return the completed steps of runs: run and number."""
    cursor = await connection.cursor(binary=True).execute(COMPLETED, (list(run_ids),))
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def paused_at(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """Return when runs were paused last."""
    cursor = await connection.cursor(binary=True).execute(PAUSED, (list(run_ids), EventType.RUN_PAUSED.value))
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def touched_by(connection: Connection, run_ids: Sequence[UUID], plan: UUID) -> set[UUID]:
    """Return the runs in whose history a plan is named."""
    cursor = await connection.cursor(binary=True).execute(NAMED, (list(run_ids), str(plan)))
    return {row[0] for row in await cursor.fetchall()}
