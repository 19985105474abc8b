"""The relay: publishes the outbox to the dispatch streams, at least once.

Rows are deleted, published in one pipeline, and only then committed: a crash between leaves the rows, so nothing is
lost and a duplicate is absorbed by the claim. Its commits need not be flushed to disk, for the same reason.

It publishes to the lanes that its worker serves, to the stream server that its worker reads from. So a queue is carried
by whichever server the workers of the queue are given, and several servers share the load by sharing the queues.

Every worker has one, and a start wakes them all. The one that published last looks at once, the others a moment
later: two that look at the same time do the work twice and publish it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from flowforge.engine import message
from flowforge.engine.crash import crash_point
from flowforge.engine.loop import Loop
from flowforge.engine.names import Names
from flowforge.store import outbox
from flowforge.store.database import Database
from flowforge_streams.seam import StreamLog

#: Rows of a lane published in one transaction.
LIMIT = 1000
#: Seconds that a relay which did not publish last gives the one that did.
DEFERENCE = 0.01


class Relay(Loop):
    """Moves dispatches from the outbox to their streams."""

    #: The floor under lost wake-ups, in seconds.
    pause = 0.5

    def __init__(self, database: Database, streams: StreamLog, names: Names, lanes: Sequence[str]) -> None:
        super().__init__()
        self._database = database
        self._streams = streams
        self._names = names
        self._lanes = lanes
        self.published = 0
        #: Somebody said that there is something: no need to look first.
        self._expected = False
        #: We found something when we looked last.
        self._leads = False
        self._deferring = False

    def nudge(self) -> None:
        """Publish now."""
        self._expected = True
        super().nudge()

    def wake(self) -> None:
        """Publish now, or soon if another relay is the first to look."""
        if self._leads:
            self.nudge()
        elif not self._deferring:
            self._deferring = True
            asyncio.get_running_loop().call_later(DEFERENCE, self._look)

    def _look(self) -> None:
        self._deferring = False
        super().nudge()

    async def run_once(self) -> float | None:
        """Publish what is in the outbox, up to the limit."""
        async with self._database.connection() as connection:
            if not self._expected and not await outbox.waiting(connection, self._lanes):
                self._leads = False
                return None
            self._expected = False
            async with connection.transaction():
                rows = await outbox.take(connection, self._lanes, LIMIT)
                if rows:
                    await self._streams.publish([message.encode(self._names.lane(row.lane), row) for row in rows])
                    crash_point("relay.after_xadd")
        self.published += len(rows)
        self._leads = bool(rows)
        return 0 if len(rows) >= LIMIT else None
