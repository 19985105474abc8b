"""The rows of runs: locked and read in sets.

Whoever decides on what a run was, and not on what it is, finds the run's revision changed when it writes
(transitions.py). Where that would happen again and again, or where a decision needs the whole run, the run is locked
first, in id order: two batches that share runs wait for each other instead of dying.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.rows import TupleRow

from flowforge.model.plan import Plan
from flowforge.model.state import RunState, Signal, StepState
from flowforge.model.status import RunStatus
from flowforge.store import steps
from flowforge.store.binary import bools, execute, int4s, statement, uuids
from flowforge.store.database import Connection

#: What `row` takes.
COLUMNS = """r.id, r.version_id, r.gate_id, r.created_at, r.traceparent, r.parent_run_id, r.parent_step_no,
       r.status::text, r.revision, r.seq,
       r.open_steps, r.output_bytes, r.rows_ahead, r.started_at, r.finished_at, r.deadline_at, r.wake_at, r.error"""
#: Where a run's columns end.
WIDTH = 18

#: Locks in id order, whatever order the ids come in: two transactions over the same runs queue up.
#: NO KEY: nothing references a run's key by foreign key, and readers are never blocked.
#: The clock is the last column, and not `now()`: a transaction may have waited for a lock. A row that was changed
#: meanwhile is read again, the clock with it; one that was not has the time of before, which is not too late.
LOCK = statement(
    f"""
SELECT {COLUMNS}, clock_timestamp() FROM runs r WHERE r.id = ANY(%b) ORDER BY r.id FOR NO KEY UPDATE
"""  # noqa: S608 - constants only
)

CLOCK = "SELECT clock_timestamp()"

#: Bytes of an input that is read along, whether it will be asked for or not: less than asking again would cost.
SMALL_INPUT = 4000

INPUT = f"CASE WHEN pg_column_size(r.input) <= {SMALL_INPUT} THEN r.input::text END"

#: Runs and some of their steps as of one snapshot. The input comes with one of a run's rows only.
LOOK = statement(
    f"""
SELECT {COLUMNS}, clock_timestamp(), CASE WHEN k.input THEN {INPUT} END, {steps.STATE}
FROM unnest(%b, %b, %b) AS k (run_id, step_no, input)
JOIN runs r ON r.id = k.run_id LEFT JOIN steps s ON s.run_id = k.run_id AND s.step_no = k.step_no
"""  # noqa: S608 - constants only
)

INPUTS = statement("SELECT id, input FROM runs WHERE id = ANY(%b)")

BY_KEY = """
SELECT idempotency_key, id, input_digest FROM runs
WHERE workflow_id = %b::int8 AND idempotency_key = ANY(%b::text[]) AND input_digest IS NOT NULL
"""

#: A key that has run out is forgotten by its run, which still shows it.
RELEASE = """
UPDATE runs SET input_digest = NULL
WHERE workflow_id = %b::int8 AND idempotency_key = ANY(%b::text[]) AND input_digest IS NOT NULL
  AND created_at < clock_timestamp() - %b::interval
"""


#: Runs under way that steps have started.
STARTED_BY = statement("""
SELECT r.id FROM unnest(%b, %b) AS k (run_id, step_no)
JOIN runs r ON r.parent_run_id = k.run_id AND r.parent_step_no = k.step_no WHERE r.finished_at IS NULL
""")

#: Runs under way whose parent has ended: whoever ended that could not say so.
ORPHANS = """
SELECT r.id FROM runs r JOIN runs p ON p.id = r.parent_run_id
WHERE r.parent_run_id IS NOT NULL AND r.finished_at IS NULL AND r.status <> 'cancelling' AND p.finished_at IS NOT NULL
LIMIT %b::int4
"""

_STATUSES = {status.value: status for status in RunStatus}


class RunRow(NamedTuple):
    """A run's row: what never changes, and the rest, which becomes a RunState once its plan and steps are known."""

    id: UUID
    version_id: int
    gate_id: int | None
    created_at: datetime
    traceparent: str | None
    #: Run and number of the step that started it.
    parent: tuple[UUID, int] | None
    rest: tuple[Any, ...]

    @property
    def rows_ahead(self) -> bool:
        """Whether steps may have rows although nothing before them is final."""
        return bool(self.rest[5])

    def state(
        self,
        plan: Plan,
        found: dict[int, StepState],
        loaded: frozenset[int] | None,
        signals: tuple[Signal, ...] | None = None,
    ) -> RunState:
        """Join the row with its plan, those of its steps that were read, and what came for them."""
        status, revision, seq, open_steps, output_bytes, ahead, started, finished, deadline, wake, error = self.rest
        return RunState(
            id=self.id,
            plan=plan,
            status=_STATUSES[status],
            seq=seq,
            open_steps=open_steps,
            steps=found,
            loaded=loaded,
            error=error,
            created_at=self.created_at,
            started_at=started,
            finished_at=finished,
            deadline_at=deadline,
            wake_at=wake,
            output_bytes=output_bytes,
            revision=revision,
            rows_ahead=ahead,
            traceparent=self.traceparent,
            signals=signals,
        )


