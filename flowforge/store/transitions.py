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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from psycopg.rows import TupleRow

from flowforge.model import keys
from flowforge.model.aside import Aside
from flowforge.model.json import decode, digest
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus
from flowforge.model.turn import Turn
from flowforge.store import history, parts
from flowforge.store.binary import Packed, columns, execute, uuids
from flowforge.store.database import Connection
from flowforge.store.parts import Part
from flowforge.store.rows import json_text


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
    runs = (parts.RUN, [_run(turn) for turn in turns])
    filed = [
        row for turn in turns if turn.plan.search and turn.output is not None for row in _filed(turn.before.id, turn)
    ]
    ended = [(turn.before.id, turn.finished_at) for turn in turns if _ends(turn)]
    steps = [(parts.CHANGED, old), (parts.ENTERED, new)]
    told: list[tuple[Part, list[_Row]]] = [
        (parts.TOLD, events),
        (parts.SENT, dispatches),
        (parts.ENDED, ended),
        (parts.FILED, filed),
    ]
    row = await _execute(connection, [runs, *steps, *told, *_beside(turns)], parts.OVERTAKEN, uuids(ids))
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
    new = (parts.NEW_RUN, [_new(run) for run in runs])
    ended: list[_Row] = [(run.id, run.turn.finished_at) for run in runs if run.turn.finished_at is not None]
    rows: list[tuple[Part, list[_Row]]] = [
        (parts.TOLD, events),
        (parts.SENT, dispatches),
        (parts.ENDED, ended),
        (parts.FILED, filed),
    ]
    row = await _execute(connection, [new, (parts.ENTERED, steps), *rows], parts.INSERTED)
    if row[0] == len(runs):
        return frozenset()
    ids = [run.id for run in runs]
    there = await (await execute(connection, parts.THERE, (uuids(ids),))).fetchall()
    return frozenset(ids) - {found[0] for found in there}


async def _execute(
    connection: Connection, rows: Sequence[tuple[Part, Sequence[_Row]]], answer: str, *more: Packed
) -> TupleRow:
    """Execute the parts that have rows, as one statement; return its one row."""
    filled = [(part, some) for part, some in rows if some]
    query = parts.composed(tuple(part for part, _ in filled), answer)
    parameters = [column for part, some in filled for column in columns(part.packers, some)]
    row = await (await execute(connection, query, [*parameters, *more])).fetchone()
    assert row is not None
    return row


def _beside(turns: Sequence[Turn]) -> Iterator[tuple[Part, Sequence[_Row]]]:
    """Yield what few decisions write beside the rows of their run."""
    some = [(turn, turn.aside) for turn in turns if turn.aside is not None]
    if not some:
        return
    for part, made in _BESIDE:
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


_BESIDE = (
    (parts.CAME, _came),
    (parts.TAKEN, _taken),
    (parts.CLEARED, _cleared),
    (parts.DISOWNED, _disowned),
    (parts.OPENED, _opened),
)


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
