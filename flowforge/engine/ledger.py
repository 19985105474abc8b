"""The one way in which a run changes: load what a batch of facts needs, decide, persist, in one transaction.

    lock runs (id order) → read steps → decide (pure) → write steps, runs, events, outbox
                                                     → admit whoever waited at a gate that got room → commit

Facts of many runs share a transaction (group commit): reading and writing are one round trip each, whatever the
size of the batch. A row that Postgres refuses fails alone: the batch is then repeated one fact at a time. A
repeated fact is harmless, because claims and settlements are fenced by dispatch number and token; that is what
makes it safe to repeat a transaction whose commit was not confirmed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from psycopg import errors as pg

from flowforge.engine import finishing
from flowforge.engine.context import ContextLoader
from flowforge.engine.plans import PlannedVersion, Plans
from flowforge.engine.tracing import OFF, EndedRun, Tracer
from flowforge.model.decide import decide
from flowforge.model.facts import Accepted, Admitted, Answer, Claimed, Fact, Granted, Refusal, Refused, Settled
from flowforge.model.outcome import Completed
from flowforge.model.plan import Plan
from flowforge.model.state import StepState
from flowforge.model.turn import NeedsWholeRun, Terms, Turn
from flowforge.steps.base import Assignment
from flowforge.store import gates, history, outbox, runs, steps
from flowforge.store.database import TIMING, Connection, Database

#: Whole transactions are tried again this often when Postgres says that only the timing was wrong.
TRIES = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact about a run; *plan* spares loading what is not needed, when the sender knows it."""

    run_id: UUID
    fact: Fact
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an entry; *assignment* is there when a step is now the sender's to execute."""

    answer: Answer
    assignment: Assignment | None = None
    plan: Plan | None = None
    #: Number of the dispatch that the assignment belongs to.
    dispatch_no: int = 0


@dataclass(slots=True)
class Consequences:
    """What the outside has to hear after the commit."""

    dispatched: int = 0
    #: Attempts to stop: (worker, run, step, token).
    stops: list[tuple[str, UUID, int, int]] = field(default_factory=list)
    ended: list[UUID] = field(default_factory=list)
    #: What to tell the tracer about them; empty while traces are off.
    spans: list[EndedRun] = field(default_factory=list)
    #: Seconds until the first alarm that was set now and is sooner than any before it.
    alarm: float | None = None


@dataclass(slots=True)
class _Batch:
    """The runs of one transaction."""

    rows: dict[UUID, runs.LockedRun] = field(default_factory=dict)
    versions: dict[UUID, PlannedVersion] = field(default_factory=dict)
    turns: dict[UUID, Turn] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)


