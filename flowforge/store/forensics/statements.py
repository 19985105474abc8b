"""The questions about many runs, each one statement over `lived` or `attempts` (window.py).

Every statement takes the values of a filter (since, until, workflow, statuses, labels, runs) and those it names
itself. What varies beside values (what is grouped by) is chosen from the constants here.
"""

# ruff: noqa: S608 - put together from constants only

from __future__ import annotations

from flowforge.store.forensics.window import ATTEMPTS, FAILED, LATEST, LIVED, STEP

#: Runs as the command line lists them: by when they were created, newest first.
RUNS = """
SELECT r.id AS run, w.name AS workflow, v.version, r.status::text AS status, r.trigger, r.created_at, r.started_at,
       r.finished_at, date_part('epoch', r.started_at - r.created_at) AS gate_wait_s,
       date_part('epoch', coalesce(r.finished_at, now()) - r.started_at) AS duration_s,
       r.error ->> 'code' AS code, r.error ->> 'step' AS failed_step, r.error ->> 'message' AS message,
       r.priority, r.replay_of, r.parent_run_id AS parent, r.idempotency_key, r.labels
FROM runs r JOIN workflows w ON w.id = r.workflow_id JOIN workflow_versions v ON v.id = r.version_id
WHERE (%(since)s::timestamptz IS NULL OR r.created_at >= %(since)s::timestamptz)
  AND (%(until)s::timestamptz IS NULL OR r.created_at < %(until)s::timestamptz)
  AND (%(workflow)s::text IS NULL OR w.name = %(workflow)s::text)
  AND (%(statuses)s::text[] IS NULL OR r.status::text = ANY(%(statuses)s::text[]))
  AND (%(labels)s::jsonb IS NULL OR r.labels @> %(labels)s::jsonb)
  AND (%(runs)s::uuid[] IS NULL OR r.id = ANY(%(runs)s::uuid[]))
ORDER BY r.id DESC LIMIT %(limit)s::int8
"""

ATTEMPT_ROWS = f"""
WITH {ATTEMPTS.replace(LIVED, LATEST)}
SELECT run, workflow, version, step, type, attempt, queued_at, started_at, ended_at, worker, outcome, queue_s, exec_s,
       error ->> 'code' AS code, error ->> 'message' AS message
FROM attempts ORDER BY queued_at DESC, run DESC, step, attempt DESC LIMIT %(limit)s::int8
"""

#: What latencies are grouped by.
GROUPS = {"step": STEP, "workflow": "NULL::text", "version": STEP, "worker": "NULL::text"}


def _rounded(name: str) -> str:
    """Return a time to three digits: equal ones are counted, so that millions of them need no sorting."""
    steps = [(0.01, 100_000), (0.1, 10_000), (1, 1_000), (10, 100), (100, 10)]
    cases = " ".join(f"WHEN {name} < {limit} THEN round({name} * {digits}) / {digits}" for limit, digits in steps)
    return f"CASE {cases} ELSE round({name}) END"


def _divided(select: str) -> str:
    """Return a statement that is asked of both kinds of attempts, one after the other; who asks adds them up."""
    once, many = (select.replace("attempts a", f"timed_{relation} a") for relation in ("once", "many"))
    return f"WITH {ATTEMPTS} {once} UNION ALL {many}"


def _latency(by: str) -> str:
    version = "a.version" if by == "version" else "NULL::int4"
    worker = "a.worker" if by == "worker" else "NULL::text"
    executing = "CASE WHEN a.outcome <> 'lost' THEN a.exec_s END"
    return _divided(f"""
SELECT a.workflow, {version} AS version, {GROUPS[by]} AS step, {worker} AS worker,
       {_rounded("a.queue_s")} AS queue, {_rounded(executing)} AS exec, count(*) AS count,
       sum(a.queue_s) AS queue_sum, max(a.queue_s) AS queue_max,
       sum({executing}) AS exec_sum, max({executing}) AS exec_max,
       count(*) FILTER (WHERE a.outcome IN {FAILED}) AS failed,
       count(*) FILTER (WHERE a.error ->> 'code' = 'TIMEOUT') AS timeouts
FROM attempts a WHERE a.started_at IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6
""")


#: Times by step, workflow, version of a step, or worker, each with how often it was taken.
LATENCY = {by: _latency(by) for by in GROUPS}

