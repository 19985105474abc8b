"""What attempts wrote: captured stdout, stderr and logging, one text per attempt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from flowforge.store.database import Connection
from flowforge.store.rows import columns

APPEND = """
INSERT INTO step_logs (run_id, step_no, attempt, text)
SELECT * FROM unnest(%b::uuid[], %b::int4[], %b::int4[], %b::text[])
ON CONFLICT (run_id, step_no, attempt) DO UPDATE SET text = step_logs.text || excluded.text
"""

READ = """
SELECT step_no, attempt, text FROM step_logs
WHERE run_id = %b AND (%b::int4 IS NULL OR step_no = %b::int4) ORDER BY step_no, attempt
"""

KEYS = """
SELECT step_no, attempt FROM step_logs
WHERE run_id = %b AND (%b::int4 IS NULL OR step_no = %b::int4) ORDER BY step_no, attempt
"""

SOME = """
SELECT l.step_no, l.attempt, l.text
FROM unnest(%b::int4[], %b::int4[]) AS u (step_no, attempt)
JOIN step_logs l ON l.step_no = u.step_no AND l.attempt = u.attempt AND l.run_id = %b
"""


class Log(NamedTuple):
    """The text of one attempt."""

    run_id: UUID
    step: int
    attempt: int
    text: str


async def append(connection: Connection, written: Sequence[Log]) -> None:
    """Store what attempts wrote."""
    # Postgres stores no NUL in text; a lone surrogate cannot be sent.
    rows = [
        log._replace(text=log.text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode())
        for log in written
    ]
    await connection.cursor(binary=True).execute(APPEND, columns(rows))


async def keys(connection: Connection, run_id: UUID, step: int | None = None) -> list[tuple[int, int]]:
    """Return (step number, attempt) of a run's attempts that wrote anything, in order."""
    cursor = await connection.execute(KEYS, (run_id, step, step))
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def texts(connection: Connection, run_id: UUID, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Return what some attempts of a run wrote, by step number and attempt."""
    steps, attempts = columns(wanted)
    cursor = await connection.execute(SOME, (steps, attempts, run_id))
    return {(row[0], row[1]): row[2] for row in await cursor.fetchall()}


async def read(connection: Connection, run_id: UUID, step: int | None = None) -> list[tuple[int, int, str]]:
    """Return (step number, attempt, text) of a run's attempts that wrote anything."""
    cursor = await connection.execute(READ, (run_id, step, step))
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]
