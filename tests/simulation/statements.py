"""The statements of the store, over tables in memory: same names, same arguments, same answers.

Everything above the statements is the real code. Each function here stands for the one of the same name in
flowforge.store, and does what its SQL does: above all, `write` writes a run only at the revision it was decided on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import errors as pg

from flowforge.model.state import Signal, StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.turn import Turn
from flowforge.store import alarms, gates, outbox, runs, transitions
from flowforge.store.signals import Received
from tests.simulation.postgres import Server, Session
from tests.simulation.tables import Change, Stored, Transaction

_HOLDING = {RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.CANCELLING, RunStatus.COMPENSATING}


def _now(session: Session) -> datetime:
    return session._server.now()


# -- runs ------------------------------------------------------------------------------------------------------


def _row(run: Stored) -> runs.RunRow:
    one = run.state
    assert one.created_at is not None
    rest = (one.status.value, one.revision, one.seq, one.open_steps, one.output_bytes, one.rows_ahead)
    times = (one.started_at, one.finished_at, one.deadline_at, one.wake_at)
    return runs.RunRow(one.id, run.version_id, run.gate_id, one.created_at, None, None, (*rest, *times, one.error))


async def look(session: Session, wanted: Sequence[tuple[UUID, int]]) -> runs.Seen:
    async def operation(one: Transaction) -> runs.Seen:
        seen = runs.Seen({}, {}, {}, None)
        for run_id, no in wanted:
            run = one.run(run_id)
            if run is None:
                continue
            if run_id not in seen.rows:
                seen = seen._replace(now=_now(session))
                seen.rows[run_id], seen.steps[run_id], seen.inputs[run_id] = _row(run), {}, run.input
            if no in run.state.steps:
                seen.steps[run_id][no] = run.state.steps[no]
        return seen

    return await session.run(operation)


async def lock(session: Session, ids: Sequence[UUID]) -> tuple[list[runs.RunRow], datetime | None]:
    async def operation(one: Transaction) -> tuple[list[runs.RunRow], datetime | None]:
        await one.lock(*(("run", run_id) for run_id in sorted(ids)))
        found = (one.run(run_id) for run_id in sorted(ids))
        rows = [_row(run) for run in found if run is not None]
        return rows, _now(session) if rows else None

    return await session.run(operation)


async def clock(session: Session) -> datetime:
    async def operation(_: Transaction) -> datetime:
        return _now(session)

    return await session.run(operation)


async def inputs(session: Session, ids: Sequence[UUID]) -> dict[UUID, Any]:
    async def operation(one: Transaction) -> dict[UUID, Any]:
        return {run_id: json.loads(run.input) for run_id in ids if (run := one.run(run_id)) is not None}

    return await session.run(operation)


async def by_idempotency_key(session: Session, workflow_id: int, keys: Sequence[str]) -> dict[str, Any]:
    async def operation(one: Transaction) -> dict[str, Any]:
        found = ((run.idempotency_key, run) for run in one.runs() if run.workflow_id == workflow_id)
        return {key: (key, run.state.id, None) for key, run in found if key is not None and key in keys}

    return await session.run(operation)


# -- steps -----------------------------------------------------------------------------------------------------


async def select(session: Session, keys: Sequence[tuple[UUID, int]]) -> list[tuple[Any, ...]]:
    async def operation(one: Transaction) -> list[tuple[Any, ...]]:
        found = ((run_id, no, one.run(run_id)) for run_id, no in keys)
        return [_columns(run_id, run.state.steps[no]) for run_id, no, run in found if run and no in run.state.steps]

    return await session.run(operation)


async def select_whole(session: Session, run_ids: Sequence[UUID]) -> list[tuple[Any, ...]]:
    async def operation(one: Transaction) -> list[tuple[Any, ...]]:
        found = [run for run_id in run_ids if (run := one.run(run_id)) is not None]
        return [_columns(run.state.id, step) for run in found for step in run.state.steps.values()]

    return await session.run(operation)


def _columns(run_id: UUID, step: StepState) -> tuple[Any, ...]:
    no, status, *rest, _output = step
    return (run_id, no, status.value, *rest)


async def outputs(session: Session, keys: Sequence[tuple[UUID, int]]) -> list[tuple[Any, ...]]:
    async def operation(one: Transaction) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for run_id, no in keys:
            run = one.run(run_id)
            if run is not None and no in run.state.steps:
                text, step = run.outputs.get(no), run.state.steps[no]
                rows.append((run_id, no, None if text is None else json.loads(text), step.error, step.status.value))
        return rows

    return await session.run(operation)


async def newer_outputs(session: Session, known: Sequence[tuple[tuple[UUID, int], int]]) -> list[tuple[Any, ...]]:
    async def operation(one: Transaction) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for (run_id, no), token in known:
            run = one.run(run_id)
            step = None if run is None else run.state.steps.get(no)
            if run is not None and step is not None and step.token != token:
                text = run.outputs.get(no)
                rows.append((run_id, no, step.token, None if text is None else json.loads(text)))
        return rows

    return await session.run(operation)


# -- signals ---------------------------------------------------------------------------------------------------


async def of_runs(session: Session, run_ids: Sequence[UUID]) -> dict[UUID, tuple[Signal, ...]]:
    async def operation(one: Transaction) -> dict[UUID, tuple[Signal, ...]]:
        return {run_id: _signals(one, run_id) for run_id in run_ids}

    return await session.run(operation)


async def of_steps(session: Session, keys: Sequence[tuple[UUID, int]]) -> dict[tuple[UUID, int], list[Received]]:
    async def operation(one: Transaction) -> dict[tuple[UUID, int], list[Received]]:
        found: dict[tuple[UUID, int], list[Received]] = {}
        for run_id, no in keys:
            taken = [signal for signal in _signals(one, run_id) if signal.step == no]
            if taken:
                found[run_id, no] = [Received(it.kind, it.name, it.actor, it.at, None) for it in taken]
        return found

    return await session.run(operation)


def _signals(one: Transaction, run_id: UUID) -> tuple[Signal, ...]:
    run = one.run(run_id)
    return () if run is None else run.state.signals or ()


# -- transitions -----------------------------------------------------------------------------------------------


async def write(session: Session, turns: Sequence[Turn]) -> transitions.Written:
    async def operation(one: Transaction) -> transitions.Written:
        overtaken: set[UUID] = set()
        for turn in sorted(turns, key=lambda turn: turn.before.id.int):
            run_id = turn.before.id
            await one.lock(("run", run_id))
            run = one.run(run_id)
            if run is None or run.state.revision != turn.before.revision:
                overtaken.add(run_id)
                continue
            await _change(one, run, turn)
        return transitions.Written(_now(session), frozenset(overtaken))

    return await session.run(operation)


async def _change(one: Transaction, run: Stored, turn: Turn) -> None:
    run_id = turn.before.id
    await one.lock(*(("step", run_id, no) for no in sorted(turn.changed)))
    for no in turn.changed:
        if (no in turn.before.steps) is not (no in run.state.steps):
            raise pg.UniqueViolation(f"step {no} has a row, or has none")
    decided = turn.result()
    signals = run.state.signals if decided.signals is None else decided.signals
    state = decided._replace(steps={}, loaded=None, revision=run.state.revision + 1, signals=signals)
    changed = {no: turn.steps[no] for no in turn.changed}
    outputs = {no: step.output for no, step in changed.items() if step.output is not None}
    steps = {no: step._replace(output=None) for no, step in changed.items()}
    one.change(run_id, Change(state, steps, outputs, tuple(turn.events)))
    for dispatch in turn.dispatches.values():
        one.send(outbox.Row(dispatch.lane, run_id, dispatch.step, dispatch.dispatch_no, None))


async def insert(session: Session, new: Sequence[transitions.NewRun]) -> frozenset[UUID]:
    async def operation(one: Transaction) -> frozenset[UUID]:
        for run in new:
            if run.idempotency_key is not None:
                await one.lock(("key", run.workflow_id, run.idempotency_key))
                if any(other.idempotency_key == run.idempotency_key for other in one.runs()):
                    raise pg.UniqueViolation("runs_idempotency_key")
            _insert(one, run)
        return frozenset()

    return await session.run(operation)


def _insert(one: Transaction, run: transitions.NewRun) -> None:
    turn = run.turn
    decided = turn.result()
    state = decided._replace(id=run.id, loaded=None, revision=turn.before.revision)
    one.insert(
        Stored(
            state,
            run.version_id,
            run.gate_id,
            run.workflow_id,
            run.idempotency_key,
            run.priority,
            run.input,
            {},
            tuple(turn.events),
        )
    )
    for dispatch in turn.dispatches.values():
        one.send(outbox.Row(dispatch.lane, run.id, dispatch.step, dispatch.dispatch_no, None))


# -- the outbox ------------------------------------------------------------------------------------------------


async def waiting(session: Session, lanes: Sequence[str]) -> bool:
    async def operation(one: Transaction) -> bool:
        return bool(_of(one, lanes))

    return await session.run(operation)


async def take(session: Session, lanes: Sequence[str], limit: int) -> list[outbox.Row]:
    async def operation(one: Transaction) -> list[outbox.Row]:
        return [row for lane in lanes for row in _taken(one, lane, limit)]

    return await session.run(operation)


async def take_directly(session: Session, lane: str, limit: int) -> list[outbox.Row]:
    async def operation(one: Transaction) -> list[outbox.Row]:
        return _taken(one, lane, limit)

    return await session.run(operation)


def _taken(one: Transaction, lane: str, limit: int) -> list[outbox.Row]:
    taken: list[outbox.Row] = []
    for no in _of(one, [lane]):
        if len(taken) < limit and one.try_lock(("outbox", no)):
            taken.append(one.take(no))
    return taken


def _of(one: Transaction, lanes: Sequence[str]) -> list[int]:
    """Return the numbers of the dispatches of lanes, the oldest first."""
    rows = one.tables.outbox
    return [no for no in one.outbox() if no in rows and rows[no].lane in lanes]


async def waiting_directly(session: Session, lanes: Sequence[str]) -> tuple[int, int] | None:
    async def operation(one: Transaction) -> tuple[int, int] | None:
        found = _of(one, lanes)
        return (found[0], found[-1]) if found else None

    return await session.run(operation)


# -- alarms ----------------------------------------------------------------------------------------------------


async def due(session: Session, limit: int) -> list[tuple[UUID, float]]:
    async def operation(one: Transaction) -> list[tuple[UUID, float]]:
        alarm = [(run.state.wake_at, run.state.id) for run in one.runs() if run.state.wake_at is not None]
        return [(run_id, (at - _now(session)).total_seconds()) for at, run_id in sorted(alarm)[:limit]]

    return await session.run(operation)


async def with_queued_steps(session: Session) -> list[UUID]:
    async def operation(one: Transaction) -> list[UUID]:
        return [
            run.state.id
            for run in one.runs()
            if run.state.status in (RunStatus.RUNNING, RunStatus.COMPENSATING)
            and any(step.status is StepStatus.QUEUED for step in run.state.steps.values())
        ]

    return await session.run(operation)


async def take_epoch(session: Session, _address: str) -> str | None:
    async def operation(one: Transaction) -> str | None:
        known = one.tables.epoch
        return known if known is None or one.try_lock(("epoch",)) else alarms.TAKEN

    return await session.run(operation)


async def store_epoch(session: Session, _address: str, epoch: str) -> None:
    async def operation(one: Transaction) -> None:
        await one.lock(("epoch",))
        one.epoch = epoch

    await session.run(operation)


# -- gates -----------------------------------------------------------------------------------------------------


async def ensure(session: Session, workflow_id: int, key: str, limit: int) -> gates.Ensured:
    async def operation(one: Transaction) -> gates.Ensured:
        made = one.tables.gates
        found = next((no for no, gate in made.items() if gate == (workflow_id, key, limit)), None)
        if found is not None:
            return gates.Ensured(found, changed=False)
        # Made at once, for everybody: that it may be there without a run does no harm.
        found = len(made) + 1
        made[found] = (workflow_id, key, limit)
        await one.lock(("gate", found))
        return gates.Ensured(found, changed=True)

    return await session.run(operation)


async def lock_gates(session: Session, gate_ids: Sequence[int]) -> None:
    async def operation(one: Transaction) -> None:
        await one.lock(*(("gate", no) for no in sorted(gate_ids)))

    await session.run(operation)


async def without_line(session: Session, gate_ids: Sequence[int], new: Sequence[UUID]) -> list[int]:
    async def operation(one: Transaction) -> list[int]:
        await one.lock(*(("gate", no) for no in sorted(gate_ids)))
        lines = {
            run.gate_id for run in one.runs() if run.state.status is RunStatus.PENDING and run.state.id not in set(new)
        }
        return [gate_id for gate_id in gate_ids if gate_id not in lines]

    return await session.run(operation)


async def admissible(session: Session, gate_ids: Sequence[int]) -> tuple[list[gates.Waiter], datetime | None]:
    async def operation(one: Transaction) -> tuple[list[gates.Waiter], datetime | None]:
        found: list[gates.Waiter] = []
        for gate_id in gate_ids:
            here = [run for run in one.runs() if run.gate_id == gate_id]
            room = one.tables.gates[gate_id][2] - sum(run.state.status in _HOLDING for run in here)
            waiting = [run for run in here if run.state.status is RunStatus.PENDING]
            for run in sorted(waiting, key=lambda run: run.state.id):
                if room > 0 and one.try_lock(("run", run.state.id)):
                    found.append(gates.Waiter(_row(run), run.input))
                    room -= 1
        return found, _now(session) if found else None

    return await session.run(operation)


async def waited_at(session: Session) -> list[int]:
    async def operation(one: Transaction) -> list[int]:
        return sorted({run.gate_id for run in one.runs() if run.gate_id and run.state.status is RunStatus.PENDING})

    return await session.run(operation)


async def none(session: Session, *_: Any) -> list[Any]:
    """Stand for a question to which the answer is always nobody: no run of a schedule starts another."""

    async def operation(_: Transaction) -> list[Any]:
        return []

    return await session.run(operation)


async def all_of(session: Session, ids: Sequence[UUID]) -> list[UUID]:
    """Stand for a question of which of some the answer is always all: no workflow of a schedule is held."""

    async def operation(_: Transaction) -> list[UUID]:
        return list(ids)

    return await session.run(operation)


async def nothing(session: Session, *_: Any) -> None:
    """Stand for a statement whose effect nobody looks at."""

    async def operation(_: Transaction) -> None:
        return None

    await session.run(operation)


# -- leases ----------------------------------------------------------------------------------------------------


def renew(server: Server, worker: str, keys: Sequence[tuple[UUID, int, int]], lease: Any) -> Any:
    """Prolong leases; in one statement, at once, because a heartbeat waits for nobody."""
    from flowforge.store.leases import Renewal

    renewed, still, stops = set(), set(), set()
    for run_id, no, token in keys:
        run = server.tables.runs.get(run_id)
        step = None if run is None else run.state.steps.get(no)
        if run is None or step is None or (step.token, step.worker, step.status) != (token, worker, StepStatus.RUNNING):
            continue
        still.add((run_id, no, token))
        if not server.locks.free(("step", run_id, no)):
            continue
        renewed.add((run_id, no, token))
        if step.cancel_requested:
            stops.add((run_id, no, token))
        steps = {**run.state.steps, no: step._replace(due_at=server.now() + lease)}
        server.tables.runs[run_id] = run._replace(state=run.state._replace(steps=steps))
    lost = {key for key in keys if key not in renewed and key not in still}
    return Renewal(frozenset(renewed), frozenset(lost), frozenset(stops))
