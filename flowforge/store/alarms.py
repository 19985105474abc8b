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
WHERE r.finished_at IS NULL AND r.status IN ('running', 'compensating') AND s.status = 'queued'
"""

#: Held until what follows from a change is done: a crash in between leaves the old value, and the work to others.
TAKE_EPOCH = "SELECT value FROM cursors WHERE name = %b FOR UPDATE SKIP LOCKED"
ANY_EPOCH = "SELECT EXISTS (SELECT FROM cursors WHERE name = %b)"
STORE_EPOCH = """
INSERT INTO cursors (name, xid, value) VALUES (%b, '0', %b::text)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = now()
"""
#: Somebody else looks after the streams' epoch at the moment.
TAKEN = ""


async def due(connection: Connection, limit: int) -> list[tuple[UUID, float]]:
    """Return runs by alarm, each with the seconds until it goes off (negative: it did)."""
    cursor = await connection.cursor(binary=True).execute(DUE, (limit,))
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def with_queued_steps(connection: Connection) -> list[UUID]:
    """Return active runs that have queued steps."""
    cursor = await connection.cursor(binary=True).execute(QUEUED)
    return [row[0] for row in await cursor.fetchall()]


async def take_epoch(connection: Connection, server: str) -> str | None:
    """Return a stream server's remembered epoch, held by the caller's transaction; None when there is none yet."""
    name = (_epoch_of(server),)
    row = await (await connection.execute(TAKE_EPOCH, name)).fetchone()
    if row is not None:
        return str(row[0])
    row = await (await connection.execute(ANY_EPOCH, name)).fetchone()
    return TAKEN if row and row[0] else None


async def store_epoch(connection: Connection, server: str, epoch: str) -> None:
    """Remember a stream server's epoch."""
    await connection.execute(STORE_EPOCH, (_epoch_of(server), epoch))


def _epoch_of(server: str) -> str:
    return f"streams-epoch {server}"
