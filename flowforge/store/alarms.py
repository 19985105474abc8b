"""What the sweeper looks for: runs whose alarm went off, and steps whose dispatch may be lost."""

from __future__ import annotations

from uuid import UUID

from flowforge.store.database import Connection

#: Also returns the next ones that are not due yet, so that the sweeper knows how long it may sleep.
DUE = """
SELECT id, extract(epoch FROM wake_at - clock_timestamp())::float8 FROM runs
WHERE wake_at IS NOT NULL ORDER BY wake_at LIMIT %b::int4
"""

#: Rare: after the loss of a stream. Active runs are found by an index, their steps by key.
QUEUED = """
SELECT DISTINCT r.id FROM runs r JOIN steps s ON s.run_id = r.id
WHERE r.status = 'running' AND s.status = 'queued'
"""

REMEMBER = """
INSERT INTO cursors (name, xid, value) VALUES (%b, '0', %b)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = now() WHERE cursors.value <> excluded.value
RETURNING (xmax <> 0)
"""


async def due(connection: Connection, limit: int) -> list[tuple[UUID, float]]:
    """Return runs by alarm, each with the seconds until it goes off (negative: it did)."""
    cursor = await connection.cursor(binary=True).execute(DUE, (limit,))
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def with_queued_steps(connection: Connection) -> list[UUID]:
    """Return active runs that have queued steps."""
    cursor = await connection.cursor(binary=True).execute(QUEUED)
    return [row[0] for row in await cursor.fetchall()]


async def epoch_changed(connection: Connection, epoch: str) -> bool:
    """Remember the streams' epoch; True for exactly one caller when it differs from the remembered one."""
    cursor = await connection.cursor(binary=True).execute(REMEMBER, ("streams-epoch", epoch))
    row = await cursor.fetchone()
    return bool(row and row[0])
