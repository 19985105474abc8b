"""The outbox as a queue: dispatches taken straight from Postgres while the streams take none.

Taking is deleting, committed before anything follows from it. Whoever dies in between leaves a step that is queued
and was dispatched: the sweeper dispatches it again, as it does with a message that was lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowforge.store.database import Connection
from flowforge.store.outbox import Row

WAITING = "SELECT min(id), max(id) FROM outbox WHERE lane = ANY(%b::text[])"

#: SKIP LOCKED: what a relay is just trying to publish, or another worker takes, is theirs. MATERIALIZED: as for the
#: relay, the planner must not lock more rows than the limit says.
TAKE = """
WITH taken AS MATERIALIZED (
    SELECT lane, id FROM outbox WHERE lane = %b ORDER BY id LIMIT %b::int4 FOR UPDATE SKIP LOCKED
)
DELETE FROM outbox o USING taken WHERE o.lane = taken.lane AND o.id = taken.id
RETURNING o.lane, o.run_id, o.step_no, o.dispatch_no, o.traceparent
"""


async def waiting(connection: Connection, lanes: Sequence[str]) -> tuple[int, int] | None:
    """Return the ids of the oldest and the newest dispatch of some lanes, None when there is none."""
    row = await (await connection.cursor(binary=True).execute(WAITING, (list(lanes),))).fetchone()
    return None if row is None or row[0] is None else (row[0], row[1])


async def take(connection: Connection, lane: str, limit: int) -> list[Row]:
    """Delete and return the oldest dispatches of a lane that nobody else is publishing or taking."""
    cursor = await connection.cursor(binary=True).execute(TAKE, (lane, limit))
    return [Row(*row) for row in await cursor.fetchall()]
