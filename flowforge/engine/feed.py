"""The feed: publishes the history to the events stream, in each run's order, at least once.

One worker at a time publishes: who holds the cursor's row. A stalled feed delays watchers, never the work.
"""

from __future__ import annotations

import json
from uuid import UUID

from flowforge.engine.loop import Loop
from flowforge.engine.names import Names
from flowforge.store import feed
from flowforge.store.database import Database
from flowforge.store.history import Numbered
from flowforge_streams.delivery import Entry
from flowforge_streams.seam import StreamLog

#: Rows of history published in one transaction.
LIMIT = 1000
#: Events the stream keeps; older ones are in Postgres.
KEPT = 100_000


class Feed(Loop):
    """Tails the history into the events stream."""

    pause = 0.5

    def __init__(self, database: Database, streams: StreamLog, names: Names) -> None:
        super().__init__()
        self._database, self._streams, self._names = database, streams, names
        self._ahead: set[tuple[UUID, int]] = set()

    async def run_once(self) -> float | None:
        """Publish a page of events, if it is this worker's turn."""
        async with self._database.connection() as connection:
            if not await feed.waiting(connection):
                return None
            async with connection.transaction():
                xid = await feed.take(connection)
                if xid is None:
                    self._ahead.clear()
                    return None
                page = await feed.page(connection, xid, LIMIT)
                events = [event for event in page.events if (event.run, event.seq) not in self._ahead]
                if events:
                    await self._streams.publish([self._entry(event) for event in events], max_len=KEPT)
                await feed.move(connection, page.next_xid)
        self._ahead = set(page.pulled)
        return 0 if page.more else None

    def _entry(self, numbered: Numbered) -> Entry:
        event = numbered.event
        fields: dict[str, bytes | str | int] = {
            "run": str(numbered.run),
            "seq": numbered.seq,
            "type": event.type.value,
            "at": event.at.isoformat(),
        }
        if event.step is not None:
            fields["step"] = event.step
        if event.attempt is not None:
            fields["attempt"] = event.attempt
        if event.data is not None:
            fields["data"] = json.dumps(event.data, ensure_ascii=False, default=str)
        return Entry(self._names.events, fields)
