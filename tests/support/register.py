"""Workers that stand in the register without being there, for tests that ask about workers."""

from __future__ import annotations

from tests.support.sql import Sql

#: What every worker of ours can run.
TYPES = ["transform", "python", "wait_signal", "approval", "delay", "foreach", "workflow", "http", "conditional"]


def enlist(
    sql: Sql,
    name: str = "hand",
    *,
    queues: tuple[str, ...] = ("default",),
    types: tuple[str, ...] | None = None,
    concurrency: int = 10,
    seen: str = "0 seconds",
) -> None:
    """Put a worker into the register that was last seen some time ago; its lease is 30 seconds."""
    sql.do(
        """INSERT INTO workers (id, host, pid, version, queues, step_types, concurrency, lease, status, seen_at)
           VALUES (%s, 'here', 1, '0', %s, %s, %s, interval '30 seconds', 'active', clock_timestamp() - %s::interval)
           ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at""",
        name,
        list(queues),
        list(TYPES if types is None else types),
        concurrency,
        seen,
    )
