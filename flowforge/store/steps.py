"""The rows of steps, read in sets.

The table has no index but its key, so every update of it is heap-only. Rows are written with their runs
(transitions.py); leases alone are also renewed by themselves (leases.py), which is safe because renewal changes
nothing that a decision depends on.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from psycopg.rows import TupleRow

from flowforge.model.state import StepState
from flowforge.model.status import StepStatus
from flowforge.store.binary import execute, int4s, statement, uuids
from flowforge.store.database import Connection

#: A StepState.
STATE = """s.step_no, s.status::text, s.open_dependencies, s.skipped_dependencies, s.attempt, s.failures,
       s.crashes, s.token, s.dispatch_no, s.worker, s.due_at, s.queued_at, s.started_at, s.finished_at,
       s.cancel_requested, s.label, s.error"""

SELECTED = statement(
    f"""
SELECT s.run_id, {STATE} FROM unnest(%b, %b) AS k (run_id, step_no) JOIN steps s USING (run_id, step_no)
"""  # noqa: S608 - constants only
)

WHOLE = statement(f"SELECT s.run_id, {STATE} FROM steps s WHERE s.run_id = ANY(%b)")  # noqa: S608 - constants only

OUTPUTS = statement("""
SELECT s.run_id, s.step_no, s.output, s.error, s.status::text
FROM unnest(%b, %b) AS k (run_id, step_no) JOIN steps s USING (run_id, step_no)
""")

#: The outputs of steps that were claimed again since somebody read them.
NEWER_OUTPUTS = statement("""
SELECT s.run_id, s.step_no, s.token, s.output FROM unnest(%b, %b, %b) AS k (run_id, step_no, token)
JOIN steps s USING (run_id, step_no) WHERE s.token <> k.token
""")

_STATUSES = {status.value: status for status in StepStatus}

Key = tuple[UUID, int]


async def select(connection: Connection, keys: Sequence[Key]) -> list[TupleRow]:
    """Read single steps as rows (run id, columns of the state…)."""
    ids, numbers = zip(*keys, strict=True)
    cursor = await execute(connection, SELECTED, (uuids(ids), int4s(numbers)))
    return await cursor.fetchall()


async def select_whole(connection: Connection, run_ids: Sequence[UUID]) -> list[TupleRow]:
    """Read every step of runs as rows (run id, columns of the state…)."""
    cursor = await execute(connection, WHOLE, (uuids(run_ids),))
    return await cursor.fetchall()


def state(columns: TupleRow) -> StepState:
    """Build a step's state from its columns."""
    return StepState(columns[0], _STATUSES[columns[1]], *columns[2:])


async def outputs(connection: Connection, keys: Sequence[Key]) -> list[TupleRow]:
    """Read outputs as rows (run id, step number, output, error, status)."""
    ids, numbers = zip(*keys, strict=True)
    cursor = await execute(connection, OUTPUTS, (uuids(ids), int4s(numbers)))
    return await cursor.fetchall()


async def newer_outputs(connection: Connection, known: Sequence[tuple[Key, int]]) -> list[TupleRow]:
    """Read as rows (run id, step number, token, output) those outputs that are not of the token that is known."""
    ids, numbers, tokens = zip(*((*key, token) for key, token in known), strict=True)
    cursor = await execute(connection, NEWER_OUTPUTS, (uuids(ids), int4s(numbers), int4s(tokens)))
    return await cursor.fetchall()
