"""Gates: the concurrency limits of workflows, and who waits at them.

Occupancy is counted from the runs themselves under the gate's lock, never from a counter, so no crash can leak a
slot. A gate is locked after the runs of a transaction, and its waiters are taken with SKIP LOCKED: whoever holds
a gate never waits for a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from flowforge.store import pauses, runs
from flowforge.store.database import Connection

#: Creating and adjusting in one statement; the row's lock is kept, which serialises admission.
ENSURE = """
INSERT INTO gates (workflow_id, key, max_active) VALUES (%b::int8, %b::text, %b::int4)
ON CONFLICT (workflow_id, key) DO UPDATE SET max_active = excluded.max_active
RETURNING id
"""

FIND = "SELECT id FROM gates WHERE workflow_id = %b::int8 AND key = %b::text AND max_active = %b::int4"

LOCK = "SELECT id FROM gates WHERE id = ANY(%b::int8[]) ORDER BY id FOR UPDATE"

#: Counted after the lock is held, by a statement with a snapshot of its own. Stops counting at the limit. A
#: workflow that is held lets nobody in.
ADMISSIBLE = f"""
SELECT waiter.*, clock_timestamp()
FROM gates g
CROSS JOIN LATERAL (
    SELECT count(*) AS active FROM (
        SELECT FROM runs r
        WHERE r.gate_id = g.id AND r.finished_at IS NULL
          AND r.status IN ('running', 'paused', 'cancelling', 'compensating')
        LIMIT g.max_active
    ) AS holding
) AS held
CROSS JOIN LATERAL (
    SELECT {runs.COLUMNS}, {runs.INPUT} AS input_text FROM runs r
    WHERE r.gate_id = g.id AND r.finished_at IS NULL AND r.status = 'pending'
    ORDER BY r.priority DESC, r.id
    LIMIT g.max_active - held.active
    FOR NO KEY UPDATE SKIP LOCKED
) AS waiter
WHERE g.id = ANY(%b::int8[]) AND (g.workflow_id IN ({pauses.HELD_WORKFLOWS})) IS NOT TRUE
"""  # noqa: S608 - constants only

#: Gates at which nobody waits but runs that came just now.
WITHOUT_LINE = """
SELECT g.id FROM unnest(%b::int8[]) AS g (id) WHERE NOT EXISTS (
    SELECT FROM runs r WHERE r.gate_id = g.id AND r.finished_at IS NULL AND r.status = 'pending' AND r.id <> ALL(%b))
"""

#: Gates that have waiters: the sweeper's safety net behind the admission at every release.
WAITED_AT = f"""
SELECT g.id FROM (
    SELECT DISTINCT gate_id FROM runs WHERE gate_id IS NOT NULL AND finished_at IS NULL AND status = 'pending'
) AS waiting JOIN gates g ON g.id = waiting.gate_id
WHERE (g.workflow_id IN ({pauses.HELD_WORKFLOWS})) IS NOT TRUE
"""  # noqa: S608 - constants only

OLDEST = """
SELECT id FROM runs
WHERE gate_id = %b::int8 AND finished_at IS NULL AND status IN ('pending', 'running', 'paused')
ORDER BY id LIMIT %b::int4
"""

#: A statement of its own after the lock: one that waited for the lock counts with the snapshot of before.
ROOM = """
SELECT g.max_active - (SELECT count(*) FROM runs r WHERE r.gate_id = g.id AND r.finished_at IS NULL)
FROM gates g WHERE g.id = %b::int8
"""


class Ensured(NamedTuple):
    """A gate as it has to be."""

    id: int
    #: It was created, or has another limit than before.
    changed: bool


async def ensure(connection: Connection, workflow_id: int, key: str, limit: int) -> Ensured:
    """Return the gate, created or adjusted to *limit* if needed."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(FIND, (workflow_id, key, limit))
    if (row := await cursor.fetchone()) is not None:
        return Ensured(row[0], changed=False)
    row = await (await cursor.execute(ENSURE, (workflow_id, key, limit))).fetchone()
    assert row is not None
    return Ensured(row[0], changed=True)


async def lock(connection: Connection, gate_ids: Sequence[int]) -> None:
    """Lock gates in id order."""
    await connection.cursor(binary=True).execute(LOCK, (sorted(gate_ids),))


async def without_line(connection: Connection, gate_ids: Sequence[int], new: Sequence[UUID]) -> list[int]:
    """Lock gates; return those at which nobody waits but new runs of this transaction."""
    await lock(connection, gate_ids)
    cursor = await connection.cursor(binary=True).execute(WITHOUT_LINE, (list(gate_ids), list(new)))
    return [row[0] for row in await cursor.fetchall()]


class Waiter(NamedTuple):
    """A run that gets room."""

    row: runs.RunRow
    #: JSON text; None for a large one.
    input: str | None


async def admissible(connection: Connection, gate_ids: Sequence[int]) -> tuple[list[Waiter], datetime | None]:
    """Return the waiting runs for which locked gates have room, now locked too, and the server's time."""
    cursor = await connection.cursor(binary=True).execute(ADMISSIBLE, (list(gate_ids),))
    rows = await cursor.fetchall()
    now = rows[-1][-1] if rows else None
    return [Waiter(runs.row(columns), columns[runs.WIDTH]) for columns in rows], now


async def waited_at(connection: Connection) -> list[int]:
    """Return the gates at which runs wait."""
    cursor = await connection.cursor(binary=True).execute(WAITED_AT)
    return [row[0] for row in await cursor.fetchall()]


async def room(connection: Connection, gate_id: int) -> int:
    """Lock a gate; return for how many runs it has room, those who wait counted as if they were in."""
    await lock(connection, [gate_id])
    row = await (await connection.cursor(binary=True).execute(ROOM, (gate_id,))).fetchone()
    return int(row[0]) if row else 0


async def oldest(connection: Connection, gate_id: int, count: int) -> list[UUID]:
    """Return the oldest runs that are not being stopped yet."""
    cursor = await connection.cursor(binary=True).execute(OLDEST, (gate_id, count))
    return [row[0] for row in await cursor.fetchall()]
