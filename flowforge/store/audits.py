"""What an audit reads: runs with all that is stored of them; in sets, past gates, receipts, and rows of no run.

Read-only. Records are read in one snapshot, so that what is wrong in them was wrong at a commit. What may be on its way
at any moment is read elsewhere (passing.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from flowforge.model.audit import Row, Violation
from flowforge.store.database import Connection

ACTIVE = "SELECT id FROM runs WHERE finished_at IS NULL ORDER BY id"
#: By key from the newest on: ids grow with time.
ENDED = "SELECT id FROM runs WHERE finished_at IS NOT NULL ORDER BY id DESC LIMIT %s"
ALL = "SELECT id FROM runs ORDER BY id"

RUNS = "SELECT * FROM runs WHERE id = ANY(%s)"
STEPS = "SELECT * FROM steps WHERE run_id = ANY(%s)"
EVENTS = "SELECT * FROM run_events WHERE run_id = ANY(%s) ORDER BY run_id, seq"
RECEIPTS = """
SELECT r.run_id, encode(substring(b.hashes FROM r.position * 32 + 1 FOR 32), 'hex') AS hash
FROM receipts r JOIN receipt_batches b ON b.id = r.batch_id WHERE r.run_id = ANY(%s) ORDER BY r.run_receipt_no
"""

ORPHANS = """
SELECT DISTINCT run_id FROM (
    SELECT run_id FROM steps s WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = s.run_id)
    UNION ALL SELECT run_id FROM run_events e WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = e.run_id)
) AS left_over LIMIT %s
"""

#: An admission's time is read under the gate's lock, so the order by time is the order of admissions; of one instant,
#: ends come first.
BUSIEST = """
SELECT g.id, g.workflow_id, w.name || coalesce('/' || nullif(g.key, ''), '') AS name, g.max_active,
       max(held.active) AS busiest
FROM (
    SELECT r.gate_id, sum(step.change) OVER (
        PARTITION BY r.gate_id ORDER BY e.at, step.change ROWS UNBOUNDED PRECEDING) AS active
    FROM runs r JOIN events e ON e.run_id = r.id
    CROSS JOIN LATERAL (SELECT CASE WHEN e.type = 'workflow.started' THEN 1 ELSE -1 END AS change) AS step
    WHERE r.gate_id IS NOT NULL AND r.started_at IS NOT NULL
      AND e.type IN ('workflow.started', 'workflow.completed', 'workflow.failed', 'workflow.cancelled')
) AS held JOIN gates g ON g.id = held.gate_id JOIN workflows w ON w.id = g.workflow_id
GROUP BY g.id, w.name HAVING max(held.active) > g.max_active
"""

#: The runs that came and went at a gate, in the order of that statement.
PAST = """
SELECT e.run_id, e.type = 'workflow.started' AS came FROM runs r JOIN events e ON e.run_id = r.id
WHERE r.gate_id = %s AND r.started_at IS NOT NULL
  AND e.type IN ('workflow.started', 'workflow.completed', 'workflow.failed', 'workflow.cancelled')
ORDER BY e.at, came
"""

VERSIONS = "SELECT id FROM workflow_versions WHERE workflow_id = %s ORDER BY id"

DEFINITIONS = """
SELECT v.id, w.name, v.version, v.digest, v.definition
FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id WHERE v.id > %s ORDER BY v.id LIMIT %s
"""

#: Batches from a number on, each with the runs of its receipts by position.
BATCHES = """
SELECT b.id, b.hashes, b.bodies, b.signature, k.public_key, b.key_id, ARRAY(
    SELECT r.run_id FROM receipts r WHERE r.batch_id = b.id ORDER BY r.position) AS runs
FROM receipt_batches b LEFT JOIN receipt_keys k ON k.id = b.key_id WHERE b.id > %s ORDER BY b.id LIMIT %s
"""
FIRST_BATCH = (
    "SELECT coalesce(min(id), 1) - 1 AS id FROM (SELECT id FROM receipt_batches ORDER BY id DESC LIMIT %s) AS b"
)
HEADS = "SELECT tenant, no, encode(hash, 'hex') AS hash FROM receipt_chains"

#: Rows of one kind that an audit reads.
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything of one run."""

    run: Row
    steps: list[Row]
    events: list[Row]
    #: The hashes of its receipts, oldest first.
    receipts: list[str]


