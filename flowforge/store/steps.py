"""The rows of steps: read, inserted and updated in sets, always under their runs' locks.

The table has no index but its key, so every update here is heap-only. Leases alone are also renewed without the
run's lock (see leases.py), which is safe because renewal changes nothing that a decision depends on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from psycopg import AsyncCursor
from psycopg.rows import TupleRow

from flowforge.model.state import StepState
from flowforge.model.status import StepStatus
from flowforge.store.database import Connection
from flowforge.store.rows import columns, json_text

_STATE = """s.run_id, s.step_no, s.status::text, s.open_dependencies, s.skipped_dependencies, s.attempt, s.failures,
       s.crashes, s.token, s.dispatch_no, s.worker, s.due_at, s.queued_at, s.started_at, s.finished_at,
       s.cancel_requested, s.branch, s.error"""

SELECTED = f"""
SELECT {_STATE} FROM unnest(%b::uuid[], %b::int4[]) AS k (run_id, step_no) JOIN steps s USING (run_id, step_no)
"""  # noqa: S608 - constants only

WHOLE = f"SELECT {_STATE} FROM steps s WHERE s.run_id = ANY(%b::uuid[])"  # noqa: S608

_ARRAYS = """unnest(%b::uuid[], %b::int4[], %b::text[], %b::int4[], %b::int4[], %b::int4[], %b::int4[], %b::int4[],
            %b::int4[], %b::int4[], %b::text[], %b::timestamptz[], %b::timestamptz[], %b::timestamptz[],
            %b::timestamptz[], %b::boolean[], %b::text[], %b::text[], %b::text[])
     AS u (run_id, step_no, status, open_dependencies, skipped_dependencies, attempt, failures, crashes, token,
           dispatch_no, worker, due_at, queued_at, started_at, finished_at, cancel_requested, branch, error, output)"""

INSERT = f"""
INSERT INTO steps (run_id, step_no, status, open_dependencies, skipped_dependencies, attempt, failures, crashes,
                   token, dispatch_no, worker, due_at, queued_at, started_at, finished_at, cancel_requested, branch,
                   error, output)
SELECT u.run_id, u.step_no, u.status::step_status, u.open_dependencies, u.skipped_dependencies, u.attempt,
       u.failures, u.crashes, u.token, u.dispatch_no, u.worker, u.due_at, u.queued_at, u.started_at, u.finished_at,
       u.cancel_requested, u.branch, u.error::jsonb, u.output::jsonb
FROM {_ARRAYS}
"""  # noqa: S608

#: A null output leaves the stored one: only the decision that completes a step has it at hand.
UPDATE = f"""
UPDATE steps s
SET status = u.status::step_status, open_dependencies = u.open_dependencies,
    skipped_dependencies = u.skipped_dependencies, attempt = u.attempt, failures = u.failures, crashes = u.crashes,
    token = u.token, dispatch_no = u.dispatch_no, worker = u.worker, due_at = u.due_at, queued_at = u.queued_at,
    started_at = u.started_at, finished_at = u.finished_at, cancel_requested = u.cancel_requested,
    branch = u.branch, error = u.error::jsonb, output = coalesce(u.output::jsonb, s.output)
FROM {_ARRAYS}
WHERE s.run_id = u.run_id AND s.step_no = u.step_no
"""  # noqa: S608

OUTPUTS = """
SELECT s.run_id, s.step_no, s.output, s.error, s.status::text
FROM unnest(%b::uuid[], %b::int4[]) AS k (run_id, step_no) JOIN steps s USING (run_id, step_no)
"""

_STATUSES = {status.value: status for status in StepStatus}

Key = tuple[UUID, int]


async def select(connection: Connection, keys: Sequence[Key]) -> AsyncCursor[TupleRow]:
    """Read single steps; rows are `state()` from the returned cursor."""
    return await connection.cursor(binary=True).execute(SELECTED, columns(keys))


async def select_whole(connection: Connection, run_ids: Sequence[UUID]) -> AsyncCursor[TupleRow]:
    """Read every step of runs; rows are `state()` from the returned cursor."""
    return await connection.cursor(binary=True).execute(WHOLE, (list(run_ids),))


def state(row: TupleRow) -> tuple[UUID, StepState]:
    """Build a step's state from its row."""
    return row[0], StepState(row[1], _STATUSES[row[2]], *row[3:])


async def write(connection: Connection, new: Iterable[tuple[UUID, StepState]], *, insert: bool) -> None:
    """Insert or update steps."""
    rows = [
        (run_id, state[0], state.status.value, *state[2:16], json_text(state.error), state.output)
        for run_id, state in new
    ]
    if rows:
        await connection.cursor(binary=True).execute(INSERT if insert else UPDATE, columns(rows))


async def outputs(connection: Connection, keys: Sequence[Key]) -> AsyncCursor[TupleRow]:
    """Read outputs as rows (run id, step number, output, error, status)."""
    return await connection.cursor(binary=True).execute(OUTPUTS, columns(keys))
