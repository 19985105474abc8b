"""The one way in which a run changes: load what a batch of facts needs, decide, persist, in one transaction.

    lock runs (id order) → read steps → decide (pure) → write steps, runs, events, outbox
                                                     → admit whoever waited at a gate that got room → commit

Facts of many runs share a transaction (group commit): reading and writing are one round trip each, whatever the
size of the batch. A repeated fact is harmless, because claims and settlements are fenced by dispatch number and token;
that is what makes it safe to repeat a transaction whose commit was not confirmed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from uuid import UUID

from flowforge.engine.batch import Batch
from flowforge.engine.context import ContextLoader
from flowforge.engine.entries import Applied, Consequences, Entry
from flowforge.engine.persisting import persist
from flowforge.engine.plans import Plans
from flowforge.engine.tracing import OFF, Tracer
from flowforge.model.facts import Accepted, Admitted, Answer, Granted
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus
from flowforge.model.turn import Terms
from flowforge.steps.base import Assignment
from flowforge.store import gates
from flowforge.store.database import TIMING, Connection, Database, unavailable

#: Whole transactions are tried again this often when Postgres says that only the timing was wrong.
TRIES = 8


class Ledger:
    """Applies facts to runs, over one pool of connections."""

    def __init__(self, database: Database, plans: Plans, terms: Terms | None = None, tracer: Tracer = OFF) -> None:
        self._database = database
        self._plans = plans
        self._tracer = tracer
        self._terms = terms or Terms()

    async def apply(self, entries: Sequence[Entry]) -> tuple[list[Applied], Consequences]:
        """Apply entries and commit; answers are in the order of the entries.

        A psycopg.Error says that Postgres refuses a row of the batch, and nothing of it is committed: offer the
        entries one by one. DatabaseUnavailable says that nobody knows: offer them again, marked as repeated.
        """
        if not entries:
            return [], Consequences()
        for attempt in range(TRIES):
            try:
                return await self._transact(entries)
            except TIMING as error:
                if attempt == TRIES - 1:
                    # Nothing is wrong with the facts: whoever offers them tries again later.
                    raise unavailable(error) from error
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - jitter
        raise AssertionError  # pragma: no cover - the loop returns or raises

    async def _transact(self, entries: Sequence[Entry]) -> tuple[list[Applied], Consequences]:
        consequences, loader = Consequences(), ContextLoader()
        async with self._database.connection() as connection:
            async with connection.pipeline(), connection.transaction():
                batch = await self._settle(connection, entries, consequences)
                await self._release(connection, batch, consequences)
                granted = {index: _granted(answer) for index, answer in batch.answers.items()}
                for index, step in granted.items():
                    if step is not None:
                        run_id = entries[index].run_id
                        loader.want(run_id, batch.versions[run_id].plan.steps[step.no])
                await loader.send(connection)
            await loader.receive()
        return [
            _applied(batch, loader, entry.run_id, batch.answers[index], granted[index])
            for index, entry in enumerate(entries)
        ], consequences

    async def _settle(self, connection: Connection, entries: Sequence[Entry], consequences: Consequences) -> Batch:
        """Load, decide and write entries, in the caller's transaction."""
        batch = Batch(entries, self._plans, self._terms)
        await batch.load(connection)
        await batch.decide(connection)
        await persist(connection, batch, consequences, traced=self._tracer.on)
        return batch

    async def _release(self, connection: Connection, batch: Batch, consequences: Consequences) -> None:
        """Give the room that ended runs leave at their gates to those who wait there; also to a retried run."""
        freed: set[int] = set()
        ungated: list[UUID] = []
        for run_id, turn in batch.turns.items():
            gate_id = batch.rows[run_id].gate_id
            if gate_id is not None and turn.status is not turn.before.status:
                freed.add(gate_id)
            elif gate_id is None and turn.status is RunStatus.PENDING:
                ungated.append(run_id)
        if freed:
            await self.admit(connection, sorted(freed), consequences)
        await self._admit_runs(connection, ungated, consequences)

    async def admit(self, connection: Connection, gate_ids: Sequence[int], consequences: Consequences) -> int:
        """Admit as many waiting runs as gates have room for, in the caller's transaction; return how many."""
        await gates.lock(connection, gate_ids)
        admissible = await gates.admissible(connection, gate_ids)
        await self._admit_runs(connection, admissible, consequences)
        return len(admissible)

    async def _admit_runs(self, connection: Connection, run_ids: Sequence[UUID], consequences: Consequences) -> None:
        if run_ids:
            await self._settle(connection, [Entry(run_id, Admitted()) for run_id in run_ids], consequences)


def _granted(answer: Answer) -> StepState | None:
    if isinstance(answer, Granted):
        return answer.step
    return answer.next if isinstance(answer, Accepted) else None


def _applied(batch: Batch, loader: ContextLoader, run_id: UUID, answer: Answer, step: StepState | None) -> Applied:
    """Join an answer with the assignment it gives."""
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
