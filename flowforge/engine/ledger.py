"""The one way in which a run changes: know what a batch of facts needs, decide, write.

    remember or read → decide (pure) → write runs, steps, events, outbox, where no run has changed meanwhile
                                     → admit whoever waited at a gate that got room → commit

Facts of many runs share a transaction (group commit), and its parts are one round trip each, whatever the size of
the batch. Nothing is locked before it is decided: a run that somebody else changed in between is left out of what is
written, and its facts are decided again under its lock, as are those that need to see the whole run. Where one
worker carries a run, that spares two of three round trips; a run that several change is remembered as contested, and
its facts take the lock at once. A repeated fact is harmless, because claims and settlements are fenced by dispatch
number and token; that is what makes it safe to repeat a transaction whose commit was not confirmed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import TypeAlias
from uuid import UUID

from flowforge.engine import persisting
from flowforge.engine.batch import Batch
from flowforge.engine.context import ContextLoader
from flowforge.engine.entries import Applied, Consequences, Entry
from flowforge.engine.plans import Plans
from flowforge.engine.recent import Memory, Recent
from flowforge.engine.tracing import OFF, Tracer
from flowforge.model.facts import Accepted, Admitted, Answer, Granted
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus
from flowforge.model.turn import Terms
from flowforge.steps.base import Assignment
from flowforge.store import gates
from flowforge.store.clock import Clock
from flowforge.store.database import TIMING, Connection, Database, unavailable

#: What was committed, the entries first, and the answers by the entry's place.
Outcome: TypeAlias = "tuple[list[Batch], dict[int, Applied]]"

#: Whole transactions are tried again this often when Postgres says that only the timing was wrong.
TRIES = 8


class Ledger:
    """Applies facts to runs, over one pool of connections."""

    def __init__(self, database: Database, plans: Plans, terms: Terms | None = None, tracer: Tracer = OFF) -> None:
        self._database = database
        self._plans = plans
        self._tracer = tracer
        self._terms = terms or Terms()
        self._recent = Recent()
        #: What is known of the server's clock.
        self.clock = Clock()

    async def apply(self, entries: Sequence[Entry]) -> tuple[list[Applied], Consequences]:
        """Apply entries and commit; answers are in the order of the entries.

        A psycopg.Error says that Postgres refuses a row of the batch, DatabaseUnavailable that it cannot be asked.
        Either way some of the entries may have been committed: offer them again, marked as repeated.
        """
        applied: dict[int, Applied] = {}
        consequences = Consequences()
        waiting = list(range(len(entries)))
        for way in (self._quickly, self._thoroughly):
            if not waiting:
                break
            offered = [entries[index] for index in waiting]
            try:
                batches, answers = await _patiently(way, offered)
            except BaseException:
                # Nobody knows what of it is written.
                for entry in offered:
                    self._recent.forget(entry.run_id)
                raise
            self._conclude(batches, consequences)
            for no, answer in answers.items():
                applied[waiting[no]] = answer
            waiting = [index for no, index in enumerate(waiting) if no not in answers]
        return [applied[index] for index in range(len(entries))], consequences

    async def _quickly(self, entries: Sequence[Entry]) -> Outcome:
        """Decide without locks; what that does not suffice for stays without an answer."""
        async with self._database.connection() as connection:
            batch = Batch(entries, self._plans, self._terms)
            await batch.decide(connection, await batch.look(connection, self._recent, self.clock))
            batches = [batch]
            # A single statement is a transaction of its own.
            alone = not (batch.frees_gates or batch.writes_logs)
            async with nullcontext() if alone else connection.transaction():
                await self._write(connection, batch)
                if not alone:
                    batches += await self._release(connection, batch)
            return batches, await _applied(connection, batch)

    async def _thoroughly(self, entries: Sequence[Entry]) -> Outcome:
        """Decide under the runs' locks."""
        async with self._database.connection() as connection:
            async with connection.transaction():
                batch = await self._locked(connection, entries)
                batches = [batch, *await self._release(connection, batch)]
            return batches, await _applied(connection, batch)

    async def _locked(self, connection: Connection, entries: Sequence[Entry]) -> Batch:
        batch = Batch(entries, self._plans, self._terms)
        await batch.lock(connection)
        await batch.decide(connection, batch.cases)
        await batch.decide(connection, await batch.load_whole(connection))
        await self._write(connection, batch)
        return batch

    async def _write(self, connection: Connection, batch: Batch) -> None:
        now = await persisting.write(connection, batch)
        if now is not None:
            self.clock.see(now)
        if batch.writes_logs:
            await persisting.write_logs(connection, batch)

    async def _release(self, connection: Connection, batch: Batch) -> list[Batch]:
        """Give the room that ended runs leave at their gates to those who wait there; also to a retried run."""
        freed: set[int] = set()
        ungated: list[UUID] = []
        for case in batch.cases:
            if case.moved and case.memory is not None and case.turn is not None:
                gate_id = case.memory.row.gate_id
                if gate_id is not None:
                    freed.add(gate_id)
                elif case.turn.status is RunStatus.PENDING:
                    ungated.append(case.run_id)
        admitted = await self._admit_freed(connection, sorted(freed))
        return admitted + await self._admit_runs(connection, ungated)

    async def admit(self, connection: Connection, gate_ids: Sequence[int], consequences: Consequences) -> int:
        """Admit as many waiting runs as gates have room for, in the caller's transaction; return how many."""
        batches = await self._admit_freed(connection, sorted(gate_ids))
        self._conclude(batches, consequences)
        return sum(len(batch.cases) for batch in batches)

    async def _admit_freed(self, connection: Connection, gate_ids: Sequence[int]) -> list[Batch]:
        if not gate_ids:
            return []
        await gates.lock(connection, gate_ids)
        return await self._admit_runs(connection, await gates.admissible(connection, gate_ids))

    async def _admit_runs(self, connection: Connection, run_ids: Sequence[UUID]) -> list[Batch]:
        return [await self._locked(connection, [Entry(run_id, Admitted()) for run_id in run_ids])] if run_ids else []

    def _conclude(self, batches: Iterable[Batch], consequences: Consequences) -> None:
        for batch in batches:
            persisting.conclude(batch.cases, consequences, self._recent, traced=self._tracer.on)


