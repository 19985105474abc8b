"""The relay: publishes the outbox to the dispatch streams, at least once.

Rows are deleted, published in one pipeline, and only then committed: a crash between leaves the rows, so nothing is
lost and a duplicate is absorbed by the claim. Its commits need not be flushed to disk, for the same reason.
"""

from __future__ import annotations

from flowforge.engine import message
from flowforge.engine.crash import crash_point
from flowforge.engine.loop import Loop
from flowforge.engine.names import Names
from flowforge.store import outbox
from flowforge.store.database import Database
from flowforge_streams.seam import StreamLog

#: Rows published in one transaction.
LIMIT = 1000


class Relay(Loop):
    """Moves dispatches from the outbox to their streams."""

    #: The floor under lost wake-ups, in seconds.
    pause = 0.5

    def __init__(self, database: Database, streams: StreamLog, names: Names) -> None:
        super().__init__()
        self._database = database
        self._streams = streams
        self._names = names
        self.published = 0
        #: Somebody said that there is something: no need to look first.
        self._expected = False

    def nudge(self) -> None:
        """Publish now."""
        self._expected = True
        super().nudge()

    async def run_once(self) -> float | None:
        """Publish what is in the outbox, up to the limit."""
        async with self._database.connection() as connection:
            if not self._expected and not await outbox.waiting(connection):
                return None
            self._expected = False
            async with connection.transaction():
                rows = await outbox.take(connection, LIMIT)
                if rows:
                    await self._streams.publish([message.encode(self._names.lane(row.lane), row) for row in rows])
                    crash_point("relay.after_xadd")
        self.published += len(rows)
        return 0 if len(rows) == LIMIT else None
