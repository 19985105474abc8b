"""Workflows and queues that operators hold: who, why, since when; and who let them go.

A row that was not resumed is a pause; the others are the record. Whoever starts or admits runs looks here in the same
statement, whoever takes from a queue hears of it with its heartbeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from flowforge.model.pausing import Pause
from flowforge.store.database import Connection

#: The ids of workflows whose new runs wait; part of the statements that start and admit.
HELD_WORKFLOWS = "SELECT p.workflow_id FROM pauses p WHERE p.resumed_at IS NULL AND p.workflow_id IS NOT NULL"

_COLUMNS = "kind, name, paused_at, paused_by, reason, resumed_at, resumed_by, resume_reason"

#: Of two at once one is first; the other finds that there is nothing to do.
PAUSE = """
INSERT INTO pauses (kind, name, workflow_id, paused_by, reason)
VALUES (%b::text, %b::text,
        (SELECT id FROM workflows WHERE %b::text = 'workflow' AND name = %b::text), %b::text, %b::text)
ON CONFLICT (kind, name) WHERE resumed_at IS NULL DO NOTHING
"""

RESUME = f"""
UPDATE pauses SET resumed_at = clock_timestamp(), resumed_by = %b::text, resume_reason = %b::text
WHERE kind = %b::text AND name = %b::text AND resumed_at IS NULL
RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only

OPEN = f"SELECT {_COLUMNS} FROM pauses WHERE resumed_at IS NULL ORDER BY paused_at"  # noqa: S608 - constants only

HISTORY = f"""
SELECT {_COLUMNS} FROM pauses WHERE kind = %b::text AND name = %b::text ORDER BY id DESC LIMIT %b::int4
"""  # noqa: S608 - constants only

QUEUES = "SELECT name FROM pauses WHERE kind = 'queue' AND resumed_at IS NULL"

FREE = f"""
SELECT r.id FROM runs r WHERE r.id = ANY(%b::uuid[]) AND (r.workflow_id IN ({HELD_WORKFLOWS})) IS NOT TRUE
"""  # noqa: S608 - constants only

#: Runs without a gate that were held back; workflow by workflow, because those that are still held may be many.
RELEASED = f"""
SELECT waiting.id FROM workflows w CROSS JOIN LATERAL (
    SELECT r.id FROM runs r
    WHERE r.workflow_id = w.id AND r.gate_id IS NULL AND r.finished_at IS NULL AND r.status = 'pending'
    ORDER BY r.id LIMIT %b::int4
) AS waiting
WHERE (w.id IN ({HELD_WORKFLOWS})) IS NOT TRUE
LIMIT %b::int4
"""  # noqa: S608 - constants only

GATES_OF = """
SELECT g.id FROM gates g JOIN workflows w ON w.id = g.workflow_id
WHERE w.name = %b::text AND EXISTS (
    SELECT FROM runs r WHERE r.gate_id = g.id AND r.finished_at IS NULL AND r.status = 'pending')
"""


async def pause(connection: Connection, kind: str, name: str, actor: str, reason: str | None) -> bool:
    """Hold a workflow or queue; return whether it was not held before."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(PAUSE, (kind, name, kind, name, actor, reason))
    return cursor.rowcount > 0


async def resume(connection: Connection, kind: str, name: str, actor: str, reason: str | None) -> Pause | None:
    """Let a workflow or queue go; return the pause that ended, None if there was none."""
    cursor = await connection.cursor(binary=True).execute(RESUME, (actor, reason, kind, name))
    row = await cursor.fetchone()
    return None if row is None else Pause(*row)


async def present(connection: Connection) -> list[Pause]:
    """Return everything that is held, the longest first."""
    cursor = await connection.cursor(binary=True).execute(OPEN)
    return [Pause(*row) for row in await cursor.fetchall()]


async def history(connection: Connection, kind: str, name: str, limit: int = 20) -> list[Pause]:
    """Return the pauses of a workflow or queue, the newest first."""
    cursor = await connection.cursor(binary=True).execute(HISTORY, (kind, name, limit))
    return [Pause(*row) for row in await cursor.fetchall()]


async def queues(connection: Connection) -> list[str]:
    """Return the queues that are held."""
    cursor = await connection.cursor(binary=True).execute(QUEUES)
    return [row[0] for row in await cursor.fetchall()]


async def free(connection: Connection, run_ids: Sequence[UUID]) -> list[UUID]:
    """Return those of some runs whose workflows are not held."""
    cursor = await connection.cursor(binary=True).execute(FREE, (list(run_ids),))
    return [row[0] for row in await cursor.fetchall()]


async def released(connection: Connection, limit: int) -> list[UUID]:
    """Return runs that wait although neither a gate nor a pause keeps them."""
    cursor = await connection.cursor(binary=True).execute(RELEASED, (limit, limit))
    return [row[0] for row in await cursor.fetchall()]


async def gates_of(connection: Connection, workflow: str) -> list[int]:
    """Return the gates of a workflow at which runs wait."""
    cursor = await connection.cursor(binary=True).execute(GATES_OF, (workflow,))
    return [row[0] for row in await cursor.fetchall()]
