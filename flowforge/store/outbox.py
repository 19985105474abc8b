"""The outbox: dispatches written in the transaction that made them due, until the relay has published them.

It is a set: relays delete what they publish. A crash between publishing and committing leaves the rows, so a
dispatch may be published twice and never lost; the claim absorbs the second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from flowforge.store.database import Connection

#: The oldest of each lane, so that a lane nobody serves is not looked through.
#: MATERIALIZED: folded into the DELETE, the planner may lock more rows than the limit says.
#: SKIP LOCKED: relays of other workers take other rows instead of waiting.
TAKE = """
WITH taken AS MATERIALIZED (
    SELECT found.lane, found.id FROM unnest(%b::text[]) AS served (lane) CROSS JOIN LATERAL (
        SELECT o.lane, o.id FROM outbox o WHERE o.lane = served.lane
        ORDER BY o.id LIMIT %b::int4 FOR UPDATE SKIP LOCKED
    ) AS found
)
DELETE FROM outbox o USING taken WHERE o.lane = taken.lane AND o.id = taken.id
RETURNING o.lane, o.run_id, o.step_no, o.dispatch_no, o.traceparent
"""

ANY = "SELECT EXISTS (SELECT FROM outbox WHERE lane = ANY(%b::text[]))"


class Row(NamedTuple):
    """One dispatch in the outbox."""

    lane: str
    run_id: UUID
    step: int
    dispatch_no: int
    traceparent: str | None


async def waiting(connection: Connection, lanes: Sequence[str]) -> bool:
    """Say whether there is anything to publish to some lanes, without writing."""
    row = await (await connection.execute(ANY, (list(lanes),))).fetchone()
    return bool(row and row[0])


async def take(connection: Connection, lanes: Sequence[str], limit: int) -> list[Row]:
    """Delete and return the oldest dispatches of each lane that nobody else is publishing.

    The caller commits once they are out.
    """
    cursor = await connection.cursor(binary=True).execute(TAKE, (list(lanes), limit))
    return [Row(*row) for row in await cursor.fetchall()]


async def unpublished(connection: Connection, run_id: UUID) -> list[int]:
    """Return the numbers of a run's steps whose dispatch is not published yet."""
    cursor = await connection.execute("SELECT step_no FROM outbox WHERE run_id = %s", (run_id,))
    return [row[0] for row in await cursor.fetchall()]
