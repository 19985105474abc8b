"""The parts of the statement that writes decisions: one for each table, over rows that are given as columns.

All but the first apply only to the runs that the first has written, so a run that somebody else changed meanwhile is
left out with all its rows. Invariant: a part names every column of its table that a decision knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from flowforge.store import pauses
from flowforge.store.binary import (
    Packed,
    bools,
    int2s,
    int4s,
    int8s,
    optional_int4s,
    optional_uuids,
    statement,
    texts,
    times,
    uuids,
    words,
)

#: The columns of a step that a decision knows, in the order of StepState, behind the run's id.
_STEP = (
    "run_id, step_no, status, open_dependencies, skipped_dependencies, attempt, failures, crashes, token, dispatch_no, "
    "worker, due_at, queued_at, started_at, finished_at, cancel_requested, label, error, output"
)
#: Packs a column.
Packer: TypeAlias = Callable[[Sequence[Any]], Packed]

_COUNTS: tuple[Packer, ...] = (int4s,) * 7
_STEP_PACKERS: tuple[Packer, ...] = (
    uuids,
    int4s,
    words,
    *_COUNTS,
    words,
    times,
    times,
    times,
    times,
    bools,
    words,
    texts,
    texts,
)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One data-modifying part of a statement, over rows that are given as packed columns."""

    name: str
    #: Its text; `ROWS` stands for the columns.
    text: str
    packers: tuple[Packer, ...]

    def written(self) -> str:
        """Return the part with placeholders; Postgres takes the types of columns from the parameters."""
        columns = f"unnest({', '.join(['%b'] * len(self.packers))})"
        return f"{self.name} AS ({self.text.replace('ROWS', columns)})"


#: Rows come in id order, so two batches that share runs wait for each other instead of dying. The output of a run is
#: at hand only when it completes, and that of a step only when it is decided; later writes keep both.
RUN = Part(
    "run",
    """
    UPDATE runs r
    SET revision = r.revision + 1, status = u.status::run_status, seq = u.seq, open_steps = u.open_steps,
        output_bytes = u.output_bytes, rows_ahead = u.rows_ahead, started_at = u.started_at,
        finished_at = u.finished_at, deadline_at = u.deadline_at, wake_at = u.wake_at, error = u.error::jsonb,
        output = CASE WHEN u.status = 'completed' THEN coalesce(u.output::json, r.output) END
    FROM ROWS AS u (id, revision, status, seq, open_steps, output_bytes, rows_ahead, started_at, finished_at,
                    deadline_at, wake_at, error, output)
    WHERE r.id = u.id AND r.revision = u.revision
    RETURNING r.id""",
    (uuids, int4s, words, int4s, int4s, int4s, bools, times, times, times, times, texts, texts),
)

#: What would start at once, but whose workflow is held, is left out.
NEW_RUN = Part(
    "run",
    f"""
    INSERT INTO runs (id, workflow_id, version_id, gate_id, priority, revision, status, seq, open_steps, created_at,
                      started_at, finished_at, deadline_at, wake_at, trigger, replay_of, idempotency_key,
                      input_digest, traceparent, parent_run_id, parent_step_no, rows_ahead, output_bytes, labels,
                      input, output, error)
    SELECT u.id, u.workflow_id, u.version_id, u.gate_id, u.priority, u.revision, u.status::run_status, u.seq,
           u.open_steps, u.created_at, u.started_at, u.finished_at, u.deadline_at, u.wake_at, u.trigger, u.replay_of,
           u.idempotency_key, u.input_digest, u.traceparent, u.parent_run_id, u.parent_step_no, u.rows_ahead,
           u.output_bytes, u.labels::jsonb, u.input::json, u.output::json,
           u.error::jsonb
    FROM ROWS AS u (id, workflow_id, version_id, gate_id, priority, revision, status, seq, open_steps, created_at,
                    started_at, finished_at, deadline_at, wake_at, trigger, replay_of, idempotency_key, input_digest,
                    traceparent, parent_run_id, parent_step_no, rows_ahead, output_bytes, labels, input, output, error)
    WHERE u.status = 'pending' OR (u.workflow_id IN ({pauses.HELD_WORKFLOWS})) IS NOT TRUE
    RETURNING id""",  # noqa: S608 - constants only
    (
        *(uuids, int8s, int8s, int8s, int2s, int4s, words, int4s, int4s),
        *(times, times, times, times, times),
        *(words, optional_uuids, texts, texts, texts, optional_uuids, optional_int4s, bools, int4s),
        *(texts, texts, texts, texts),
    ),
)

# `(… IN (…)) IS TRUE` is a look into a hash table whatever the planner thinks of the number of rows; a plain IN may
# become a join of any kind.

#: Steps that have a row.
CHANGED = Part(
    "changed",
    f"""
    UPDATE steps s
    SET status = u.status::step_status, open_dependencies = u.open_dependencies,
        skipped_dependencies = u.skipped_dependencies, attempt = u.attempt, failures = u.failures,
        crashes = u.crashes, token = u.token, dispatch_no = u.dispatch_no, worker = u.worker, due_at = u.due_at,
        queued_at = u.queued_at, started_at = u.started_at, finished_at = u.finished_at,
        cancel_requested = u.cancel_requested, label = u.label, error = u.error::jsonb,
        output = coalesce(u.output::json, s.output)
    FROM ROWS AS u ({_STEP})
    WHERE s.run_id = u.run_id AND s.step_no = u.step_no AND (u.run_id IN (SELECT id FROM run)) IS TRUE""",  # noqa: S608 - constants only
    _STEP_PACKERS,
)

