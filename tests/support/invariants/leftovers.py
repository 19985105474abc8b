"""What is left that somebody should have done: dispatches, leases, timers, entries of streams, rows of nobody.

Invariant 7 (checker.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import redis
from psycopg.rows import DictRow


def tables(connection: psycopg.Connection[DictRow]) -> Iterator[str]:
    """Yield what is left in tables: dispatches, leases, timers, rows of runs that do not exist."""
    if (waiting := connection.execute("SELECT count(*) AS n FROM outbox").fetchone()) and waiting["n"]:
        yield f"{waiting['n']} rows are left in the outbox"
    query = """
    SELECT s.run_id, s.step_no, s.status, s.due_at FROM steps s
    WHERE s.status IN ('running', 'waiting', 'queued') AND s.due_at < clock_timestamp() - interval '2 seconds'
    """
    for row in connection.execute(query).fetchall():
        what = {"running": "lease ended", "waiting": "timer is overdue", "queued": "was not claimed"}[row["status"]]
        yield f"run {row['run_id']}: step {row['step_no']}: {what} ({row['due_at']})"
    query = """
    SELECT run_id, step_no FROM steps s WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = s.run_id)
    UNION ALL SELECT run_id, -1 FROM run_events e WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = e.run_id)
    """
    for row in connection.execute(query).fetchall():
        yield f"rows of run {row['run_id']}, which does not exist"


def streams(url: str, prefix: str) -> Iterator[str]:
    """Yield what is pending in a group, or waits in a dispatch stream."""
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(match=f"{prefix}:q:*", count=1000):
            if key.endswith(b":dead"):
                continue
            groups: Any = client.xinfo_groups(key)
            for group in groups:
                if group["pending"]:
                    yield f"{group['pending']} entries are pending in {key.decode()}"
            if length := client.xlen(key):
                yield f"{length} entries are left in {key.decode()}"
