"""Writing what was decided, for many runs in one statement.

A decision is made on a run as it was read, or as this process left it, and is written only if the run's revision is
still the same. So nothing has to be locked before deciding, one round trip writes a batch, and a run that somebody
else changed meanwhile is left out of it, with all its rows, and reported. Invariant: a run's row, its steps, its
history and its dispatches change together or not at all.

What keeps it cheap, measured with 200 runs a statement: one statement and one snapshot for five tables instead of
five of each; arrays packed as a whole (binary.py), because dumping them element by element cost more than deciding;
rows that are updated heap-only, because no column that changes on the way is in an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from flowforge.model.state import StepState
from flowforge.model.turn import Turn
from flowforge.store import history
from flowforge.store.binary import (
    bools,
    columns,
    execute,
    int2s,
    int4s,
    int8s,
    optional_uuids,
    statement,
    texts,
    times,
    uuids,
    words,
)
from flowforge.store.database import Connection
from flowforge.store.rows import json_text

#: The columns of a step that a decision knows, in the order of StepState, behind the run's id.
_STEP = (
    "run_id, step_no, status, open_dependencies, skipped_dependencies, attempt, failures, crashes, token, dispatch_no, "
    "worker, due_at, queued_at, started_at, finished_at, cancel_requested, branch, error, output"
)
_STEP_PACKERS = (uuids, int4s, words, *[int4s] * 7, words, *[times] * 4, bools, words, texts, texts)
_RUN_PACKERS = (uuids, int4s, words, int4s, int4s, int4s, bools, times, times, times, times, texts, texts)
_EVENT_PACKERS = (uuids, int4s, times, texts)
_DISPATCH_PACKERS = (words, uuids, int4s, int4s, texts)
_NEW_PACKERS = (
    *(uuids, int8s, int8s, int8s, int2s, int4s, words, int4s, int4s),
    *([times] * 5),
    *(words, optional_uuids, *[texts] * 7),
)


def _rows(packers: Sequence[object]) -> str:
    """Return the rows that packed columns make; Postgres takes their types from the parameters."""
    return f"unnest({', '.join(['%b'] * len(packers))})"


#: `(… IN (…)) IS TRUE` is a look into a hash table whatever the planner thinks of the number of rows; a plain IN may
#: become a join of any kind.
#: What a run's transition writes beside the run itself, for the runs that the part named `run` did write.
_BESIDE = f"""
entered AS (
    INSERT INTO steps ({_STEP})
    SELECT u.run_id, u.step_no, u.status::step_status, u.open_dependencies, u.skipped_dependencies, u.attempt,
           u.failures, u.crashes, u.token, u.dispatch_no, u.worker, u.due_at, u.queued_at, u.started_at,
           u.finished_at, u.cancel_requested, u.branch, u.error::jsonb, u.output::json
    FROM {_rows(_STEP_PACKERS)} AS u ({_STEP}) WHERE (u.run_id IN (SELECT id FROM run)) IS TRUE
), told AS (
    INSERT INTO run_events (run_id, seq, at, events)
    SELECT u.run_id, u.seq, u.at, u.events::json
    FROM {_rows(_EVENT_PACKERS)} AS u (run_id, seq, at, events) WHERE (u.run_id IN (SELECT id FROM run)) IS TRUE
), sent AS (
    INSERT INTO outbox (lane, run_id, step_no, dispatch_no, traceparent)
    SELECT * FROM {_rows(_DISPATCH_PACKERS)} AS u (lane, run_id, step_no, dispatch_no, traceparent)
    WHERE (u.run_id IN (SELECT id FROM run)) IS TRUE
)"""  # noqa: S608 - constants only

#: Rows come in id order, so two batches that share runs wait for each other instead of dying. The output of a run is
#: at hand only when it completes, and that of a step only when it is decided; later writes keep both.
WRITE = statement(
    f"""
WITH run AS (
    UPDATE runs r
    SET revision = r.revision + 1, status = u.status::run_status, seq = u.seq, open_steps = u.open_steps,
        output_bytes = u.output_bytes, rows_ahead = u.rows_ahead, started_at = u.started_at,
        finished_at = u.finished_at, deadline_at = u.deadline_at, wake_at = u.wake_at, error = u.error::jsonb,
        output = CASE WHEN u.status = 'completed' THEN coalesce(u.output::json, r.output) END
    FROM {_rows(_RUN_PACKERS)}
         AS u (id, revision, status, seq, open_steps, output_bytes, rows_ahead, started_at, finished_at, deadline_at,
               wake_at, error, output)
    WHERE r.id = u.id AND r.revision = u.revision
    RETURNING r.id
), changed AS (
    UPDATE steps s
    SET status = u.status::step_status, open_dependencies = u.open_dependencies,
        skipped_dependencies = u.skipped_dependencies, attempt = u.attempt, failures = u.failures,
        crashes = u.crashes, token = u.token, dispatch_no = u.dispatch_no, worker = u.worker, due_at = u.due_at,
        queued_at = u.queued_at, started_at = u.started_at, finished_at = u.finished_at,
        cancel_requested = u.cancel_requested, branch = u.branch, error = u.error::jsonb,
        output = coalesce(u.output::json, s.output)
    FROM {_rows(_STEP_PACKERS)} AS u ({_STEP})
    WHERE s.run_id = u.run_id AND s.step_no = u.step_no AND (u.run_id IN (SELECT id FROM run)) IS TRUE
), {_BESIDE}
SELECT clock_timestamp(), ARRAY(SELECT u.id FROM unnest(%b) AS u (id) WHERE u.id NOT IN (SELECT id FROM run))
"""  # noqa: S608 - constants only
)

INSERT = statement(
    f"""