_SPAN = """(
    SELECT date_part('epoch', greatest(min(created_at), %(since)s::timestamptz)) AS first,
           date_part('epoch', least(max(coalesce(finished_at, now())), %(until)s::timestamptz)) AS last FROM lived
)"""
#: How long a step took over time: the window in equal parts, by when attempts started.
TREND = _divided(f"""
SELECT a.workflow, {STEP} AS step, greatest(1, least(%(parts)s::int4, width_bucket(
           date_part('epoch', a.started_at), s.first, s.first + greatest(s.last - s.first, 0.001),
           %(parts)s::int4))) AS part, {_rounded("a.queue_s")} AS queue, {_rounded("a.exec_s")} AS exec,
       count(*) AS count, min(a.started_at) AS since, max(a.started_at) AS until
FROM attempts a CROSS JOIN {_SPAN} s
WHERE a.exec_s IS NOT NULL AND a.outcome <> 'lost'
  AND coalesce(a.type, '') NOT IN ('delay', 'approval', 'wait_signal', 'foreach', 'workflow')
GROUP BY 1, 2, 3, 4, 5
""")

#: Attempts by queue and the buckets in which they were queued, begun and ended; the depth is made of these.
QUEUE_DEPTH = _divided("""
SELECT coalesce(q.queue, d.queue) AS queue,
       date_bin(%(bucket)s::interval, a.queued_at, 'epoch'::timestamptz) AS queued_at,
       date_bin(%(bucket)s::interval, a.started_at, 'epoch'::timestamptz) AS started_at,
       date_bin(%(bucket)s::interval, a.ended_at, 'epoch'::timestamptz) AS ended_at, count(*) AS count
FROM attempts a JOIN (
    SELECT w.name AS workflow, v.version, coalesce(v.definition ->> 'queue', 'default') AS queue
    FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id
) AS d ON d.workflow = a.workflow AND d.version = a.version
LEFT JOIN (
    SELECT w.name AS workflow, v.version, item ->> 'id' AS step, item ->> 'queue' AS queue
    FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id
    CROSS JOIN LATERAL jsonb_path_query(v.definition, 'lax $.steps[*] ? (exists(@.queue))') AS item
    WHERE item ->> 'queue' IS NOT NULL
) AS q ON q.workflow = a.workflow AND q.version = a.version AND q.step = a.step
GROUP BY 1, 2, 3, 4
""")

WORKERS = f"""
WITH {ATTEMPTS},
worked AS (
    SELECT worker, count(*) AS attempts, count(*) FILTER (WHERE outcome = 'completed') AS completed,
           count(*) FILTER (WHERE outcome IN ('failed', 'retried')) AS failed,
           count(*) FILTER (WHERE outcome = 'lost') AS lost,
           sum(date_part('epoch', coalesce(ended_at, now()) - started_at))::float8 AS busy_s,
           min(started_at) AS first_seen, max(coalesce(ended_at, started_at)) AS last_seen
    FROM attempts WHERE worker IS NOT NULL AND started_at IS NOT NULL GROUP BY worker
)
SELECT a.worker, w.host, w.pid, w.version, w.queues, w.concurrency,
       CASE WHEN w.id IS NULL THEN 'unknown' WHEN w.status = 'stopped' THEN 'stopped'
            WHEN w.seen_at < clock_timestamp() - w.lease THEN 'lost' ELSE w.status END AS status,
       a.attempts, a.completed, a.failed, a.lost, a.busy_s, a.first_seen,
       greatest(a.last_seen, CASE WHEN a.lost = 0 THEN w.seen_at END) AS last_seen
FROM worked a LEFT JOIN workers w ON w.id = a.worker ORDER BY a.first_seen, a.worker
"""

#: Attempts lost with their worker, and who went on with the step.
LEASE_EXPIRIES = f"""
WITH {ATTEMPTS},
followed AS (
    SELECT a.*, lead(a.worker) OVER next AS taken_over_by, lead(a.started_at) OVER next AS taken_over_at
    FROM (SELECT * FROM timed_once WHERE outcome = 'lost' UNION ALL SELECT * FROM timed_many) a
    WHERE a.started_at IS NOT NULL
    WINDOW next AS (PARTITION BY a.run, a.step ORDER BY a.started_at)
)
SELECT run, workflow, version, step, attempt, worker, started_at, ended_at AS lost_at,
       exec_s AS held_s, taken_over_by, taken_over_at,
       date_part('epoch', taken_over_at - started_at) AS delay_s
FROM followed WHERE outcome = 'lost' ORDER BY ended_at DESC, run DESC LIMIT %(limit)s::int8
"""

