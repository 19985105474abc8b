"""What attempts wrote: captured stdout, stderr and logging, one text per attempt."""

from __future__ import annotations

from uuid import UUID

from flowforge.store.database import Connection

APPEND = """
INSERT INTO step_logs (run_id, step_no, attempt, text) VALUES (%b, %b::int4, %b::int4, %b)
ON CONFLICT (run_id, step_no, attempt) DO UPDATE SET text = step_logs.text || excluded.text
"""

READ = """
SELECT step_no, attempt, text FROM step_logs
WHERE run_id = %b AND (%b::int4 IS NULL OR step_no = %b::int4) ORDER BY step_no, attempt
"""


async def append(connection: Connection, run_id: UUID, step: int, attempt: int, text: str) -> None:
    """Add to an attempt's text."""
    # Postgres stores no NUL in text; a lone surrogate cannot be sent.
    clean = text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode()
    await connection.execute(APPEND, (run_id, step, attempt, clean))


async def read(connection: Connection, run_id: UUID, step: int | None = None) -> list[tuple[int, int, str]]:
    """Return (step number, attempt, text) of a run's attempts that wrote anything."""
    cursor = await connection.execute(READ, (run_id, step, step))
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]