WITH run AS (
    INSERT INTO runs (id, workflow_id, version_id, gate_id, priority, revision, status, seq, open_steps, created_at,
                      started_at, finished_at, deadline_at, wake_at, trigger, replay_of, idempotency_key,
                      input_digest, traceparent, labels, input, output, error)
    SELECT u.id, u.workflow_id, u.version_id, u.gate_id, u.priority, u.revision, u.status::run_status, u.seq,
           u.open_steps, u.created_at, u.started_at, u.finished_at, u.deadline_at, u.wake_at, u.trigger, u.replay_of,
           u.idempotency_key, u.input_digest, u.traceparent, u.labels::jsonb, u.input::json, u.output::json,
           u.error::jsonb
    FROM {_rows(_NEW_PACKERS)}
         AS u (id, workflow_id, version_id, gate_id, priority, revision, status, seq, open_steps, created_at,
               started_at, finished_at, deadline_at, wake_at, trigger, replay_of, idempotency_key, input_digest,
               traceparent, labels, input, output, error)
    RETURNING id
), {_BESIDE}
SELECT count(*) FROM run
"""  # noqa: S608 - constants only
)


class NewRun(NamedTuple):
    """A run to be inserted, as a first decision left it, which many runs may share."""

    id: UUID
    turn: Turn
    workflow_id: int
    version_id: int
    gate_id: int | None
    #: JSON text.
    input: str
    trigger: str
    priority: int = 0
    replay_of: UUID | None = None
    idempotency_key: str | None = None
    input_digest: str | None = None
    traceparent: str | None = None
    labels: dict[str, str] | None = None


_Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch of decisions."""

    #: The server's clock, after it took the batch.
    now: datetime
    #: Runs that somebody else had changed: nothing was written of them.
    overtaken: frozenset[UUID]


async def write(connection: Connection, turns: Sequence[Turn]) -> Written:
    """Write what was decided about runs, each only if it is still as it was when that was decided."""
    turns = sorted(turns, key=_number)
    ids = [turn.before.id for turn in turns]
    old: list[_Row] = []
    new: list[_Row] = []
    events: list[_Row] = []
    dispatches: list[_Row] = []
    for turn in turns:
        before = turn.before
        for no in turn.changed:
            (old if no in before.steps else new).append(_step(before.id, turn.steps[no]))
        events += [(before.id, seq, turn.now, text) for seq, text in history.packed(before.seq + 1, turn.events)]
        dispatches += [
            (dispatch.lane, before.id, dispatch.step, dispatch.dispatch_no, before.traceparent)
            for dispatch in turn.dispatches.values()
        ]
    parameters = [
        *columns(_RUN_PACKERS, [_run(turn) for turn in turns]),
        *columns(_STEP_PACKERS, old),
        *columns(_STEP_PACKERS, new),
        *columns(_EVENT_PACKERS, events),
        *columns(_DISPATCH_PACKERS, dispatches),
        uuids(ids),
    ]
    row = await (await execute(connection, WRITE, parameters)).fetchone()
    assert row is not None
    return Written(row[0], frozenset(row[1]))


async def insert(connection: Connection, runs: Sequence[NewRun]) -> None:
    """Insert runs; ids are chosen by the caller, idempotency keys were looked up under the workflow's lock."""
    told = {id(run.turn): run.turn for run in runs}
    histories = {key: list(history.packed(1, turn.events)) for key, turn in told.items()}
    steps = [_step(run.id, state) for run in runs for state in run.turn.steps.values()]
    events = [(run.id, seq, run.turn.now, text) for run in runs for seq, text in histories[id(run.turn)]]
    dispatches = [
        (dispatch.lane, run.id, dispatch.step, dispatch.dispatch_no, run.traceparent)
        for run in runs
        for dispatch in run.turn.dispatches.values()
    ]
    parameters = [
        *columns(_NEW_PACKERS, [_new(run) for run in runs]),
        *columns(_STEP_PACKERS, steps),
        *columns(_EVENT_PACKERS, events),
        *columns(_DISPATCH_PACKERS, dispatches),
    ]
    await execute(connection, INSERT, parameters)


def _number(turn: Turn) -> int:
    return turn.before.id.int


def _step(run_id: UUID, state: StepState) -> _Row:
    if state.error is None:
        return (run_id, *state)
    *front, error, output = state
    return (run_id, *front, json_text(error), output)


def _run(turn: Turn) -> _Row:
    before = turn.before
    return (
        before.id,
        before.revision,
        turn.status,
        before.seq + len(turn.events),
        turn.open_steps,
        turn.output_bytes,
        turn.rows_ahead,
        turn.started_at,
        turn.finished_at,
        turn.deadline_at,
        turn.wake_at,
        json_text(turn.error),
        turn.output,
    )


def _new(run: NewRun) -> _Row:
    turn = run.turn
    return (
        run.id,
        run.workflow_id,
        run.version_id,
        run.gate_id,
        run.priority,
        turn.before.revision,
        turn.status,
        len(turn.events),
        turn.open_steps,
        turn.before.created_at,
        turn.started_at,
        turn.finished_at,
        turn.deadline_at,
        turn.wake_at,
        run.trigger,
        run.replay_of,
        run.idempotency_key,
        run.input_digest,
        run.traceparent,
        json_text(run.labels),
        run.input,
        turn.output,
        json_text(turn.error),
    )
