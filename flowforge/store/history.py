"""The append-only history of runs: one row per run and transaction, or a few, holding the events it caused.

`seq` of a row is the number of its first event; numbers are given under the run's lock, so they have no gaps.
Rows are packed because an event of its own row and index entry costs more than the transition it describes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from flowforge.model.event import Event, EventType
from flowforge.store.database import Connection

READ = """
SELECT seq, at, events FROM run_events WHERE run_id = %b
AND seq >= coalesce((SELECT max(seq) FROM run_events WHERE run_id = %b AND seq <= %b::int4), 0)
ORDER BY seq LIMIT %b::int4
"""


#: Events of one row, so that a fan-out of ten thousand does not make one of a megabyte.
PER_ROW = 500


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event with its run and its number in the run's history."""

    run: UUID
    seq: int
    event: Event


def packed(first: int, events: Sequence[Event]) -> list[tuple[int, str]]:
    """Return rows for the events of a run and transaction, the first of them with number *first*: (seq, JSON text)."""
    texts = [_text(event) for event in events]
    if len(texts) <= PER_ROW:
        return [(first, f"[{','.join(texts)}]")] if texts else []
    starts = range(0, len(texts), PER_ROW)
    return [(first + start, f"[{','.join(texts[start : start + PER_ROW])}]") for start in starts]


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


async def read(connection: Connection, run_id: UUID, after: int = 0, limit: int = 10_000) -> list[Numbered]:
    """Return a run's events with numbers above *after*, in order; *limit* counts rows, which hold one or more."""
    cursor = await connection.cursor(binary=True).execute(READ, (run_id, run_id, after + 1, limit))
    rows = await cursor.fetchall()
    return [event for row in rows for event in unpacked(run_id, *row) if event.seq > after]


async def whole(connection: Connection, run_id: UUID, after: int = 0) -> list[Numbered]:
    """Return all of a run's events with numbers above *after*, however many there are."""
    found: list[Numbered] = []
    while some := await read(connection, run_id, after):
        found += some
        after = some[-1].seq
    return found


def _text(event: Event) -> str:
    """Write an event as JSON; put together by hand, because nearly all of it is the same every time."""
    kind, _, step, attempt, data = event
    text = _head(kind, step)
    if attempt is not None:
        text = f'{text},"attempt":{attempt}'
    if data is None:
        return text + "}"
    worker = data.get("worker") if len(data) == 1 else None
    return f'{text},"data":{{"worker":{_quoted(worker)}}}}}' if worker else f'{text},"data":{_encoded(data)}}}'


@lru_cache(maxsize=4096)
def _head(kind: EventType, step: str | None) -> str:
    return f'{{"type":"{kind}"' if step is None else f'{{"type":"{kind}","step":{_encoded(step)}'


_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
_quoted = lru_cache(maxsize=1024)(_encoded)
