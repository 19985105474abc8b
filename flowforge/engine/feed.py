"""The feed: publishes the history to the events stream, in each run's order, at least once.

One worker at a time publishes: who holds the cursor's row. A stalled feed delays watchers, never the work. An entry
of the stream carries many rows of history, because an entry for every event would cost more than the run itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID

from flowforge.engine.loop import Loop
from flowforge.engine.names import Names
from flowforge.model.documents import RunEvent
from flowforge.store import feed
from flowforge.store.database import Database
from flowforge_streams.delivery import Entry, Record
from flowforge_streams.seam import StreamLog

#: Rows of history published in one transaction. Where a page is cut, rows of later
#: transactions have to be looked for that belong before it; so pages are large enough to be cut rarely.
LIMIT = 10_000
#: Characters of a page, about: rows of large fan-outs are a hundred times as long as others.
PAGE_SIZE = 4_000_000
#: Characters of an entry of the stream, about.
ENTRY_SIZE = 30_000
#: Entries the stream keeps, some sixty megabytes; what is older is in Postgres.
KEPT = 2_000


class Feed(Loop):
    """Tails the history into the events stream."""

    pause = 0.5

    def __init__(self, database: Database, streams: StreamLog, names: Names) -> None:
        super().__init__()
        self._database, self._streams, self._names = database, streams, names
        self._ahead: frozenset[tuple[str, int]] = frozenset()
        self._limit = LIMIT

    async def run_once(self) -> float | None:
        """Publish a page of history, if it is this worker's turn."""
        self.proven = False
        async with self._database.connection() as connection:
            if not await feed.waiting(connection):
                return None
            async with connection.transaction():
                xid = await feed.take(connection)
                if xid is None:
                    self._ahead = frozenset()
                    return None
                page = await feed.page(connection, xid, self._limit)
                rows = [row for row in page.rows if (row.run, row.seq) not in self._ahead]
                if rows:
                    await self._streams.publish(encode(self._names.events, rows), max_len=KEPT)
                    self.proven = True
                await feed.move(connection, page.next_xid)
        if page.rows:
            size = sum(len(row.events) for row in page.rows) / len(page.rows)
            self._limit = max(100, min(LIMIT, int(PAGE_SIZE / size)))
        self._ahead = self._ahead | page.pulled if page.more else frozenset()
        return 0 if page.more else None


def encode(stream: str, rows: Sequence[feed.Row]) -> list[Entry]:
    """Make the stream's entries of rows of history; their events are JSON text already."""
    entries: list[Entry] = []
    texts: list[str] = []
    size = 0
    for run, seq, at, events, _ in rows:
        texts.append(f'{{"run":"{run}","seq":{seq},"at":"{_rfc3339(at)}","events":{events}}}')
        size += len(events)
        if size > ENTRY_SIZE:
            entries.append(_entry(stream, texts))
            texts, size = [], 0
    if texts:
        entries.append(_entry(stream, texts))
    return entries


def _entry(stream: str, texts: Sequence[str]) -> Entry:
    return Entry(stream, {"v": 1, "history": f"[{','.join(texts)}]"})


@lru_cache(maxsize=1024)
def _rfc3339(at: datetime) -> str:
    """Write a time, in UTC; the rows of a transaction share theirs."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def decode(record: Record) -> list[RunEvent]:
    """Return the events of an entry of the events stream, each run's in order."""
    return [
        RunEvent(
            UUID(row["run"]),
            row["seq"] + index,
            event["type"],
            datetime.fromisoformat(row["at"]),
            event.get("step"),
            event.get("attempt"),
            event.get("data") or {},
        )
        for row in json.loads(record.fields["history"])
        for index, event in enumerate(row["events"])
    ]
