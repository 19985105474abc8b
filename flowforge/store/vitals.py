"""What Postgres says of itself, and who works: for diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row

from flowforge.store.database import Connection

VITALS = """
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
       clock_timestamp() AS now, current_setting('fsync') = 'on' AS fsync,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('full_page_writes') = 'on' AS full_page_writes,
       current_setting('max_connections')::int AS max_connections,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS connections,
       (SELECT min(xact_start) FROM pg_stat_activity WHERE xact_start IS NOT NULL AND backend_type = 'client backend'
        AND pid <> pg_backend_pid()) AS oldest_transaction,
       pg_database_size(current_database()) AS bytes, pg_is_in_recovery() AS standby
"""

#: Queued steps of active runs, by version and step: which of them are of one queue, only the version's plan says.
QUEUED = """
SELECT r.version_id, s.step_no, count(*)::int AS count, min(s.queued_at) AS since, (array_agg(r.id))[1:10] AS runs
FROM runs r JOIN steps s ON s.run_id = r.id
WHERE r.finished_at IS NULL AND r.status IN ('running', 'compensating') AND s.status = 'queued'
  AND s.queued_at < clock_timestamp() - make_interval(secs => %s)
GROUP BY r.version_id, s.step_no LIMIT 10000
"""

OUTBOX = "SELECT count(*) FROM outbox"


@dataclass(frozen=True, slots=True)
class PostgresVitals:
    """The server at one moment; the fields are the columns of the statement."""

    version: str
    number: int
    now: datetime
    fsync: bool
    synchronous_commit: str
    full_page_writes: bool
    max_connections: int
    connections: int
    oldest_transaction: datetime | None
    bytes: int
    standby: bool


async def vitals(connection: Connection) -> PostgresVitals:
    """Return what the server says of itself."""
    cursor = connection.cursor(row_factory=dict_row)
    row = await (await cursor.execute(VITALS)).fetchone()
    assert row is not None
    return PostgresVitals(**row)


async def queued(connection: Connection, patience: float) -> list[dict[str, Any]]:
    """Return how many steps have been queued for longer than *patience* seconds, by version and step."""
    cursor = connection.cursor(row_factory=dict_row)
    return await (await cursor.execute(QUEUED, (patience,))).fetchall()


async def outbox(connection: Connection) -> int:
    """Return how many dispatches are not published."""
    row = await (await connection.execute(OUTBOX)).fetchone()
    return int(row[0]) if row else 0