async def _patiently(way: Callable[[Sequence[Entry]], Awaitable[Outcome]], entries: Sequence[Entry]) -> Outcome:
    """Try a whole transaction again while Postgres says that only the timing was wrong."""
    for attempt in range(TRIES):
        try:
            return await way(entries)
        except TIMING as error:
            if attempt == TRIES - 1:
                # Nothing is wrong with the facts: whoever offers them tries again later.
                raise unavailable(error) from error
            await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - jitter
    raise AssertionError  # pragma: no cover - the loop returns or raises


async def _applied(connection: Connection, batch: Batch) -> dict[int, Applied]:
    """Join answers with the assignments they give; by the entry's place in the batch."""
    loader = ContextLoader()
    applied: dict[int, Applied] = {}
    granted: list[tuple[int, Answer, Memory, StepState]] = []
    for case in batch.cases:
        for index, answer in zip(case.indexes, case.answers or (), strict=False):
            step = _granted(answer)
            if step is None or case.memory is None:
                applied[index] = Applied(answer)
            else:
                loader.want(case.memory, step.no)
                granted.append((index, answer, case.memory, step))
    await loader.load(connection)
    for index, answer, memory, step in granted:
        applied[index] = _assigned(loader, answer, memory, step)
    return applied


def _granted(answer: Answer) -> StepState | None:
    if isinstance(answer, Granted):
        return answer.step
    return answer.next if isinstance(answer, Accepted) else None


def _assigned(loader: ContextLoader, answer: Answer, memory: Memory, step: StepState) -> Applied:
    plan = memory.version.plan
    assert step.started_at is not None
    assignment = Assignment(
        memory.row.id,
        plan.name,
        memory.version.version,
        plan.steps[step.no],
        step.attempt,
        step.token,
        loader.context(memory, step),
        step.started_at,
        memory.row.traceparent,
    )
    return Applied(answer, assignment, plan, step.dispatch_no)