#: Attempts by window and step; *burst* is the most that began within a sixtieth of the window.
RETRY_STORMS = f"""
WITH {ATTEMPTS},
begun AS (
    SELECT date_bin(%(window)s::interval, a.started_at, 'epoch'::timestamptz) AS at, a.workflow, {STEP} AS step,
           date_bin(%(window)s::interval / 60, a.started_at, 'epoch'::timestamptz) AS instant,
           count(*) AS attempts, count(*) FILTER (WHERE a.attempt = 1) AS first_attempts,
           count(*) FILTER (WHERE a.attempt = 1 AND a.outcome = 'completed') AS first_try_completed,
           count(*) FILTER (WHERE a.attempt > 1) AS retries,
           count(*) FILTER (WHERE a.outcome IN {FAILED}) AS failed, count(*) FILTER (WHERE a.outcome = 'lost') AS lost
    FROM attempts a WHERE a.started_at IS NOT NULL AND a.outcome NOT IN ('released', 'waiting') GROUP BY 1, 2, 3, 4
)
SELECT at, workflow, step, sum(attempts) AS attempts, sum(first_attempts) AS first_attempts,
       sum(first_try_completed) AS first_try_completed, sum(retries) AS retries, sum(failed) AS failed,
       sum(lost) AS lost, max(retries) AS burst
FROM begun GROUP BY 1, 2, 3 HAVING sum(retries) > 0 ORDER BY 1, 2, 3
"""

#: Texts of errors, without what makes each one different, so that a million failures are few rows.
_PLAIN = r"""regexp_replace(regexp_replace(regexp_replace(regexp_replace(
    left(coalesce(a.error ->> 'message', ''), 2000), 'w-[0-9a-z._-]{1,20}-[0-9]+-[0-9a-f]{6}', '<worker>', 'gi'),
    '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', '<id>', 'gi'),
    '0x[0-9a-f]+', '<hex>', 'gi'), '[0-9]+([.][0-9]+)?', '<n>', 'g')"""

ERRORS = f"""
WITH {ATTEMPTS}
SELECT a.workflow, a.version, {STEP} AS step, a.error ->> 'code' AS code, {_PLAIN} AS text,
       min(a.error ->> 'message') AS message, min(right(a.error -> 'details' ->> 'traceback', 4000)) AS traceback,
       count(*) AS count, count(*) FILTER (WHERE a.outcome = 'failed') AS final, count(DISTINCT a.run) AS runs,
       min(a.ended_at) AS first_seen, max(a.ended_at) AS last_seen,
       (array_agg(a.run ORDER BY a.ended_at DESC, a.run DESC))[1] AS example_run
FROM attempts a WHERE a.outcome IN {FAILED} AND a.error IS NOT NULL
GROUP BY 1, 2, 3, 4, 5 ORDER BY count DESC, 1, 2, 3, 4, 5 LIMIT %(limit)s::int8
"""

#: How long committed dispatches took to reach a worker, and what still lies in the outbox.
OUTBOX_LAG = f"""
WITH {ATTEMPTS},
{LIVED.replace("lived", "living", 1)},
queued AS (
    SELECT date_bin(%(bucket)s::interval, a.queued_at, 'epoch'::timestamptz) AS at, count(*) AS dispatched,
           count(a.started_at) AS delivered, percentile_cont(0.5) WITHIN GROUP (ORDER BY a.queue_s) AS p50_s,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY a.queue_s) AS p95_s, max(a.queue_s) AS max_s
    FROM attempts a GROUP BY 1
),
left_over AS (
    SELECT date_bin(%(bucket)s::interval, s.queued_at, 'epoch'::timestamptz) AS at, count(*) AS unpublished,
           date_part('epoch', now() - min(s.queued_at)) AS oldest_s
    FROM outbox o JOIN living l ON l.id = o.run_id JOIN steps s ON s.run_id = o.run_id AND s.step_no = o.step_no
    WHERE s.queued_at IS NOT NULL GROUP BY 1
),
again AS (
    SELECT date_bin(%(bucket)s::interval, s.queued_at, 'epoch'::timestamptz) AS at,
           sum(s.dispatch_no - s.token - CASE s.status WHEN 'queued' THEN 1 ELSE 0 END) AS repeated
    FROM lived l JOIN steps s ON s.run_id = l.id
    WHERE s.queued_at IS NOT NULL AND s.dispatch_no > s.token + CASE s.status WHEN 'queued' THEN 1 ELSE 0 END
    GROUP BY 1
)
SELECT coalesce(q.at, o.at) AS at, coalesce(q.dispatched, 0) AS dispatched, coalesce(q.delivered, 0) AS delivered,
       q.p50_s, q.p95_s, q.max_s, coalesce(g.repeated, 0) AS repeated,
       coalesce(o.unpublished, 0) AS unpublished, o.oldest_s
FROM queued q FULL JOIN left_over o ON o.at = q.at LEFT JOIN again g ON g.at = coalesce(q.at, o.at) ORDER BY 1
"""

