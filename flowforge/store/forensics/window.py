"""Which runs a question is about, and every attempt of their steps: the two relations that all aggregates stand on.

`lived` holds the runs that were there in the window. `attempts` has one row for each try of each step. A step that was
claimed at most once says so in its own row; only steps that were claimed again, or waited, are read from the history,
so what a question costs grows with what went wrong and not with what went well.
"""

# ruff: noqa: S608 - put together from constants only

from __future__ import annotations

_EVERY = "FROM runs r"
#: One run in so many, by pages of the table; the same ones every time, so that answers agree with each other.
_SOME = "FROM runs r TABLESAMPLE SYSTEM (%(percent)s::float4) REPEATABLE (1)"
#: Runs that lived at some moment of the window; values that are null do not filter.
LIVED = f"""
lived AS NOT MATERIALIZED (
    SELECT r.id, w.name AS workflow, v.version, r.version_id, r.created_at, r.finished_at
    {_EVERY}
    JOIN workflows w ON w.id = r.workflow_id JOIN workflow_versions v ON v.id = r.version_id
    WHERE (%(until)s::timestamptz IS NULL OR r.created_at < %(until)s::timestamptz)
      AND (%(since)s::timestamptz IS NULL OR r.finished_at IS NULL OR r.finished_at >= %(since)s::timestamptz)
      AND (%(workflow)s::text IS NULL OR w.name = %(workflow)s::text)
      AND (%(statuses)s::text[] IS NULL OR r.status::text = ANY(%(statuses)s::text[]))
      AND (%(labels)s::jsonb IS NULL OR r.labels @> %(labels)s::jsonb)
      AND (%(runs)s::uuid[] IS NULL OR r.id = ANY(%(runs)s::uuid[]))
)"""

#: How many they are is asked of the planner alone: nothing is read.
ESTIMATE = f"EXPLAIN (FORMAT JSON) WITH {LIVED} SELECT FROM lived"
#: The runs that ended last, or have not ended: as many as rows are wanted of them.
LATEST = f"{LIVED.removesuffix(')')} ORDER BY r.finished_at DESC NULLS FIRST, r.id DESC LIMIT %(limit)s::int8)"


def sampled(statement: str) -> str:
    """Return a statement that asks only `percent` of the runs."""
    return statement.replace(_EVERY + "\n", _SOME + "\n", 1)


#: Steps of these types are executed again when what they wait for has come, or complete by themselves.
_WAITING_TYPES = "('delay', 'approval', 'wait_signal', 'foreach', 'workflow')"

#: The step's row describes its only attempt, or its place in the queue.
_TOLD_BY_ROW = f"""(s.token = 0 OR (s.token = 1 AND w.type NOT IN {_WAITING_TYPES}
                    AND s.status IN ('running', 'completed', 'compensated', 'failed')))"""

#: What the event after its start made of an attempt.
_OUTCOME = """CASE t.next_type
        WHEN 'step.completed' THEN 'completed' WHEN 'step.waiting' THEN 'waiting'
        WHEN 'step.released' THEN 'released' WHEN 'step.cancelled' THEN 'cancelled' WHEN 'step.skipped' THEN 'skipped'
        WHEN 'step.retrying' THEN CASE t.next_data -> 'error' ->> 'code'
                                  WHEN 'WORKER_LOST' THEN 'lost' ELSE 'retried' END
        WHEN 'step.failed' THEN CASE WHEN t.next_data -> 'error' ->> 'code' IN ('WORKER_LOST', 'POISON')
                                     THEN 'lost' ELSE 'failed' END
        ELSE 'running' END"""

_COMMON = r"regexp_replace(t.step, '\[[0-9]+\]', '[]', 'g')"


def _timed(relation: str) -> str:
    """Return the attempts of a relation that were there in the window, with their lengths."""
    return f"""timed_{relation} AS NOT MATERIALIZED (
    SELECT a.*, date_part('epoch', coalesce(a.started_at, a.ended_at, now()) - a.queued_at) AS queue_s,
           date_part('epoch', a.ended_at - a.started_at) AS exec_s
    FROM {relation} a
    WHERE (%(until)s::timestamptz IS NULL OR a.queued_at < %(until)s::timestamptz)
      AND (%(since)s::timestamptz IS NULL OR a.ended_at IS NULL OR a.ended_at >= %(since)s::timestamptz)
)"""