class Ledger:
    """Applies facts to runs, over one pool of connections."""

    def __init__(self, database: Database, plans: Plans, terms: Terms | None = None, tracer: Tracer = OFF) -> None:
        self._database = database
        self._plans = plans
        self._tracer = tracer
        self._terms = terms or Terms()

    async def apply(self, entries: Sequence[Entry]) -> tuple[list[Applied], Consequences]:
        """Apply entries and commit; answers are in the order of the entries."""
        if not entries:
            return [], Consequences()
        try:
            return await self._repeat(entries)
        except (pg.DataError, pg.IntegrityError, pg.ProgramLimitExceeded):
            if len(entries) == 1:
                raise
        applied, consequences = [], Consequences()
        for entry in entries:
            one, more = await self.apply([entry])
            applied += one
            consequences.dispatched += more.dispatched
            consequences.stops += more.stops
            consequences.ended += more.ended
            consequences.spans += more.spans
        return applied, consequences

    async def _repeat(self, entries: Sequence[Entry]) -> tuple[list[Applied], Consequences]:
        for attempt in range(TRIES):
            try:
                return await self._transact(entries)
            except TIMING:
                if attempt == TRIES - 1:
                    raise
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - jitter
        raise AssertionError  # pragma: no cover - the loop returns or raises

    async def _transact(self, entries: Sequence[Entry]) -> tuple[list[Applied], Consequences]:
        batch, consequences = _Batch(), Consequences()
        async with self._database.connection() as connection:
            async with connection.pipeline(), connection.transaction():
                await self._load(connection, batch, entries)
                await self._decide(connection, batch, entries)
                await self.persist(connection, batch.turns, batch.rows, consequences)
                await self._release(connection, batch, consequences)
                loader = ContextLoader()
                granted = {index: _granted(answer) for index, answer in batch.answers.items()}
                for index, step in granted.items():
                    if step is not None:
                        run_id = entries[index].run_id
                        loader.want(run_id, batch.versions[run_id].plan.steps[step.no])
                await loader.send(connection)
            await loader.receive()
        return [
            self._applied(batch, loader, entry.run_id, batch.answers[index], granted[index])
            for index, entry in enumerate(entries)
        ], consequences

    # -- loading -------------------------------------------------------------------------------------------

    async def _load(self, connection: Connection, batch: _Batch, entries: Sequence[Entry]) -> None:
        """Lock the runs and read those of their steps that the facts are about."""
        selected, whole = _needs(entries)
        locking = await runs.lock(connection, list({entry.run_id for entry in entries}))
        reading = []
        if selected:
            keys = [(run_id, no) for run_id, numbers in selected.items() for no in numbers]
            reading.append(await steps.select(connection, keys))
        if whole:
            reading.append(await steps.select_whole(connection, list(whole)))
        clock = await connection.cursor(binary=True).execute(runs.CLOCK)
        batch.rows = {row[0]: runs.locked(row) for row in await locking.fetchall()}
        found: dict[UUID, dict[int, StepState]] = {run_id: {} for run_id in batch.rows}
        for cursor in reading:
            for row in await cursor.fetchall():
                run_id, state = steps.state(row)
                if run_id in found:
                    found[run_id][state.no] = state
        (now,) = await clock.fetchone() or (None,)
        for run_id, locked in batch.rows.items():
            version = await self._plans.get(connection, locked.version_id)
            loaded = None if run_id in whole else frozenset(selected[run_id])
            batch.versions[run_id] = version
            before = runs.state_of(locked, version.plan, found[run_id], loaded)
            batch.turns[run_id] = Turn(before, now, self._terms)

    async def _decide(self, connection: Connection, batch: _Batch, entries: Sequence[Entry]) -> None:
        """Apply each run's facts in order; a decision that reaches further than was loaded is made again."""
        facts: dict[UUID, list[int]] = {}
        for index, entry in enumerate(entries):
            facts.setdefault(entry.run_id, []).append(index)
        further: list[UUID] = []
        for run_id, indexes in facts.items():
            turn = batch.turns.get(run_id)
            if turn is None:
                batch.answers.update(dict.fromkeys(indexes, Refused(Refusal.UNKNOWN)))
                continue
            try:
                answers = decide(turn, [entries[index].fact for index in indexes])
            except NeedsWholeRun:
                further.append(run_id)
                continue
            batch.answers.update(zip(indexes, answers, strict=True))
        if further:
            await self._load_whole(connection, batch, further)
            for run_id in further:
                indexes = facts[run_id]
                answers = decide(batch.turns[run_id], [entries[index].fact for index in indexes])
                batch.answers.update(zip(indexes, answers, strict=True))
        await finishing.finish(connection, [turn for turn in batch.turns.values() if turn.awaits_output])

    async def _load_whole(self, connection: Connection, batch: _Batch, run_ids: Sequence[UUID]) -> None:
        cursor = await steps.select_whole(connection, run_ids)
        found: dict[UUID, dict[int, StepState]] = {run_id: {} for run_id in run_ids}
        for row in await cursor.fetchall():
            run_id, state = steps.state(row)
            found[run_id][state.no] = state
        for run_id in run_ids:
            turn = batch.turns[run_id]
            before = runs.state_of(batch.rows[run_id], turn.plan, found[run_id], None)
            batch.turns[run_id] = Turn(before, turn.now, self._terms)

    # -- writing -------------------------------------------------------------------------------------------

    async def persist(
        self,
        connection: Connection,
        turns: dict[UUID, Turn],
        rows: dict[UUID, runs.LockedRun],
        consequences: Consequences,
    ) -> None:
        """Write what turns decided about runs that exist."""
        changed = {run_id: turn for run_id, turn in turns.items() if turn.events or turn.changed or _alarm(turn)}
        if not changed:
            return
        await runs.update(connection, [turn.result() for turn in changed.values()])
        await write_steps(connection, changed)
        await write_events(connection, changed)
        traces = {run_id: row.traceparent for run_id, row in rows.items()}
        consequences.dispatched += await write_outbox(connection, changed, traces)
        for run_id, turn in changed.items():
            consequences.stops += [(turn.steps[no].worker or "", run_id, no, turn.steps[no].token) for no in turn.stops]
            if turn.wake_at is not None and turn.wake_at != turn.before.wake_at:
                seconds = (turn.wake_at - turn.now).total_seconds()
                consequences.alarm = seconds if consequences.alarm is None else min(seconds, consequences.alarm)
            if turn.status.final and not turn.before.status.final:
                consequences.ended.append(run_id)
                if self._tracer.on:
                    consequences.spans.append(await self._span(connection, turn, rows[run_id]))

    async def _span(self, connection: Connection, turn: Turn, row: runs.LockedRun) -> EndedRun:
        return EndedRun(
            run_id=row.id,
            workflow=turn.plan.name,
            version=(await self._plans.get(connection, row.version_id)).version,
            status=turn.status.value,
            created_at=row.created_at,
            finished_at=turn.finished_at or turn.now,
            traceparent=row.traceparent,
            error=turn.error if turn.status == "failed" else None,
        )

    async def _release(self, connection: Connection, batch: _Batch, consequences: Consequences) -> None:
        """Give the room that ended runs leave at their gates to those who wait there; also to a retried run."""
        freed = {
            gate_id
            for run_id, turn in batch.turns.items()
            if (gate_id := batch.rows[run_id].gate_id) is not None and turn.status is not turn.before.status
        }
        if freed:
            await self.admit(connection, sorted(freed), consequences)
        ungated = [
            run_id
            for run_id, turn in batch.turns.items()
            if turn.status == "pending" and batch.rows[run_id].gate_id is None
        ]
        if ungated:
            await self._admit_runs(connection, ungated, consequences)

    async def admit(self, connection: Connection, gate_ids: Sequence[int], consequences: Consequences) -> int:
        """Admit as many waiting runs as gates have room for, in the caller's transaction; return how many."""
        await gates.lock(connection, gate_ids)
        admissible = await gates.admissible(connection, gate_ids)
        await self._admit_runs(connection, admissible, consequences)
        return len(admissible)

    async def _admit_runs(self, connection: Connection, run_ids: Sequence[UUID], consequences: Consequences) -> None:
        if not run_ids:
            return
        batch, entries = _Batch(), [Entry(run_id, Admitted()) for run_id in run_ids]
        await self._load(connection, batch, entries)
        await self._decide(connection, batch, entries)
        await self.persist(connection, batch.turns, batch.rows, consequences)

    @staticmethod
    def _applied(batch: _Batch, loader: ContextLoader, run_id: UUID, answer: Answer, step: StepState | None) -> Applied:
        if step is None or step.started_at is None:
            return Applied(answer)
        version, row = batch.versions[run_id], batch.rows[run_id]
        assignment = Assignment(
            run_id=run_id,
            workflow=version.plan.name,
            version=version.version,
            step=version.plan.steps[step.no],
            attempt=step.attempt,
            token=step.token,
            context=loader.context(row, version, step),
            claimed_at=step.started_at,
            traceparent=row.traceparent,
        )
        return Applied(answer, assignment, version.plan, step.dispatch_no)


