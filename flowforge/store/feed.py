"""The tail of the history: every committed event once, in each run's order, for the events stream.

Identity columns are not commit order, so "after the last id" would lose rows; transactions are read by their xid,
and only those below the horizon of what is still in flight. Two transactions on one run can have xids in the
opposite order of their events (an xid is taken before a lock is waited for), but then both are below the horizon
together: the earlier events are pulled forward. The horizon is the server's, not the database's: a long transaction
of anybody on it delays the feed, and only the feed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from flowforge.store.database import Connection

#: SKIP LOCKED makes this the election too: whoever has the cursor's row publishes, the others do nothing.
TAKE = "SELECT xid::text FROM cursors WHERE name = 'feed' FOR UPDATE SKIP LOCKED"
MOVE = "UPDATE cursors SET xid = %s::text::xid8, updated_at = now() WHERE name = 'feed'"

_ROW = "e.run_id::text, e.seq, e.at, e.events::text, e.xid::text"
_BELOW_HORIZON = "e.xid < pg_snapshot_xmin(pg_current_snapshot())"

READ = f"""
SELECT {_ROW} FROM run_events e WHERE e.xid >= %s::text::xid8 AND e.xid < %s::text::xid8
ORDER BY e.xid, e.run_id, e.seq LIMIT %s::int4
"""  # noqa: S608 - constants only

#: Events of the same runs that come earlier, but were written by a transaction with a later xid. OFFSET keeps the
#: planner from looking through the transactions once for every run, which it does where it knows no statistics.
EARLIER = f"""
SELECT {_ROW}
FROM unnest(%s::uuid[], %s::int4[]) AS k (run_id, seq) CROSS JOIN LATERAL (
    SELECT * FROM run_events e WHERE e.run_id = k.run_id AND e.seq < k.seq OFFSET 0
) AS e
WHERE e.xid >= %s::text::xid8 AND e.xid < %s::text::xid8
"""  # noqa: S608

#: After a restore or a dump into a new cluster the remembered xid lies in the future.
HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"

#: Asked before the cursor is taken: taking it is a write, and an idle installation should not write.
ANY = f"""
SELECT c.xid > pg_snapshot_xmin(pg_current_snapshot())
    OR EXISTS (SELECT FROM run_events e WHERE e.xid >= c.xid AND {_BELOW_HORIZON})
FROM cursors c WHERE c.name = 'feed'
"""  # noqa: S608


class Row(NamedTuple):
    """The events of one run and transaction, as stored."""

    run: str
    #: Number of the first event.
    seq: int
    at: datetime
    #: JSON text: an array of events.
    events: str
    xid: str


@dataclass(frozen=True, slots=True)
class Page:
    """Rows to publish, in each run's order, and where the next page starts."""

    rows: list[Row]
    next_xid: str
    #: The page was cut short: there is more to read at once.
    more: bool
    #: Rows (run, seq) that were pulled forward, and will come again on a later page.
    pulled: frozenset[tuple[str, int]] = frozenset()


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
    """Return the history of whole transactions from *xid* on."""
    horizon = int((await (await connection.execute(HORIZON)).fetchone() or ("0",))[0])
    if int(xid) > horizon:
        return Page([], str(horizon), more=False)
    rows = [Row(*row) for row in await (await connection.execute(READ, (xid, str(horizon), limit))).fetchall()]
    if len(rows) < limit:
        return Page(_ordered(rows), str(horizon), more=False)
    last = rows[-1].xid
    if rows[0].xid == last:
        # One transaction fills the page: take all of it.
        return await page(connection, xid, limit * 4)
    whole = [row for row in rows if row.xid != last]
    newest: dict[str, int] = {}
    for row in whole:
        newest[row.run] = max(row.seq, newest.get(row.run, 0))
    cursor = await connection.execute(EARLIER, (list(newest), list(newest.values()), last, str(horizon)))
    earlier = [Row(*row) for row in await cursor.fetchall()]
    pulled = frozenset((row.run, row.seq) for row in earlier)
    return Page(_ordered(whole + earlier), last, more=True, pulled=pulled)


async def move(connection: Connection, xid: str) -> None:
    """Remember where the next page starts."""
    await connection.execute(MOVE, (xid,))


def _ordered(rows: list[Row]) -> list[Row]:
    """Return rows so that each run's come by number: as they are, mostly; else runs in order of first appearance."""
    newest: dict[str, int] = {}
    for row in rows:
        if row.seq < newest.get(row.run, 0):
            break
        newest[row.run] = row.seq
    else:
        return rows
    first: dict[str, int] = {}
    for index, row in enumerate(rows):
        first.setdefault(row.run, index)
    return sorted(rows, key=lambda row: (first[row.run], row.seq))