#: Steps with an effect outside that may have been executed more than once: the result of an attempt was not learned,
#: and another one followed; or an operator had it repeated after it was done. What was claimed once is none of these.
_UNKNOWN = """(a.outcome = 'lost' OR (a.error ->> 'code' = ANY(%(unknown)s::text[])
    AND position(%(unsent)s::text in coalesce(a.error ->> 'message', '')) = 0))"""
DUPLICATES = f"""
WITH {ATTEMPTS}
SELECT a.run, a.workflow, a.version, a.step, max(a.type) AS type,
       count(*) AS executions, count(*) FILTER (WHERE a.outcome = 'completed') AS completed,
       count(*) FILTER (WHERE {_UNKNOWN}) AS unknown,
       string_agg(DISTINCT a.error ->> 'code', ', ') AS codes, min(a.started_at) AS first_at,
       max(a.started_at) AS last_at
FROM timed_many a
WHERE a.started_at IS NOT NULL AND a.outcome NOT IN ('released', 'waiting', 'skipped')
  AND (a.type IS NULL OR a.type = ANY(%(types)s::text[]))
GROUP BY a.run, a.workflow, a.version, a.step
HAVING count(*) FILTER (WHERE a.outcome = 'completed') > 1 OR (count(*) > 1
    AND count(*) FILTER (WHERE {_UNKNOWN}) > 0)
ORDER BY last_at DESC, a.run DESC, a.step LIMIT %(limit)s::int8
"""

#: Runs that were started again with the same input, by nobody's wish that is recorded.
REPEATED = f"""
WITH {LIVED}
SELECT l.workflow, md5(r.input::text) AS input_md5, count(*) AS starts, count(DISTINCT r.idempotency_key) AS keys,
       min(r.created_at) AS first_at, max(r.created_at) AS last_at,
       (array_agg(r.id ORDER BY r.id))[1] AS first_run, (array_agg(r.id ORDER BY r.id DESC))[1] AS last_run
FROM lived l JOIN runs r ON r.id = l.id
WHERE r.replay_of IS NULL AND r.parent_run_id IS NULL AND length(r.input::text) > 2
GROUP BY 1, 2 HAVING count(*) > 1 ORDER BY starts DESC, last_at DESC LIMIT %(limit)s::int8
"""

#: Waiting for admission, by workflow and gate; the holder is who was let in longest ago, or was in for longest.
GATES = f"""
WITH {LIVED},
held AS (
    SELECT l.workflow, coalesce(g.key, '') AS key, g.max_active, r.id, r.status::text AS status,
           date_part('epoch', coalesce(r.started_at, r.finished_at, now()) - r.created_at) AS wait_s,
           date_part('epoch', coalesce(r.finished_at, now()) - r.started_at) AS active_s
    FROM lived l JOIN runs r ON r.id = l.id LEFT JOIN gates g ON g.id = r.gate_id
),
told AS (
    SELECT workflow, key, max(max_active) AS "limit", count(*) AS runs,
           count(*) FILTER (WHERE status = 'pending') AS waiting,
           count(*) FILTER (WHERE status IN ('running', 'paused', 'cancelling', 'compensating')) AS active,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY wait_s) AS wait_p50_s,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY wait_s) AS wait_p95_s, max(wait_s) AS wait_max_s,
           sum(wait_s) AS wait_sum_s, percentile_cont(0.5) WITHIN GROUP (ORDER BY active_s) AS active_p50_s,
           max(active_s) AS active_max_s
    FROM held GROUP BY 1, 2
),
holder AS (
    SELECT h.workflow, h.key, min(h.id::text)::uuid AS id FROM held h
    JOIN told t ON t.workflow = h.workflow AND t.key = h.key
    AND coalesce(t.active_max_s, -1) = coalesce(h.active_s, -1) GROUP BY 1, 2
)
SELECT t.*, h.id AS longest_holder, r.status::text AS holder_status
FROM told t LEFT JOIN holder h ON h.workflow = t.workflow AND h.key = t.key LEFT JOIN runs r ON r.id = h.id
ORDER BY t.wait_sum_s DESC, t.workflow, t.key
"""

