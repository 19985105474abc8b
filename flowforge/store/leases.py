"""Leases: a worker's time-limited claim on its attempts, renewed from a thread of its own.

Renewal alone writes step rows without the run's lock: it changes nothing a decision depends on but the time.
Synchronous on purpose: a blocked event loop must not stop it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, TypeAlias
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow

from flowforge.store import pauses

#: run, step number, token
Key: TypeAlias = tuple[UUID, int, int]
Connection: TypeAlias = "psycopg.Connection[TupleRow]"

#: By worker, too: a database that was set back in time gives tokens a second time.
#: SKIP LOCKED: a row that a settlement holds right now needs no renewal, and waiting could deadlock with it.
RENEW = """
WITH mine AS MATERIALIZED (
    SELECT s.run_id, s.step_no
    FROM unnest(%b::uuid[], %b::int4[], %b::int4[]) AS k (run_id, step_no, token)
    JOIN steps s ON s.run_id = k.run_id AND s.step_no = k.step_no AND s.token = k.token AND s.status = 'running'
    WHERE s.worker = %b
    FOR NO KEY UPDATE OF s SKIP LOCKED
)
UPDATE steps s SET due_at = clock_timestamp() + %b::interval
FROM mine WHERE s.run_id = mine.run_id AND s.step_no = mine.step_no
RETURNING s.run_id, s.step_no, s.token, s.cancel_requested
"""

#: What became of attempts that could not be renewed: still ours and merely locked, or lost.
STILL = """
SELECT s.run_id, s.step_no, s.token FROM unnest(%b::uuid[], %b::int4[], %b::int4[]) AS k (run_id, step_no, token)
JOIN steps s ON s.run_id = k.run_id AND s.step_no = k.step_no AND s.token = k.token AND s.status = 'running'
WHERE s.worker = %b
"""

#: The queues that are held come along: nobody asks for them more often.
SEEN = f"""
UPDATE workers SET seen_at = clock_timestamp() WHERE id = %b RETURNING status, ARRAY({pauses.QUEUES})
"""  # noqa: S608 - constants only

PROGRESS = """
UPDATE steps s SET progress = k.progress::jsonb
FROM unnest(%b::uuid[], %b::int4[], %b::int4[], %b::text[]) AS k (run_id, step_no, token, progress)
WHERE s.run_id = k.run_id AND s.step_no = k.step_no AND s.token = k.token AND s.status = 'running'
"""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a renewal found."""

    renewed: frozenset[Key]
    #: Attempts of others by now.
    lost: frozenset[Key]
    #: Attempts that are asked to stop.
    stops: frozenset[Key]


class Seen(NamedTuple):
    """What others want of a worker."""

    #: active, draining or stopped.
    status: str
    #: The queues that nobody may take from.
    paused: frozenset[str]


def renew(connection: Connection, worker: str, keys: Sequence[Key], lease: timedelta) -> Renewal:
    """Prolong a worker's leases, each only while it is still held under its token."""
    arrays = [list(column) for column in zip(*keys, strict=True)]
    rows = connection.execute(RENEW, [*arrays, worker, lease], binary=True).fetchall()
    renewed = frozenset((row[0], row[1], row[2]) for row in rows)
    stops = frozenset((row[0], row[1], row[2]) for row in rows if row[3])
    missing = [key for key in keys if key not in renewed]
    still: frozenset[object] = frozenset()
    if missing:
        arrays = [list(column) for column in zip(*missing, strict=True)]
        still = frozenset(connection.execute(STILL, [*arrays, worker], binary=True).fetchall())
    return Renewal(renewed, frozenset(key for key in missing if key not in still), stops)


def seen(connection: Connection, worker: str) -> Seen | None:
    """Record that a worker lives; return what somebody wants of it, None when its row is gone."""
    row = connection.execute(SEEN, (worker,), binary=True).fetchone()
    return None if row is None else Seen(row[0], frozenset(row[1]))


def progress(connection: Connection, latest: dict[Key, str]) -> None:
    """Store the latest progress of attempts, as JSON text."""
    rows = [(*key, text) for key, text in latest.items()]
    connection.execute(PROGRESS, [list(column) for column in zip(*rows, strict=True)], binary=True)
