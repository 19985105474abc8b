"""What a decided batch leaves behind: rows in Postgres, memories for the next batch, news for the outside."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from flowforge.engine.batch import Batch, Case
from flowforge.engine.entries import Consequences
from flowforge.engine.recent import Recent
from flowforge.engine.tracing import EndedRun
from flowforge.model.facts import Accepted, Claimed, Settled
from flowforge.model.status import FINAL_RUN
from flowforge.store import logs, transitions
from flowforge.store.database import Connection

#: Steps of a run that are still worth remembering.
MANY = 500


async def write(connection: Connection, batch: Batch) -> datetime | None:
    """Write the runs that changed; those that somebody else changed lose their answers. Return the server's time."""
    turns = [case.turn for case in batch.cases if case.changed and case.turn is not None]
    if not turns:
        return None
    written = await transitions.write(connection, turns)
    for run_id in written.overtaken:
        case = batch.case(run_id)
        case.answers = None
        if case.memory is not None:
            case.memory.contest()
    return written.now


async def write_logs(connection: Connection, batch: Batch) -> None:
    """Store what attempts wrote, those whose outcome counts."""
    written = [
        entry.log
        for case in batch.cases
        for entry, answer in zip(case.entries, case.answers or (), strict=False)
        if entry.log is not None and isinstance(answer, Accepted)
    ]
    if written:
        await logs.append(connection, written)


def conclude(cases: Iterable[Case], consequences: Consequences, recent: Recent, *, traced: bool) -> None:
    """Remember the runs of committed cases, and note what the outside has to hear."""
    for case in cases:
        turn = case.turn
        if turn is None or not case.changed:
            if case.answers is None and case.memory is not None and case.memory.contested:
                recent.keep(case.run_id, case.memory)
            if turn is not None and turn.status in FINAL_RUN:
                _tell_again(case, consequences)
            continue
        consequences.dispatched += len(turn.dispatches)
        if case.frees is not None:
            consequences.freed.add(case.frees)
        if turn.stops:
            stops = [(turn.steps[no].worker or "", case.run_id, no, turn.steps[no].token) for no in turn.stops]
            consequences.stops += stops
        consequences.abandoned += [(case.run_id, no) for no in case.abandoned] if turn.plan.nests else []
        if turn.wake_at is not None and turn.wake_at != turn.before.wake_at:
            consequences.rings_in((turn.wake_at - turn.now).total_seconds())
        if turn.status not in FINAL_RUN:
            _remember(case, recent)
        elif turn.before.status not in FINAL_RUN:
            recent.forget(case.run_id)
            _ended(case, consequences, traced=traced)


def _tell_again(case: Case, consequences: Consequences) -> None:
    """Tell who waits for a run that has ended, if the answer to what ended it was lost."""
    repeated = any(isinstance(entry.fact, Claimed | Settled) and entry.fact.repeated for entry in case.entries)
    if repeated and case.memory is not None and case.memory.row.parent is not None:
        consequences.parents.append(case.memory.row.parent)


def _ended(case: Case, consequences: Consequences, *, traced: bool) -> None:
    consequences.ended.append(case.run_id)
    if case.memory is not None and case.memory.row.parent is not None:
        consequences.parents.append(case.memory.row.parent)
    if traced:
        consequences.spans.append(_span(case))


def _remember(case: Case, recent: Recent) -> None:
    memory, turn = case.memory, case.turn
    assert memory is not None
    assert turn is not None
    memory.at = turn.now
    if not case.recalled:
        known = recent.get(case.run_id)
        memory.contested = known is not None and known.contested
        recent.keep(case.run_id, memory)
    memory.state = None if memory.contested or len(turn.steps) > MANY else turn.remembered()
    for entry, answer in zip(case.entries, case.answers or (), strict=True):
        # What a step came to is kept for the steps behind it, which this worker goes on with.
        fact = entry.fact
        if isinstance(fact, Settled) and isinstance(answer, Accepted) and answer.next is not None:
            memory.settle(fact.step, fact.outcome, fact.output)


def _span(case: Case) -> EndedRun:
    turn, memory = case.turn, case.memory
    assert turn is not None
    assert memory is not None
    return EndedRun(
        run_id=case.run_id,
        workflow=turn.plan.name,
        version=memory.version.version,
        status=turn.status.value,
        created_at=memory.row.created_at,
        finished_at=turn.finished_at or turn.now,
        traceparent=memory.row.traceparent,
        error=turn.error if turn.status == "failed" else None,
    )