async def write_steps(connection: Connection, turns: dict[UUID, Turn]) -> None:
    """Insert the steps that were first touched, update the others."""
    new: list[tuple[UUID, StepState]] = []
    old: list[tuple[UUID, StepState]] = []
    for run_id, turn in turns.items():
        for no in turn.changed:
            (old if no in turn.before.steps else new).append((run_id, turn.steps[no]))
    await steps.write(connection, old, insert=False)
    await steps.write(connection, new, insert=True)


async def write_events(connection: Connection, turns: dict[UUID, Turn]) -> None:
    """Append what happened to the history."""
    rows = [history.packed(run_id, turn.before.seq + 1, turn.events) for run_id, turn in turns.items() if turn.events]
    if rows:
        await history.append(connection, rows)


async def write_outbox(connection: Connection, turns: dict[UUID, Turn], traces: dict[UUID, str | None]) -> int:
    """Put the steps that became ready into the outbox; return how many."""
    rows = [
        outbox.Row(dispatch.lane, run_id, dispatch.step, dispatch.dispatch_no, traces.get(run_id))
        for run_id, turn in turns.items()
        for dispatch in turn.dispatches.values()
    ]
    if rows:
        await outbox.put(connection, rows)
    return len(rows)


def _needs(entries: Sequence[Entry]) -> tuple[dict[UUID, set[int]], set[UUID]]:
    """Say which steps to read: some of a run's, or all of them."""
    selected: dict[UUID, set[int]] = {}
    whole: set[UUID] = set()
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, Claimed) and not fact.reclaimed:
            selected.setdefault(entry.run_id, set()).add(fact.step)
        elif isinstance(fact, Settled) and entry.plan is not None and _alone(fact, entry.plan):
            numbers = selected.setdefault(entry.run_id, set())
            numbers.add(fact.step)
            numbers.update(edge.step for edge in entry.plan.steps[fact.step].successors)
        else:
            whole.add(entry.run_id)
    for run_id in whole:
        selected.pop(run_id, None)
    return selected, whole


def _alone(fact: Settled, plan: Plan) -> bool:
    return isinstance(fact.outcome, Completed) and plan.resolves_alone(fact.step)


def _granted(answer: Answer) -> StepState | None:
    if isinstance(answer, Granted):
        return answer.step
    return answer.next if isinstance(answer, Accepted) else None


def _alarm(turn: Turn) -> bool:
    return turn.wake_at != turn.before.wake_at