class Seen(NamedTuple):
    """Runs with some of their steps, at one moment."""

    rows: dict[UUID, RunRow]
    steps: dict[UUID, dict[int, StepState]]
    #: JSON texts, of inputs that are small.
    inputs: dict[UUID, str]
    #: The server's clock; None when no run was found.
    now: datetime | None


async def lock(connection: Connection, ids: Sequence[UUID]) -> tuple[list[RunRow], datetime | None]:
    """Lock runs; return their rows and the server's time, None when there is no row."""
    cursor = await execute(connection, LOCK, (uuids(ids),))
    found = await cursor.fetchall()
    return [row(columns) for columns in found], max((columns[-1] for columns in found), default=None)


async def clock(connection: Connection) -> datetime:
    """Return the server's time."""
    row = await (await connection.cursor(binary=True).execute(CLOCK)).fetchone()
    assert row is not None
    now: datetime = row[0]
    return now


def row(columns: TupleRow) -> RunRow:
    """Build a run from its columns."""
    run_id, version_id, gate_id, created_at, traceparent, parent, step, *rest = columns[:WIDTH]
    above = None if parent is None else (parent, step)
    return RunRow(run_id, version_id, gate_id, created_at, traceparent, above, tuple(rest))


async def look(connection: Connection, wanted: Sequence[tuple[UUID, int]]) -> Seen:
    """Read runs, and some of their steps, without locking anything."""
    ids, numbers = zip(*wanted, strict=True)
    first: list[bool] = []
    before: set[UUID] = set()
    for run_id in ids:
        first.append(run_id not in before)
        before.add(run_id)
    seen = Seen({}, {}, {}, None)
    cursor = await execute(connection, LOOK, (uuids(ids), int4s(numbers), bools(first)))
    for columns in await cursor.fetchall():
        run_id = columns[0]
        if run_id not in seen.rows:
            seen = seen._replace(now=columns[WIDTH]) if seen.now is None else seen
            seen.rows[run_id], seen.steps[run_id] = row(columns), {}
        if columns[WIDTH + 1] is not None:
            seen.inputs[run_id] = columns[WIDTH + 1]
        if columns[WIDTH + 2] is not None:
            state = steps.state(columns[WIDTH + 2 :])
            seen.steps[run_id][state.no] = state
    return seen


async def inputs(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Any]:
    """Return the inputs of runs."""
    cursor = await execute(connection, INPUTS, (uuids(ids),))
    return dict(await cursor.fetchall())


async def by_idempotency_key(connection: Connection, workflow_id: int, keys: Sequence[str]) -> dict[str, TupleRow]:
    """Return (key, run id, input digest) of the runs that already have one of these keys, by key."""
    cursor = await connection.cursor(binary=True).execute(BY_KEY, (workflow_id, list(keys)))
    return {row[0]: row for row in await cursor.fetchall()}


async def release_keys(connection: Connection, workflow_id: int, keys: Sequence[str], window: timedelta) -> None:
    """Let idempotency keys that were used longer ago than the window be used again."""
    await connection.cursor(binary=True).execute(RELEASE, (workflow_id, list(keys), window))


async def started_by(connection: Connection, keys: Sequence[tuple[UUID, int]]) -> list[UUID]:
    """Return the runs under way that steps (run, number) have started."""
    ids, numbers = zip(*keys, strict=True)
    cursor = await execute(connection, STARTED_BY, (uuids(ids), int4s(numbers)))
    return [row[0] for row in await cursor.fetchall()]


async def orphans(connection: Connection, limit: int) -> list[UUID]:
    """Return runs under way whose parent has ended."""
    cursor = await connection.cursor(binary=True).execute(ORPHANS, (limit,))
    return [row[0] for row in await cursor.fetchall()]