async def _all(connection: Connection, query: str, *parameters: Any) -> list[dict[str, Any]]:
    cursor = connection.cursor(row_factory=dict_row)
    return await (await cursor.execute(query.encode(), parameters or None)).fetchall()


async def ids(connection: Connection, ended: int | None) -> tuple[list[UUID], bool]:
    """Return the runs to audit: those that have not ended, and the newest that have; and whether those are all."""
    if ended is None:
        return [row["id"] for row in await _all(connection, ALL)], True
    found = [row["id"] for row in await _all(connection, ENDED, ended + 1)]
    active = [row["id"] for row in await _all(connection, ACTIVE)]
    return [*active, *found[:ended]], len(found) <= ended


@asynccontextmanager
async def snapshot(connection: Connection) -> AsyncIterator[None]:
    """Let everything that is read in the block be of one moment."""
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


async def read(connection: Connection, run_ids: Sequence[UUID]) -> list[Stored]:
    """Return runs with all that is stored of them, in one snapshot."""
    async with snapshot(connection):
        return await read_within(connection, run_ids)


async def read_within(connection: Connection, run_ids: Sequence[UUID]) -> list[Stored]:
    """Return runs with all that is stored of them, in the caller's transaction."""
    wanted = list(run_ids)
    steps = _by_run(await _all(connection, STEPS, wanted))
    events = _by_run(await _all(connection, EVENTS, wanted))
    receipts = _by_run(await _all(connection, RECEIPTS, wanted))
    return [
        Stored(run, steps[run["id"]], events[run["id"]], [one["hash"] for one in receipts[run["id"]]])
        for run in await _all(connection, RUNS, wanted)
    ]


def _by_run(rows: Sequence[dict[str, Any]]) -> defaultdict[UUID, list[Row]]:
    grouped: defaultdict[UUID, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["run_id"]].append(row)
    return grouped


async def orphans(connection: Connection) -> list[Violation]:
    """Return rows of runs that do not exist; looks through whole tables."""
    rows = await _all(connection, ORPHANS, MOST)
    return [Violation("rows.orphaned", "it has rows and does not exist", row["run_id"]) for row in rows]


async def busiest(connection: Connection) -> list[dict[str, Any]]:
    """Return the gates that ever had more runs than their limit of today, by the whole history."""
    return await _all(connection, BUSIEST)


async def at_most(connection: Connection, gate_id: int) -> list[UUID]:
    """Return the runs that were in at a gate when it had most of them."""
    there: dict[UUID, None] = {}
    most: list[UUID] = []
    for row in await _all(connection, PAST, gate_id):
        if row["came"]:
            there[row["run_id"]] = None
            most = list(there) if len(there) > len(most) else most
        else:
            there.pop(row["run_id"], None)
    return most


async def versions(connection: Connection, workflow_id: int) -> list[int]:
    """Return the ids of all versions of a workflow."""
    return [row["id"] for row in await _all(connection, VERSIONS, workflow_id)]


async def definitions(connection: Connection, after: int, limit: int) -> list[dict[str, Any]]:
    """Return versions with ids above *after*, in order, with their definitions and digests."""
    return await _all(connection, DEFINITIONS, after, limit)


async def first_batch(connection: Connection, newest: int) -> int:
    """Return the number before the first of the newest batches of receipts."""
    (row,) = await _all(connection, FIRST_BATCH, newest)
    return int(row["id"])


async def batches(connection: Connection, after: int, limit: int) -> list[dict[str, Any]]:
    """Return batches of receipts behind a number, in order."""
    return await _all(connection, BATCHES, after, limit)


async def heads(connection: Connection) -> dict[str, tuple[int, str]]:
    """Return the head of each tenant's chain of receipts."""
    return {row["tenant"]: (row["no"], row["hash"]) for row in await _all(connection, HEADS)}
