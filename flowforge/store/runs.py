"""The rows of runs: locked, read and written in sets.

Every writer of a run's rows first locks the run here, in id order. That makes a join one decision however many
branches settle at the same instant, and makes two batches that share runs wait for each other instead of dying.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncCursor
from psycopg.rows import TupleRow

from flowforge.model.facts import Created
from flowforge.model.plan import Plan
from flowforge.model.state import RunState
from flowforge.model.status import RunStatus
from flowforge.store.database import Connection
from flowforge.store.rows import columns, json_text

#: Locks in id order, whatever order the ids come in: two transactions over the same runs queue up.
#: NO KEY: nothing references a run's key by foreign key, and readers are never blocked.
LOCK = """
SELECT id, version_id, status::text, seq, open_steps, output_bytes, gate_id, workflow_id, created_at, started_at,
       finished_at, deadline_at, wake_at, traceparent, error
FROM runs WHERE id = ANY(%b::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""

#: The clock is read after the locks are held: a transaction may have waited, and its `now()` with it.
CLOCK = "SELECT clock_timestamp()"

#: Values of columns in an index are mostly unchanged here, which keeps the update heap-only.
UPDATE = """
UPDATE runs r
SET status = u.status::run_status, seq = u.seq, open_steps = u.open_steps, output_bytes = u.output_bytes,
    started_at = u.started_at, finished_at = u.finished_at, deadline_at = u.deadline_at, wake_at = u.wake_at,
    error = u.error::jsonb,
    -- The output is at hand only when the run completes; later writes to a completed run keep it.
    output = CASE WHEN u.status = 'completed' THEN coalesce(u.output::jsonb, r.output) END
FROM unnest(%b::uuid[], %b::text[], %b::int4[], %b::int4[], %b::int4[], %b::timestamptz[], %b::timestamptz[],
            %b::timestamptz[], %b::timestamptz[], %b::text[], %b::text[])
     AS u (id, status, seq, open_steps, output_bytes, started_at, finished_at, deadline_at, wake_at, error, output)
WHERE r.id = u.id
"""

INSERT = """
INSERT INTO runs (id, workflow_id, version_id, gate_id, priority, status, seq, open_steps, created_at, started_at,
                  finished_at, deadline_at, wake_at, trigger, replay_of, idempotency_key, input_digest, traceparent,
                  labels, input, output, error)
SELECT u.id, u.workflow_id, u.version_id, u.gate_id, u.priority, u.status::run_status, u.seq, u.open_steps,
       u.created_at, u.started_at, u.finished_at, u.deadline_at, u.wake_at, u.trigger, u.replay_of,
       u.idempotency_key, u.input_digest, u.traceparent, u.labels::jsonb, u.input::jsonb, u.output::jsonb,
       u.error::jsonb
FROM unnest(%b::uuid[], %b::int8[], %b::int8[], %b::int8[], %b::int2[], %b::text[], %b::int4[], %b::int4[],
            %b::timestamptz[], %b::timestamptz[], %b::timestamptz[], %b::timestamptz[], %b::timestamptz[],
            %b::text[], %b::uuid[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],
            %b::text[])
     AS u (id, workflow_id, version_id, gate_id, priority, status, seq, open_steps, created_at, started_at,
           finished_at, deadline_at, wake_at, trigger, replay_of, idempotency_key, input_digest, traceparent,
           labels, input, output, error)
"""

INPUTS = "SELECT id, input FROM runs WHERE id = ANY(%b::uuid[])"

BY_KEY = """
SELECT idempotency_key, id, input_digest FROM runs
WHERE workflow_id = %b::int8 AND idempotency_key = ANY(%b::text[])
"""


@dataclass(frozen=True, slots=True)
class LockedRun:
    """A run's row while its lock is held; becomes a RunState once its plan and steps are known."""

    id: UUID
    version_id: int
    status: RunStatus
    seq: int
    open_steps: int
    output_bytes: int
    gate_id: int | None
    workflow_id: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    wake_at: datetime | None
    traceparent: str | None
    error: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be inserted, in the state a first decision gave it."""

    state: RunState
    workflow_id: int
    version_id: int
    gate_id: int | None
    #: JSON text.
    input: str
    created: Created
    priority: int = 0
    replay_of: UUID | None = None
    idempotency_key: str | None = None
    input_digest: str | None = None
    traceparent: str | None = None
    labels: dict[str, str] | None = None


async def lock(connection: Connection, ids: Sequence[UUID]) -> AsyncCursor[TupleRow]:
    """Lock and read runs; rows are `locked()` from the returned cursor, so that it can be one of a pipeline."""
    return await connection.cursor(binary=True).execute(LOCK, (list(ids),))


def locked(row: TupleRow) -> LockedRun:
    """Build a locked run from its row."""
    return LockedRun(row[0], row[1], RunStatus(row[2]), *row[3:])


def state_of(row: LockedRun, plan: Plan, steps: dict[int, Any], loaded: frozenset[int] | None) -> RunState:
    """Join a locked run with its plan and those of its steps that were read."""
    return RunState(
        id=row.id,
        plan=plan,
        status=row.status,
        seq=row.seq,
        open_steps=row.open_steps,
        steps=steps,
        loaded=loaded,
        error=row.error,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        deadline_at=row.deadline_at,
        wake_at=row.wake_at,
        output_bytes=row.output_bytes,
    )


async def update(connection: Connection, states: Sequence[RunState]) -> None:
    """Write runs that are locked."""
    rows = [
        (
            state.id,
            state.status.value,
            state.seq,
            state.open_steps,
            state.output_bytes,
            state.started_at,
            state.finished_at,
            state.deadline_at,
            state.wake_at,
            json_text(state.error),
            state.output,
        )
        for state in states
    ]
    await connection.cursor(binary=True).execute(UPDATE, columns(rows))


async def insert(connection: Connection, new: Sequence[NewRun]) -> None:
    """Insert runs; ids are chosen by the caller, idempotency keys were looked up under the workflow's lock."""
    rows = [
        (
            run.state.id,
            run.workflow_id,
            run.version_id,
            run.gate_id,
            run.priority,
            run.state.status.value,
            run.state.seq,
            run.state.open_steps,
            run.state.created_at,
            run.state.started_at,
            run.state.finished_at,
            run.state.deadline_at,
            run.state.wake_at,
            run.created.trigger,
            run.replay_of,
            run.idempotency_key,
            run.input_digest,
            run.traceparent,
            json_text(run.labels),
            run.input,
            run.state.output,
            json_text(run.state.error),
        )
        for run in new
    ]
    await connection.cursor(binary=True).execute(INSERT, columns(rows))


async def inputs(connection: Connection, ids: Sequence[UUID]) -> AsyncCursor[TupleRow]:
    """Read the inputs of runs as rows (id, input)."""
    return await connection.cursor(binary=True).execute(INPUTS, (list(ids),))


async def by_idempotency_key(connection: Connection, workflow_id: int, keys: Sequence[str]) -> dict[str, TupleRow]:
    """Return (key, run id, input digest) of the runs that already have one of these keys, by key."""
    cursor = await connection.cursor(binary=True).execute(BY_KEY, (workflow_id, list(keys)))
    return {row[0]: row for row in await cursor.fetchall()}
