"""Rows by the hundred thousand, copied by the database itself from what one run has left, for tests of long lists."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import redis

from flowforge import local
from tests.support.sql import Sql

#: The workflow of the run that is copied.
NAME = "many"

#: Parameters of each: how many, and the run. Where a list is of one run, its rows are of a type that it has none of.
STATEMENTS = (
    """INSERT INTO workflows (name) SELECT 'flow-' || no FROM generate_series(1, %(count)s) AS no""",
    """INSERT INTO workflow_versions (workflow_id, version, status, digest, definition, published_at)
       SELECT w.id, 1, 'published', md5(w.name), v.definition, now()
       FROM workflows w, runs r JOIN workflow_versions v ON v.id = r.version_id
       WHERE r.id = %(run)s AND w.name LIKE 'flow-%%'""",
    """INSERT INTO workflow_versions (workflow_id, version, status, digest, definition, published_at)
       SELECT v.workflow_id, 1 + no, 'published', md5(no::text), v.definition, now()
       FROM generate_series(1, %(count)s) AS no, runs r JOIN workflow_versions v ON v.id = r.version_id
       WHERE r.id = %(run)s""",
    """INSERT INTO workers (id, host, pid, version, queues, step_types, concurrency, lease, status)
       SELECT 'w-' || no, 'here', no, '0', ARRAY['queue-' || no], ARRAY['transform'], 10, interval '10 days', 'active'
       FROM generate_series(1, %(count)s) AS no""",
    """INSERT INTO runs (id, workflow_id, version_id, priority, status, seq, open_steps, output_bytes, created_at,
                         started_at, finished_at, trigger, input, error, revision, rows_ahead)
       SELECT uuidv7(make_interval(secs => -no)), workflow_id, version_id, priority, 'failed', seq, open_steps,
              output_bytes, created_at, started_at, finished_at, trigger, input,
              '{"code": "BROKEN", "message": "it broke"}', revision, rows_ahead
       FROM generate_series(1, %(count)s) AS no, runs WHERE id = %(run)s""",
    """INSERT INTO incidents (fingerprint, kind, workflow, run_id, step, error, count, first_seen, last_seen)
       SELECT id::text, 'irrecoverable_error', 'many', id, 'a', error, 1, finished_at, finished_at
       FROM runs WHERE status = 'failed'""",
    """INSERT INTO imported_runs (id, workflow, version, status, created_at, exported_at, imported_by, capsule)
       SELECT uuidv7(make_interval(secs => -no)), 'many', 1, 'failed', now(), now(), 'somebody', ''
       FROM generate_series(1, %(count)s) AS no""",
    """INSERT INTO run_events (run_id, seq, at, xid, events)
       SELECT r.id, r.seq + no, r.finished_at, '3'::xid8, '[{"type": "step.skipped", "step": "a"}]'
       FROM generate_series(1, %(count)s) AS no, runs r WHERE r.id = %(run)s""",
    """INSERT INTO step_logs (run_id, step_no, attempt, text)
       SELECT %(run)s, 0, no, 'what the attempt ' || no || ' has written' FROM generate_series(1, %(count)s) AS no""",
    "ANALYZE",
)


def fill(home: Path, run: UUID, count: int) -> None:
    """Make every list of an installation longer by so many rows; *run* is its only run, and has ended."""
    place = local.Home(home)
    url = local.running(place)
    assert url is not None
    sql = Sql(url)
    for statement in STATEMENTS:
        sql.connection.execute(statement.encode(), {"count": count, "run": run})
    sql.connection.close()
    _bury(str(local.status(place).valkey.socket), count)


def _bury(socket: str, count: int) -> None:
    with redis.Redis(unix_socket_path=socket) as server:
        (epoch,) = server.keys("ff:*:epoch")
        stream = epoch.decode().removesuffix("epoch") + "q:default:dead"
        for start in range(0, count, 10_000):
            pipe = server.pipeline(transaction=False)
            for no in range(start, min(start + 10_000, count)):
                pipe.xadd(stream, {"entry_id": f"{no}-0", "reason": "nobody could read it", "truncated": 0})
            pipe.execute()