#: Steps that are touched for the first time.
ENTERED = Part(
    "entered",
    f"""
    INSERT INTO steps ({_STEP})
    SELECT u.run_id, u.step_no, u.status::step_status, u.open_dependencies, u.skipped_dependencies, u.attempt,
           u.failures, u.crashes, u.token, u.dispatch_no, u.worker, u.due_at, u.queued_at, u.started_at,
           u.finished_at, u.cancel_requested, u.label, u.error::jsonb, u.output::json
    FROM ROWS AS u ({_STEP}) WHERE (u.run_id IN (SELECT id FROM run)) IS TRUE""",  # noqa: S608 - constants only
    _STEP_PACKERS,
)

TOLD = Part(
    "told",
    """
    INSERT INTO run_events (run_id, seq, at, events)
    SELECT u.run_id, u.seq, u.at, u.events::json
    FROM ROWS AS u (run_id, seq, at, events) WHERE (u.run_id IN (SELECT id FROM run)) IS TRUE""",
    (uuids, int4s, times, texts),
)

SENT = Part(
    "sent",
    """
    INSERT INTO outbox (lane, run_id, step_no, dispatch_no, traceparent)
    SELECT * FROM ROWS AS u (lane, run_id, step_no, dispatch_no, traceparent)
    WHERE (u.run_id IN (SELECT id FROM run)) IS TRUE""",
    (words, uuids, int4s, int4s, texts),
)

#: Runs that end here: what they have to be given a receipt of.
ENDED = Part(
    "ended",
    """
    INSERT INTO receipts_due (run_id, finished_at)
    SELECT u.run_id, u.finished_at FROM ROWS AS u (run_id, finished_at)
    WHERE (u.run_id IN (SELECT id FROM run)) IS TRUE""",
    (uuids, times),
)

#: What runs are found by that is no column of theirs.
FILED = Part(
    "filed",
    """
    INSERT INTO run_keys (name, value, run_id)
    SELECT u.name, u.value, u.run_id FROM ROWS AS u (run_id, name, value)
    WHERE (u.run_id IN (SELECT id FROM run)) IS TRUE
    ON CONFLICT DO NOTHING""",
    (uuids, words, texts),
)

#: What has come for runs from outside.
CAME = Part(
    "came",
    """
    INSERT INTO signals (run_id, no, step_no, kind, name, actor, at, payload)
    SELECT u.run_id, u.no, u.step_no, u.kind, u.name, u.actor, u.at, u.payload::json
    FROM ROWS AS u (run_id, no, step_no, kind, name, actor, at, payload)
    WHERE (u.run_id IN (SELECT id FROM run)) IS TRUE""",
    (uuids, int4s, optional_int4s, words, texts, texts, times, texts),
)

#: What a step has taken of what came before.
TAKEN = Part(
    "taken",
    """
    UPDATE signals g SET step_no = u.step_no FROM ROWS AS u (run_id, no, step_no)
    WHERE g.run_id = u.run_id AND g.no = u.no AND (u.run_id IN (SELECT id FROM run)) IS TRUE""",
    (uuids, int4s, int4s),
)

#: What steps had taken that start over.
CLEARED = Part(
    "cleared",
    """
    DELETE FROM signals g USING ROWS AS u (run_id, step_no)
    WHERE g.run_id = u.run_id AND g.step_no = u.step_no AND (u.run_id IN (SELECT id FROM run)) IS TRUE""",
    (uuids, int4s),
)

#: The runs that steps had started that start over: kept, but theirs no more.
DISOWNED = Part(
    "disowned",
    """
    UPDATE runs r SET parent_step_no = -1 - r.parent_step_no FROM ROWS AS u (run_id, step_no)
    WHERE r.parent_run_id = u.run_id AND r.parent_step_no = u.step_no AND (u.run_id IN (SELECT id FROM run)) IS TRUE""",
    (uuids, int4s),
)

#: In one order, so that two batches with the same incidents wait for each other instead of dying.
OPENED = Part(
    "opened",
    """
    INSERT INTO incidents (fingerprint, kind, workflow, run_id, step, error, count, first_seen, last_seen)
    SELECT u.fingerprint, min(u.kind), min(u.workflow), (array_agg(u.run_id))[1], min(u.step),
           (array_agg(u.error))[1]::jsonb, count(*)::int4, min(u.at), max(u.at)
    FROM ROWS AS u (fingerprint, kind, workflow, run_id, step, error, at)
    WHERE (u.run_id IN (SELECT id FROM run)) IS TRUE
    GROUP BY u.fingerprint ORDER BY u.fingerprint
    ON CONFLICT (fingerprint) WHERE resolved_at IS NULL DO UPDATE
    SET count = incidents.count + excluded.count, last_seen = excluded.last_seen, run_id = excluded.run_id,
        error = excluded.error""",
    (texts, words, words, uuids, texts, texts, times),
)

#: The server's time, and the runs that were not as they were when they were decided.
OVERTAKEN = """
SELECT clock_timestamp(), ARRAY(SELECT u.id FROM unnest(%b) AS u (id) WHERE u.id NOT IN (SELECT id FROM run))"""
INSERTED = "SELECT count(*) FROM run"
THERE = statement("SELECT id FROM runs WHERE id = ANY(%b)")


@cache
def composed(parts: tuple[Part, ...], answer: str) -> bytes:
    """Return the statement of some parts; which of them have rows differs little, so there are few."""
    return statement(f"WITH {', '.join(part.written() for part in parts)} {answer}")
