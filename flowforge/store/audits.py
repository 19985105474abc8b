"""What an audit reads: runs with all that is stored of them, and, in sets, what is left over, held and chained.

Read-only. Records are read in one snapshot, so that what is wrong in them was wrong at a commit. What may be on its way
at any moment is asked for with a patience, in seconds: nothing younger than that is returned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from flowforge.model.audit import Row, Violation
from flowforge.store import pauses
from flowforge.store.database import Connection
from flowforge.store.receipts import WITHOUT

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

#: Dispatches that their step is past.
STALE = """
SELECT o.lane, o.id, o.run_id, s.status::text, o.dispatch_no, s.dispatch_no AS newest
FROM outbox o LEFT JOIN steps s ON s.run_id = o.run_id AND s.step_no = o.step_no
WHERE s.run_id IS NULL OR s.status <> 'queued' OR s.dispatch_no <> o.dispatch_no LIMIT %s
"""
LATE = """
SELECT o.run_id, o.lane, s.queued_at
FROM outbox o JOIN steps s ON s.run_id = o.run_id AND s.step_no = o.step_no AND s.dispatch_no = o.dispatch_no
WHERE s.status = 'queued' AND s.queued_at <= clock_timestamp() - make_interval(secs => %s) LIMIT %s
"""
#: A paused run dispatches nothing, and nobody takes from a queue that is held: what is queued there is not overdue. On
#: which queue a step is, its row does not say, so while one is held none is judged.
OVERDUE = f"""
SELECT r.id, s.step_no, s.status::text, s.due_at
FROM runs r JOIN steps s ON s.run_id = r.id
WHERE r.finished_at IS NULL AND s.status IN ('running', 'waiting', 'queued')
  AND NOT (s.status = 'queued' AND (r.status NOT IN ('running', 'compensating') OR EXISTS ({pauses.QUEUES})))
  AND s.due_at < clock_timestamp() - make_interval(secs => %s)
LIMIT %s
"""  # noqa: S608 - constants only
ORPHANS = """
SELECT DISTINCT run_id FROM (
    SELECT run_id FROM steps s WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = s.run_id)
    UNION ALL SELECT run_id FROM run_events e WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = e.run_id)
) AS left_over LIMIT %s
"""

#: Who waits at a gate because its workflow is held is not waiting for room.
GATES = f"""
SELECT g.id, w.name || coalesce('/' || nullif(g.key, ''), '') AS name, g.max_active,
       count(*) FILTER (WHERE r.status IN ('running', 'paused', 'cancelling', 'compensating')) AS active,
       count(*) FILTER (WHERE r.status = 'pending' AND (w.id IN ({pauses.HELD_WORKFLOWS})) IS NOT TRUE) AS waiting,
       array_agg(r.id ORDER BY r.id) FILTER (WHERE r.id IS NOT NULL) AS runs
FROM gates g JOIN workflows w ON w.id = g.workflow_id LEFT JOIN runs r ON r.gate_id = g.id AND r.finished_at IS NULL
GROUP BY g.id, w.name
"""  # noqa: S608 - constants only
#: An admission's time is read under the gate's lock, so the order by time is the order of admissions; of one instant,
#: ends come first.
BUSIEST = """
SELECT g.id, w.name || coalesce('/' || nullif(g.key, ''), '') AS name, g.max_active, max(held.active) AS busiest
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

DEFINITIONS = """
SELECT v.id, w.name, v.version, v.digest, v.definition
FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id ORDER BY v.id
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
#: Those that are said to be due, and the newest ends, whatever is said of them.
DUE = f"""
SELECT r.id FROM (
    SELECT run_id AS id FROM receipts_due
    UNION (SELECT id FROM runs WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT %s)
) AS recent JOIN runs r USING (id)
WHERE {WITHOUT} AND r.finished_at < clock_timestamp() - make_interval(secs => %s) LIMIT %s
"""  # noqa: S608 - constants only

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


async def leftovers(connection: Connection, patience: float) -> list[Violation]:
    """Return what somebody should have done by now: dispatches, leases, timers."""
    found: list[Violation] = []
    for row in await _all(connection, STALE, MOST):
        what = "has no row" if row["status"] is None else f"is {row['status']}, at dispatch {row['newest']}"
        detail = f"dispatch {row['dispatch_no']} is in the outbox, and its step {what}"
        found.append(Violation("outbox.stale", detail, row["run_id"], (row["lane"], row["id"])))
    for row in await _all(connection, LATE, patience, MOST):
        detail = f"a dispatch of {_time(row['queued_at'])} for lane {row['lane']} is in the outbox"
        found.append(Violation("outbox.late", detail, row["run_id"], row["lane"]))
    kinds = {"running": ("lease.over", "its lease ended"), "waiting": ("timer.late", "its timer was due")}
    for row in await _all(connection, OVERDUE, patience, MOST):
        kind, what = kinds.get(row["status"], ("step.unclaimed", "it should have been claimed"))
        detail = f"step {row['step_no']} is {row['status']}: {what} at {_time(row['due_at'])}"
        found.append(Violation(kind, detail, row["id"], row["step_no"]))
    return found


async def orphans(connection: Connection) -> list[Violation]:
    """Return rows of runs that do not exist; looks through whole tables."""
    rows = await _all(connection, ORPHANS, MOST)
    return [Violation("rows.orphaned", "it has rows and does not exist", row["run_id"]) for row in rows]


async def gates(connection: Connection) -> list[Violation]:
    """Return gates with too many runs, and those with room that nobody was let into."""
    found: list[Violation] = []
    for row in await _all(connection, GATES):
        name = f"gate {row['name']}"
        if row["active"] > row["max_active"]:
            detail = f"{name} has {row['active']} active runs, the limit is {row['max_active']}"
            found += [Violation("gate.over", detail, run, row["id"]) for run in row["runs"]]
        if row["waiting"] and row["active"] < row["max_active"]:
            detail = f"{name} has room ({row['active']} of {row['max_active']}) and {row['waiting']} runs waiting"
            found += [Violation("gate.idle", detail, run, row["id"]) for run in row["runs"]]
    return found


async def busiest(connection: Connection) -> list[Violation]:
    """Return gates that ever had too many runs, by the whole history."""
    return [
        Violation(
            "gate.was_over",
            f"gate {row['name']} had {row['busiest']} runs at once, the limit is {row['max_active']}",
            None,
            row["id"],
        )
        for row in await _all(connection, BUSIEST)
    ]


async def definitions(connection: Connection) -> list[dict[str, Any]]:
    """Return every version with its definition and its digest."""
    return await _all(connection, DEFINITIONS)


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


async def without_receipt(connection: Connection, patience: float) -> list[Violation]:
    """Return runs that have ended and have no receipt of that, among the newest and those said to be due."""
    rows = await _all(connection, DUE, MOST, patience, MOST)
    return [Violation("receipt.due", "it has ended and has no receipt of that", row["id"]) for row in rows]


def _time(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="seconds")
