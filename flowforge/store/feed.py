"""The tail of the history: every committed event once, in each run's order, for the events stream.

Identity columns are not commit order, so "after the last id" would lose rows; transactions are read by their xid,
and only those below the horizon of what is still in flight. Two transactions on one run can have xids in the
opposite order of their events (an xid is taken before a lock is waited for), but then both are below the horizon
together: the earlier events are pulled forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flowforge.store.database import Connection
from flowforge.store.history import Numbered, unpacked

#: SKIP LOCKED makes this the election too: whoever has the cursor's row publishes, the others do nothing.
TAKE = "SELECT xid::text FROM cursors WHERE name = 'feed' FOR UPDATE SKIP LOCKED"
MOVE = "UPDATE cursors SET xid = %s::text::xid8, updated_at = now() WHERE name = 'feed'"

READ = """
SELECT run_id, seq, at, events, xid::text FROM run_events
WHERE xid >= %s::text::xid8 AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid, run_id, seq LIMIT %s::int4
"""

#: Events of the same runs that come earlier, but were written by a transaction with a later xid.
EARLIER = """
SELECT e.run_id, e.seq, e.at, e.events, e.xid::text
FROM unnest(%s::uuid[], %s::int4[]) AS k (run_id, seq) JOIN run_events e ON e.run_id = k.run_id AND e.seq < k.seq
WHERE e.xid >= %s::text::xid8 AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
"""

#: After a restore or a dump into a new cluster the remembered xid lies in the future.
HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"


@dataclass(frozen=True, slots=True)
class Page:
    """Events to publish, and where the next page starts."""

    events: list[Numbered]
    next_xid: str
    #: The page was cut short: there is more to read at once.
    more: bool
    #: Events (run, seq) that were pulled forward, and will come again on a later page.
    pulled: frozenset[tuple[UUID, int]] = frozenset()


#: Asked before the cursor is taken: taking it is a write, and an idle installation should not write.
ANY = """
SELECT EXISTS (SELECT FROM run_events e WHERE e.xid >= c.xid AND e.xid < pg_snapshot_xmin(pg_current_snapshot()))
FROM cursors c WHERE c.name = 'feed'
"""


async def waiting(connection: Connection) -> bool:
    """Say whether there is anything to publish."""
    row = await (await connection.execute(ANY)).fetchone()
    return bool(row and row[0])


async def take(connection: Connection) -> str | None:
    """Take the cursor in the caller's transaction; None when somebody else has it."""
    cursor = await connection.execute(TAKE)
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def page(connection: Connection, xid: str, limit: int) -> Page:
    """Return the events of whole transactions from *xid* on, in each run's order."""
    horizon = int((await (await connection.execute(HORIZON)).fetchone() or ("0",))[0])
    if int(xid) > horizon:
        return Page([], str(horizon), more=False)
    rows: list[Any] = await (await connection.execute(READ, (xid, limit))).fetchall()
    if len(rows) < limit:
        return Page(_ordered(rows), str(horizon), more=False)
    last = rows[-1][4]
    if rows[0][4] == last:
        # One transaction fills the page: take all of it.
        return await page(connection, xid, limit * 4)
    whole = [row for row in rows if row[4] != last]
    newest: dict[UUID, int] = {}
    for row in whole:
        newest[row[0]] = max(row[1], newest.get(row[0], 0))
    cursor = await connection.execute(EARLIER, (list(newest), list(newest.values()), last))
    earlier: list[Any] = await cursor.fetchall()
    pulled = frozenset((event.run, event.seq) for event in _ordered(earlier))
    return Page(_ordered(whole + earlier), last, more=True, pulled=pulled)


async def move(connection: Connection, xid: str) -> None:
    """Remember where the next page starts."""
    await connection.execute(MOVE, (xid,))


def _ordered(rows: list[Any]) -> list[Numbered]:
    """Return the rows' events: runs in order of first appearance, each run's events by number."""
    first: dict[UUID, int] = {}
    for index, row in enumerate(rows):
        first.setdefault(row[0], index)
    rows = sorted(rows, key=lambda row: (first[row[0]], row[1]))
    return [event for row in rows for event in unpacked(row[0], row[1], row[2], row[3])]



