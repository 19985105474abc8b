"""Writing what was decided: steps, runs, events, outbox and logs, each in one statement for the whole batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from flowforge.engine.batch import Batch
from flowforge.engine.entries import Consequences
from flowforge.engine.tracing import EndedRun
from flowforge.model.facts import Accepted
from flowforge.model.state import StepState
from flowforge.model.turn import Turn
from flowforge.store import history, logs, outbox, runs, steps
from flowforge.store.database import Connection


async def persist(connection: Connection, batch: Batch, consequences: Consequences, *, traced: bool) -> None:
    """Write a batch about runs that exist, and note what the outside has to hear."""
    changed = {run_id: turn for run_id, turn in batch.turns.items() if _changed(turn)}
    if changed:
        await runs.update(connection, [turn.result() for turn in changed.values()])
        traces = {run_id: row.traceparent for run_id, row in batch.rows.items()}
        consequences.dispatched += await write(connection, changed, traces)
    for run_id, turn in changed.items():
        consequences.stops += [(turn.steps[no].worker or "", run_id, no, turn.steps[no].token) for no in turn.stops]
        if turn.wake_at is not None and turn.wake_at != turn.before.wake_at:
            consequences.rings_in((turn.wake_at - turn.now).total_seconds())
        if turn.status.final and not turn.before.status.final:
            consequences.ended.append(run_id)
            if traced:
                consequences.spans.append(_span(batch, run_id))
    await _write_logs(connection, batch)


async def write(connection: Connection, turns: Mapping[UUID, Turn], traces: Mapping[UUID, str | None]) -> int:
    """Write steps, events and dispatches of runs whose own rows are written; return how many dispatches."""
    await _write_steps(connection, turns)
    events = [history.packed(run_id, turn.before.seq + 1, turn.events) for run_id, turn in turns.items() if turn.events]
    if events:
        await history.append(connection, events)
    dispatches = [
        outbox.Row(dispatch.lane, run_id, dispatch.step, dispatch.dispatch_no, traces.get(run_id))
        for run_id, turn in turns.items()
        for dispatch in turn.dispatches.values()
    ]
    if dispatches:
        await outbox.put(connection, dispatches)
    return len(dispatches)


async def _write_steps(connection: Connection, turns: Mapping[UUID, Turn]) -> None:
    """Insert the steps that were first touched, update the others."""
    new: list[tuple[UUID, StepState]] = []
    old: list[tuple[UUID, StepState]] = []
    for run_id, turn in turns.items():
        for no in turn.changed:
            (old if no in turn.before.steps else new).append((run_id, turn.steps[no]))
    await steps.write(connection, old, insert=False)
    await steps.write(connection, new, insert=True)


async def _write_logs(connection: Connection, batch: Batch) -> None:
    written: Iterable[logs.Log] = [
        entry.log
        for index, entry in enumerate(batch.entries)
        if entry.log is not None and isinstance(batch.answers[index], Accepted)
    ]
    if rows := list(written):
        await logs.append(connection, rows)


def _changed(turn: Turn) -> bool:
    return bool(turn.events or turn.changed or turn.wake_at != turn.before.wake_at)


def _span(batch: Batch, run_id: UUID) -> EndedRun:
    turn, row = batch.turns[run_id], batch.rows[run_id]
    return EndedRun(
        run_id=run_id,
        workflow=turn.plan.name,
        version=batch.versions[run_id].version,
        status=turn.status.value,
        created_at=row.created_at,
        finished_at=turn.finished_at or turn.now,
        traceparent=row.traceparent,
        error=turn.error if turn.status == "failed" else None,
    )
