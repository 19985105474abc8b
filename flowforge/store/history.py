"""The append-only history of runs: one row per run and transaction, holding the events it caused.

`seq` of a row is the number of its first event; numbers are given under the run's lock, so they have no gaps.
Rows are packed because an event of its own row and index entry costs more than the transition it describes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from flowforge.model.event import Event, EventType
from flowforge.store.database import Connection
from flowforge.store.rows import columns

INSERT = """
INSERT INTO run_events (run_id, seq, at, events)
SELECT u.run_id, u.seq, u.at, u.events::jsonb
FROM unnest(%b::uuid[], %b::int4[], %b::timestamptz[], %b::text[]) AS u (run_id, seq, at, events)
"""

READ = """
SELECT seq, at, events FROM run_events WHERE run_id = %b
AND seq >= coalesce((SELECT max(seq) FROM run_events WHERE run_id = %b AND seq <= %b::int4), 0)
ORDER BY seq LIMIT %b::int4
"""


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event with its run and its number in the run's history."""

    run: UUID
    seq: int
    event: Event


def packed(run_id: UUID, first: int, events: Sequence[Event]) -> tuple[UUID, int, datetime, str]:
    """Make the row of a run's events of one transaction."""
    return run_id, first, events[0].at, "[" + ",".join(map(_text, events)) + "]"


def unpacked(run_id: UUID, first: int, at: datetime, events: Iterable[dict[str, Any]]) -> list[Numbered]:
    """Return the events of a row."""
    return [
        Numbered(
            run_id,
            first + index,
            Event(EventType(item["type"]), at, item.get("step"), item.get("attempt"), item.get("data")),
        )
        for index, item in enumerate(events)
    ]


async def append(connection: Connection, rows: Sequence[tuple[UUID, int, datetime, str]]) -> None:
    """Write packed events."""
    await connection.cursor(binary=True).execute(INSERT, columns(rows))


async def read(connection: Connection, run_id: UUID, after: int = 0, limit: int = 10_000) -> list[Numbered]:
    """Return a run's events with numbers above *after*, in order; *limit* counts rows, which hold one or more."""
    cursor = await connection.cursor(binary=True).execute(READ, (run_id, run_id, after + 1, limit))
    rows = await cursor.fetchall()
    return [event for row in rows for event in unpacked(run_id, *row) if event.seq > after]


def _text(event: Event) -> str:
    item: dict[str, Any] = {"type": event.type.value}
    if event.step is not None:
        item["step"] = event.step
    if event.attempt is not None:
        item["attempt"] = event.attempt
    if event.data is not None:
        item["data"] = event.data
    return json.dumps(item, ensure_ascii=False, separators=(",", ":"), default=str)