#: `timed_once` are those that the rows of steps tell of, `timed_many` those that the history does: what is asked of
#: each alone, Postgres can divide among processes.
ATTEMPTS = f"""{LIVED},
retold AS MATERIALIZED (
    SELECT l.id, l.workflow, l.version, l.version_id, w.step_id AS step FROM lived l JOIN steps s ON s.run_id = l.id
    LEFT JOIN workflow_steps w ON w.version_id = l.version_id AND w.step_no = s.step_no
    WHERE s.queued_at IS NOT NULL AND (w.step_no IS NULL OR NOT {_TOLD_BY_ROW})
),
once AS (
    SELECT l.id AS run, l.workflow, l.version, w.step_id AS step, w.step_id AS common, w.type,
           s.attempt + CASE WHEN s.token = 0 THEN 1 ELSE 0 END AS attempt,
           s.queued_at, CASE WHEN s.token = 1 THEN s.started_at END AS started_at, s.finished_at AS ended_at, s.worker,
           CASE s.status::text
               WHEN 'queued' THEN 'queued' WHEN 'running' THEN 'running' WHEN 'cancelled' THEN 'cancelled'
               WHEN 'skipped' THEN 'skipped' WHEN 'failed' THEN CASE
                   WHEN s.error ->> 'code' IN ('WORKER_LOST', 'POISON') THEN 'lost' ELSE 'failed' END
               ELSE 'completed' END AS outcome,
           CASE WHEN s.status = 'failed' THEN s.error END AS error
    FROM lived l JOIN steps s ON s.run_id = l.id
    JOIN workflow_steps w ON w.version_id = l.version_id AND w.step_no = s.step_no
    WHERE s.queued_at IS NOT NULL AND {_TOLD_BY_ROW}
),
told AS (
    SELECT e.run_id, e.step, e.seq, e.at, e.type, e.attempt, e.data,
           max(e.at) FILTER (WHERE e.type = 'step.queued') OVER (history ROWS UNBOUNDED PRECEDING) AS queued_at,
           max(e.attempt) OVER (history ROWS UNBOUNDED PRECEDING) AS attempts,
           lead(e.at) OVER history AS next_at, lead(e.type) OVER history AS next_type,
           lead(e.data) OVER history AS next_data
    FROM events e
    WHERE e.run_id IN (SELECT id FROM retold) AND e.step IS NOT NULL
      AND e.type NOT IN ('step.decided', 'step.woken', 'step.compensated')
    WINDOW history AS (PARTITION BY e.run_id, e.step ORDER BY e.seq)
),
many AS (
    SELECT d.id AS run, d.workflow, d.version, t.step, {_COMMON} AS common, w.type,
           CASE WHEN t.type = 'step.started' THEN t.attempt ELSE coalesce(t.attempts, 0) + 1 END AS attempt,
           t.queued_at, CASE WHEN t.type = 'step.started' THEN t.at END AS started_at, t.next_at AS ended_at,
           t.data ->> 'worker' AS worker,
           CASE WHEN t.type = 'step.started' THEN {_OUTCOME}
                WHEN t.next_type IS NULL THEN 'queued'
                WHEN t.next_type = 'step.skipped' THEN 'skipped' ELSE 'cancelled' END AS outcome,
           CASE WHEN t.next_type IN ('step.retrying', 'step.failed') THEN (t.next_data -> 'error')::jsonb END AS error
    FROM told t JOIN (SELECT DISTINCT id, workflow, version, version_id FROM retold) d ON d.id = t.run_id
    LEFT JOIN workflow_steps w ON w.version_id = d.version_id AND w.step_id = t.step
    WHERE (w.step_id IS NULL OR EXISTS (SELECT FROM retold r WHERE r.id = t.run_id AND r.step = t.step))
      AND (t.type = 'step.started' OR (t.type = 'step.queued' AND t.next_type IS DISTINCT FROM 'step.started'
                                       AND t.next_type IS DISTINCT FROM 'step.queued'))
),
{_timed("once")},
{_timed("many")},
attempts AS (SELECT * FROM timed_once UNION ALL SELECT * FROM timed_many)"""

#: The step's name without the number of its item: what all items of a foreach have in common.
STEP = "a.common"
#: Outcomes of an attempt that failed, whether another one followed or not.
FAILED = "('failed', 'retried', 'lost')"
