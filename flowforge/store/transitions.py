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

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from psycopg.rows import TupleRow

from flowforge.model import keys
from flowforge.model.aside import Aside
from flowforge.model.json import decode, digest
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus
from flowforge.model.turn import Turn
from flowforge.store import history, pauses
from flowforge.store.binary import (
    Packed,
    bools,
    columns,
    execute,
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
from flowforge.store.database import Connection
from flowforge.store.rows import json_text

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
    #: Run and number of the step that started it.
    parent: tuple[UUID, int] | None = None
    labels: dict[str, str] | None = None
    #: What it is found by, name and text.
    keys: tuple[tuple[str, str], ...] = ()


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
    runs = (RUN, [_run(turn) for turn in turns])
    filed = [
        row for turn in turns if turn.plan.search and turn.output is not None for row in _filed(turn.before.id, turn)
    ]
    ended = [(turn.before.id, turn.finished_at) for turn in turns if _ends(turn)]
    rows = [runs, (CHANGED, old), (ENTERED, new), (TOLD, events), (SENT, dispatches), (ENDED, ended), (FILED, filed)]
    row = await _execute(connection, [*rows, *_beside(turns)], OVERTAKEN, uuids(ids))
    return Written(row[0], frozenset(row[1]))


async def insert(connection: Connection, runs: Sequence[NewRun]) -> frozenset[UUID]:
    """Insert runs; ids are chosen by the caller, idempotency keys were looked up under the workflow's lock.

    Return those that were left out, because they would have started at once and their workflow is held.
    """
    told = {id(run.turn): run.turn for run in runs}
    histories = {key: history.packed(1, turn.events) for key, turn in told.items()}
    steps = [_step(run.id, state) for run in runs for state in run.turn.steps.values()]
    events = [(run.id, seq, run.turn.now, text) for run in runs for seq, text in histories[id(run.turn)]]
    dispatches = [
        (dispatch.lane, run.id, dispatch.step, dispatch.dispatch_no, run.traceparent)
        for run in runs
        for dispatch in run.turn.dispatches.values()
    ]
    filed = [(run.id, *key) for run in runs for key in run.keys]
    filed += [row for run in runs if run.turn.output is not None for row in _filed(run.id, run.turn)]
    new = (NEW_RUN, [_new(run) for run in runs])
    ended = [(run.id, run.turn.finished_at) for run in runs if run.turn.finished_at is not None]
    rows = [new, (ENTERED, steps), (TOLD, events), (SENT, dispatches), (ENDED, ended), (FILED, filed)]
    row = await _execute(connection, rows, INSERTED)
    if row[0] == len(runs):
        return frozenset()
    ids = [run.id for run in runs]
    there = await (await execute(connection, THERE, (uuids(ids),))).fetchall()
    return frozenset(ids) - {found[0] for found in there}


async def _execute(
    connection: Connection, rows: Sequence[tuple[Part, Sequence[_Row]]], answer: str, *more: Packed
) -> TupleRow:
    """Execute the parts that have rows, as one statement; return its one row."""
    filled = [(part, some) for part, some in rows if some]
    query = composed(tuple(part for part, _ in filled), answer)
    parameters = [column for part, some in filled for column in columns(part.packers, some)]
    row = await (await execute(connection, query, [*parameters, *more])).fetchone()
    assert row is not None
    return row


def _beside(turns: Sequence[Turn]) -> Iterator[tuple[Part, Sequence[_Row]]]:
    """Yield what few decisions write beside the rows of their run."""
    some = [(turn, turn.aside) for turn in turns if turn.aside is not None]
    if not some:
        return
    for part, made in ((CAME, _came), (TAKEN, _taken), (CLEARED, _cleared), (DISOWNED, _disowned), (OPENED, _opened)):
        yield part, [row for turn, aside in some for row in made(turn, aside)]


def _came(turn: Turn, aside: Aside) -> Iterator[_Row]:
    for one in aside.sent:
        step = aside.taken.get(one.no, one.step)
        yield (turn.before.id, one.no, step, one.kind, one.name, one.actor, one.at, one.payload)


def _taken(turn: Turn, aside: Aside) -> Iterator[_Row]:
    sent = {one.no for one in aside.sent}
    return ((turn.before.id, no, step) for no, step in aside.taken.items() if no not in sent)


def _cleared(turn: Turn, aside: Aside) -> Iterator[_Row]:
    return ((turn.before.id, step) for step in aside.cleared)


def _disowned(turn: Turn, aside: Aside) -> Iterator[_Row]:
    return _cleared(turn, aside) if turn.plan.nests else iter(())


def _opened(turn: Turn, aside: Aside) -> Iterator[_Row]:
    name = turn.plan.name
    for one in aside.incidents:
        fingerprint = digest([one.kind, name, _alike(one.step), one.error["code"]])
        yield (fingerprint, one.kind, name, turn.before.id, one.step, json_text(one.error), turn.now)


def _filed(run_id: UUID, turn: Turn) -> Iterator[_Row]:
    """Yield the keys of a completed run's output."""
    if turn.output is not None and turn.status is RunStatus.COMPLETED:
        found = keys.of_fields(turn.plan.search, "output", decode(turn.output))
        yield from ((run_id, *key) for key in found)


def _alike(step: str | None) -> str | None:
    """Return the step's id without the number of its item: what befalls every item is one incident."""
    return None if step is None else re.sub(r"\[[0-9]+\]", "[]", step)


def _ends(turn: Turn) -> bool:
    return turn.finished_at is not None and turn.finished_at != turn.before.finished_at


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
        None if turn.error is None else json_text(turn.error),
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
        *(run.parent or (None, None)),
        turn.rows_ahead,
        turn.output_bytes,
        json_text(run.labels),
        run.input,
        turn.output,
        json_text(turn.error),
    )
