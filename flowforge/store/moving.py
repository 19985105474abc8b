"""The rows of a run that goes on with another version of its workflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from flowforge.model.state import StepState
from flowforge.store.database import Connection
from flowforge.store.rows import json_text

LOCK = """
SELECT id FROM runs WHERE id = %b::uuid AND version_id = %b::int8 AND status IN ('failed', 'cancelled')
FOR NO KEY UPDATE
"""
NUMBERS = "SELECT step_no FROM steps WHERE run_id = %b::uuid"
#: Whoever remembers the run must not write what was decided on the old version.
MOVE = "UPDATE runs SET version_id = %b::int8, revision = revision + 1, rows_ahead = true WHERE id = %b::uuid"
#: What has a step's number.
TABLES = ("steps", "step_logs", "signals")
#: The runs that the run's steps have started; those that are theirs no more have the number mirrored.
STARTED = """
UPDATE runs r SET parent_step_no = CASE WHEN r.parent_step_no < 0 THEN -1 - k.after ELSE k.after END
FROM unnest(%b::int4[], %b::int4[]) AS k (before, after)
WHERE r.parent_run_id = %b::uuid AND greatest(r.parent_step_no, -1 - r.parent_step_no) = k.before
"""

#: What steps came to that are of another type now; not that it was undone, and how often.
FORGET = """
UPDATE steps SET status = CASE status WHEN 'compensated' THEN status ELSE 'cancelled' END,
    label = CASE WHEN label LIKE 'undone:%%' THEN label END, output = NULL, error = NULL, due_at = NULL
WHERE run_id = %b::uuid AND step_no = ANY(%b::int4[])
"""
#: A step is a row with the columns of StepState.
RECALL = """
INSERT INTO steps (run_id, step_no, status, open_dependencies, skipped_dependencies, attempt, failures, crashes, token,
                   dispatch_no, worker, due_at, queued_at, started_at, finished_at, cancel_requested, label, error,
                   output)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::json)
"""


async def lock(connection: Connection, run_id: UUID, version_id: int) -> bool:
    """Lock an ended run of a version; False if it is not one any more."""
    row = await (await connection.cursor(binary=True).execute(LOCK, (run_id, version_id))).fetchone()
    return row is not None


async def numbers(connection: Connection, run_id: UUID) -> list[int]:
    """Return the numbers of the steps that have a row."""
    cursor = await connection.cursor(binary=True).execute(NUMBERS, (run_id,))
    return [row[0] for row in await cursor.fetchall()]


async def renumber(connection: Connection, run_id: UUID, version_id: int, new: Mapping[int, int | None]) -> None:
    """Give steps other numbers, and drop those that have none; the run belongs to the version from then on."""
    cursor = connection.cursor(binary=True)
    gone = [no for no, number in new.items() if number is None]
    kept = [(no, number) for no, number in new.items() if number is not None]
    before, after = [no for no, _ in kept], [number for _, number in kept]
    for table in TABLES:
        await cursor.execute(
            f"DELETE FROM {table} WHERE run_id = %b::uuid AND step_no = ANY(%b::int4[])",  # noqa: S608 - a constant
            (run_id, gone),
        )
        # Twice, by way of numbers that no step has: two steps may change places.
        await cursor.execute(
            f"UPDATE {table} SET step_no = -1 - step_no WHERE run_id = %b::uuid AND step_no >= 0",  # noqa: S608
            (run_id,),
        )
        await cursor.execute(
            f"""UPDATE {table} t SET step_no = k.after FROM unnest(%b::int4[], %b::int4[]) AS k (before, after)
                WHERE t.run_id = %b::uuid AND t.step_no = -1 - k.before""",  # noqa: S608 - a constant
            (before, after, run_id),
        )
    await cursor.execute(STARTED, (before, after, run_id))
    await cursor.execute(MOVE, (version_id, run_id))


async def forget(connection: Connection, run_id: UUID, numbers: Sequence[int]) -> None:
    """Let steps have come to nothing."""
    await connection.cursor(binary=True).execute(FORGET, (run_id, list(numbers)))


async def recall(connection: Connection, run_id: UUID, states: Iterable[StepState]) -> None:
    """Give steps a row again."""
    for state in states:
        *columns, error, output = state
        await connection.execute(RECALL, (run_id, *columns, json_text(error), output))
