"""Repairs that a doctor writes: columns of a run and its steps, dispatches nobody needs, heads of chains.

The caller owns the transaction. Whoever remembers a mended run must not write what was decided on the run as it was,
so its revision grows, and what is not known of its steps is looked up from then on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from flowforge.model.mending import Mending
from flowforge.store import receipts
from flowforge.store.database import Connection

LOCK = "SELECT clock_timestamp() FROM runs WHERE id = %s FOR UPDATE"

#: Rechecked as it is written: a relay or a worker may have been quicker.
DELETE_STALE = """
DELETE FROM outbox o USING unnest(%s::text[], %s::int8[]) AS u (lane, id)
WHERE o.lane = u.lane AND o.id = u.id AND NOT EXISTS (
    SELECT FROM steps s WHERE s.run_id = o.run_id AND s.step_no = o.step_no
    AND s.status = 'queued' AND s.dispatch_no = o.dispatch_no)
"""
SET_HEAD = """
INSERT INTO receipt_chains (tenant, no, hash) VALUES (%s, %s, decode(%s, 'hex'))
ON CONFLICT (tenant) DO UPDATE SET no = excluded.no, hash = excluded.hash
"""

#: Two statements: who makes a receipt changes its run, so behind its lock one is seen that was made meanwhile.
LOCK_ENDED = "SELECT FROM runs WHERE id = ANY(%s) AND finished_at IS NOT NULL ORDER BY id FOR NO KEY UPDATE"
MAKE_DUE = f"""
INSERT INTO receipts_due (finished_at, run_id)
SELECT r.finished_at, r.id FROM runs r WHERE r.id = ANY(%s) AND {receipts.WITHOUT} ORDER BY r.id
ON CONFLICT DO NOTHING
"""  # noqa: S608 - constants only

#: Types that a value has to be cast to.
_CASTS = {"status": {"runs": "run_status", "steps": "step_status"}}


async def lock(connection: Connection, run_id: UUID) -> datetime | None:
    """Lock a run; return the time, None when there is no such run."""
    row = await (await connection.execute(LOCK, (run_id,))).fetchone()
    return None if row is None else row[0]


async def write(connection: Connection, run_id: UUID, mending: Mending) -> None:
    """Change the columns of a locked run and of its steps."""
    for no, changes in mending.steps.items():
        where = sql.SQL("WHERE run_id = {} AND step_no = {}").format(run_id, no)
        await connection.execute(sql.SQL("UPDATE steps SET {} {}").format(_set("steps", changes), where))
    counted = sql.SQL("revision = revision + 1, rows_ahead = true")
    columns = sql.SQL(", ").join([_set("runs", mending.run), counted]) if mending.run else counted
    await connection.execute(sql.SQL("UPDATE runs SET {} WHERE id = {}").format(columns, run_id))
    if mending.run and mending.run.get("finished_at") is not None:
        await make_due(connection, [run_id])


async def make_due(connection: Connection, runs: Sequence[UUID]) -> None:
    """Ask for receipts of runs that have ended, those that have none."""
    await connection.execute(LOCK_ENDED, (list(runs),))
    await connection.execute(MAKE_DUE.encode(), (list(runs),))


def _set(table: str, changes: Mapping[str, Any]) -> sql.Composable:
    """Return assignments; the names come from the model, the values are quoted by the driver."""
    parts = []
    for name, value in changes.items():
        literal: Any = Jsonb(value) if name == "error" and value is not None else value
        assigned = sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(literal))
        cast = _CASTS.get(name, {}).get(table)
        parts.append(assigned if cast is None else sql.SQL("{}::{}").format(assigned, sql.Identifier(cast)))
    return sql.SQL(", ").join(parts)


async def delete_stale(connection: Connection, keys: Sequence[tuple[str, int]]) -> int:
    """Delete dispatches that their steps are past; return how many."""
    lanes, ids = [lane for lane, _ in keys], [number for _, number in keys]
    return (await connection.execute(DELETE_STALE, (lanes, ids))).rowcount


async def set_head(connection: Connection, tenant: str, no: int, digest: str) -> None:
    """Set the head of a tenant's chain to its last receipt; whoever calls it makes receipts, and nobody else."""
    await connection.execute(SET_HEAD, (tenant, no, digest))