#: What became of the runs of each version.
VERSIONS = f"""
WITH {LIVED}
SELECT l.workflow, l.version, count(*) AS runs, count(*) FILTER (WHERE r.status = 'completed') AS completed,
       count(*) FILTER (WHERE r.status = 'failed') AS failed,
       count(*) FILTER (WHERE r.status = 'cancelled') AS cancelled,
       count(*) FILTER (WHERE r.finished_at IS NULL) AS active,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY date_part('epoch', r.finished_at - r.started_at))
           FILTER (WHERE r.status = 'completed') AS duration_p50_s,
       min(r.created_at) AS first_run_at, max(r.created_at) AS last_run_at,
       (array_agg(r.id ORDER BY r.id DESC) FILTER (WHERE r.status = 'failed'))[1] AS example_failed,
       (array_agg(r.id ORDER BY r.id DESC) FILTER (WHERE r.status = 'completed'))[1] AS example_completed
FROM lived l JOIN runs r ON r.id = l.id GROUP BY 1, 2 ORDER BY 1, 2
"""

#: What waits for people, now: approvals that nobody has given, signals that nobody has sent.
WAITS = f"""
WITH {LIVED}
SELECT l.workflow, k.step_id AS step, k.type, count(*) AS runs, min(s.started_at) AS since, min(s.due_at) AS due_at,
       (array_agg(l.id ORDER BY s.started_at, l.id))[1] AS example_run
FROM lived l JOIN steps s ON s.run_id = l.id
JOIN workflow_steps k ON k.version_id = l.version_id AND k.step_no = s.step_no
WHERE l.finished_at IS NULL AND s.status = 'waiting' AND k.type IN ('approval', 'wait_signal')
GROUP BY 1, 2, 3 ORDER BY runs DESC, 1, 2
"""

#: What the newest runs were started with, label by label and field by field, and what became of those that share it.
TRAITS = f"""
WITH {LIVED.removesuffix(")")} ORDER BY r.id DESC LIMIT %(limit)s::int8),
known AS (
    SELECT l.workflow, r.id, r.status, r.input, r.labels, count(*) OVER own AS whole,
           count(*) FILTER (WHERE r.status = 'completed') OVER own AS whole_completed,
           count(*) FILTER (WHERE r.status = 'failed') OVER own AS whole_failed
    FROM lived l JOIN runs r ON r.id = l.id WINDOW own AS (PARTITION BY l.workflow)
),
said AS (
    SELECT k.*, 'label ' || t.key AS trait, to_json(t.value) AS value FROM known k, jsonb_each_text(k.labels) AS t
    UNION ALL
    SELECT k.*, 'input.' || t.key, t.value
    FROM known k, json_each(CASE json_typeof(k.input) WHEN 'object' THEN k.input END) AS t
    UNION ALL
    SELECT k.*, 'input.' || o.key || '.' || t.key, t.value
    FROM known k, json_each(CASE json_typeof(k.input) WHEN 'object' THEN k.input END) AS o,
         json_each(CASE json_typeof(o.value) WHEN 'object' THEN o.value END) AS t
)
SELECT workflow, trait, left(value #>> '{{}}', 80) AS value, count(*) AS runs,
       count(*) FILTER (WHERE status = 'completed') AS completed, count(*) FILTER (WHERE status = 'failed') AS failed,
       max(whole) AS whole, max(whole_completed) AS whole_completed, max(whole_failed) AS whole_failed,
       (array_agg(id ORDER BY id DESC) FILTER (WHERE status = 'failed'))[1] AS example_failed
FROM said WHERE json_typeof(value) NOT IN ('object', 'array', 'null')
GROUP BY 1, 2, 3 HAVING count(*) > 1 ORDER BY runs DESC, 1, 2, 3 LIMIT 1000
"""
