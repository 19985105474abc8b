"""The one way in which a run changes: know what a batch of facts needs, decide, write.

    remember or read → decide (pure) → write runs, steps, events, outbox, where no run has changed meanwhile → commit
    gates that got room → lock, count, take who waits → decide (pure) → write → commit

Facts of many runs share a transaction (group commit), and its parts are one round trip each, whatever the size of
the batch. Nothing is locked before it is decided: a run that somebody else changed in between is left out of what is
written, and its facts are decided again under its lock, as are those that need to see the whole run. Where one
worker carries a run, that spares two of three round trips; a run that several change is remembered as contested, and
its facts take the lock at once. A repeated fact is harmless, because claims and settlements are fenced by dispatch
number and token; that is what makes it safe to repeat a transaction whose commit was not confirmed.

Room at a gate is given away in a transaction of its own, right after the one that made it: inside that one the gate's
lock would be held over a flush to disk, and a gate would let a few hundred runs a second through. Nobody counts room
but under the gate's lock and from the runs themselves, so it is never given twice; if a worker dies in between, the
sweeper finds who waits at a gate with room.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias
from uuid import UUID

import psycopg

from flowforge.engine import clock, persisting
from flowforge.engine.batch import CHILD, Batch, Case
from flowforge.engine.chaining import Inline, assigned, granted
from flowforge.engine.context import ContextLoader, ItemLists
from flowforge.engine.entries import Applied, Consequences, Entry
from flowforge.engine.plans import Plans
from flowforge.engine.recent import Recent
from flowforge.engine.tracing import OFF, Tracer
from flowforge.model.aside import IncidentKind
from flowforge.model.facts import Admitted, Answer, CancelRequested, Claimed, Taker, Woken
from flowforge.model.outcome import StepError
from flowforge.model.state import StepState
from flowforge.model.turn import Terms
from flowforge.store import gates, incidents, pauses, runs
from flowforge.store.clock import Clock
from flowforge.store.database import TIMING, Connection, Database, unavailable

#: What was committed, the entries first, and the answers by the entry's place.
Outcome: TypeAlias = "tuple[list[Batch], dict[int, Applied]]"

#: Whole transactions are tried again this often when Postgres says that only the timing was wrong.
TRIES = 8
#: Why a run is cancelled that a step had started.
NOT_WANTED = "the step that started it has ended"


@dataclass(slots=True)
class Hands:
    """A worker that begins with what a transaction makes ready, and the steps that it may have been given."""

    taker: Taker
    #: How many steps it has room for.
    room: int
    #: What it executes in the transaction that makes it ready.
    inline: Inline | None = None
    #: Claims of the steps, in case the answer is lost: (run, claim).
    given: list[tuple[UUID, Claimed]] = field(default_factory=list)
    #: Runs of the transaction.
    runs: int = 0

    def note(self, batch: Batch) -> None:
        """Remember what a batch that is about to be written gives."""
        taker, self.runs = self.taker, len(batch.cases)
        self.given = [
            (case.run_id, Claimed(step.no, step.dispatch_no, taker.worker, taker.lease, repeated=True))
            for case in batch.cases
            for answer in case.answers or ()
            if (step := granted(answer)) is not None
        ]


class Ledger:
    """Applies facts to runs, over one pool of connections."""

    def __init__(self, database: Database, plans: Plans, terms: Terms | None = None, tracer: Tracer = OFF) -> None:
        self._database = database
        self._plans = plans
        self._tracer = tracer
        self._terms = terms or Terms()
        self._recent = Recent()
        self._lists = ItemLists()
        #: What is known of the server's clock.
        self.clock = Clock()

    async def apply(
        self,
        entries: Sequence[Entry],
        *,
        admit: bool = True,
        inline: Inline | None = None,
        hands: Hands | None = None,
    ) -> tuple[list[Applied], Consequences]:
        """Apply entries and commit; answers are in the order of the entries.

        With *inline*, runs go on over the steps that only compute; spans of attempts want each of them apart.
        Room that was freed at gates is given to who waits there, unless the caller says that it will *admit* them
        itself. A psycopg.Error says that Postgres refuses a row of the batch, DatabaseUnavailable that it cannot be
        asked. Either way some of the entries may have been committed: offer them again, marked as repeated. What they
        may have given to the *hands* is noted there.
        """
        applied, consequences = await self._apply(entries, None if self._tracer.on else inline, hands)
        await self._pass_on(consequences)
        if admit and consequences.freed:
            await self.admit(consequences.freed, consequences)
        return applied, consequences

    async def _apply(
        self, entries: Sequence[Entry], inline: Inline | None = None, hands: Hands | None = None
    ) -> tuple[list[Applied], Consequences]:
        applied: dict[int, Applied] = {}
        consequences = Consequences()
        waiting = list(range(len(entries)))
        for way in (partial(self._quickly, inline), partial(self._thoroughly, hands=hands)):
            if not waiting:
                break
            offered = [entries[index] for index in waiting]
            try:
                batches, answers = await _patiently(partial(way, offered))
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

    async def _quickly(self, inline: Inline | None, entries: Sequence[Entry]) -> Outcome:
        """Decide without locks; what that does not suffice for stays without an answer."""
        asked = clock.now()
        async with self._database.connection() as connection:
            batch = Batch(entries, self._plans, self._terms, inline)
            await batch.decide(connection, await batch.look(connection, self._recent, self.clock))
            # A single statement is a transaction of its own.
            async with connection.transaction() if batch.writes_logs else nullcontext():
                await self._write(connection, batch)
            return [batch], await self._applied(connection, batch, asked)

    async def _thoroughly(self, entries: Sequence[Entry], hands: Hands | None = None) -> Outcome:
        """Decide under the runs' locks."""
        asked = clock.now()
        async with self._database.connection() as connection:
            async with connection.transaction():
                batch = Batch(entries, self._plans, self._terms)
                await batch.lock(connection)
                await self._settle(connection, batch, hands)
                batches = [batch, *await self._readmit(connection, batch)]
            return batches, await self._applied(connection, batch, asked)

    async def _settle(self, connection: Connection, batch: Batch, hands: Hands | None = None) -> None:
        """Decide about locked runs, and write."""
        await batch.decide(connection, batch.cases)
        await batch.decide(connection, await batch.load_whole(connection))
        if hands is not None:
            hands.note(batch)
        await self._write(connection, batch)

    async def _write(self, connection: Connection, batch: Batch) -> None:
        asked = self.clock.asks()
        now = await persisting.write(connection, batch)
        if now is not None:
            self.clock.see(now, asked)
        if batch.writes_logs:
            await persisting.write_logs(connection, batch)

    async def _readmit(self, connection: Connection, batch: Batch) -> list[Batch]:
        """Admit retried runs that no gate keeps waiting."""
        retried = [case.run_id for case in batch.cases if case.waits_for_nothing]
        if not retried:
            return []
        # Those whose workflow is held wait until it is let go.
        free = await pauses.free(connection, retried)
        if not free:
            return []
        again = Batch([Entry(run_id, Admitted()) for run_id in free], self._plans, self._terms)
        await again.lock(connection)
        await self._settle(connection, again)
        return [again]

    # -- gates ---------------------------------------------------------------------------------------------

    async def admit(
        self, gate_ids: Collection[int], consequences: Consequences, hands: Hands | None = None
    ) -> list[Applied]:
        """Admit as many waiting runs as gates have room for, and commit; return what the hands begin with."""

        async def way() -> Outcome:
            asked = clock.now()
            async with self._database.connection() as connection:
                async with connection.transaction():
                    batches = await self._admit(connection, gate_ids, hands)
                return batches, await self._applied(connection, batches[0], asked) if batches else {}

        batches, applied = await _patiently(way)
        self._conclude(batches, consequences)
        await self._pass_on(consequences)
        return [one for one in applied.values() if one.assignment is not None]

    async def admit_within(self, connection: Connection, gate_ids: Collection[int], consequences: Consequences) -> None:
        """Admit as many waiting runs as gates have room for, in the caller's transaction."""
        self._conclude(await self._admit(connection, gate_ids), consequences)

    async def _admit(
        self, connection: Connection, gate_ids: Collection[int], hands: Hands | None = None
    ) -> list[Batch]:
        await gates.lock(connection, sorted(gate_ids))
        waiting, now = await gates.admissible(connection, sorted(gate_ids))
        if now is None:
            return []
        room = 0 if hands is None else hands.room
        facts = [Admitted(None if hands is None or no >= room else hands.taker) for no in range(len(waiting))]
        entries = [Entry(one.row.id, fact) for one, fact in zip(waiting, facts, strict=True)]
        inline = None if hands is None or self._tracer.on else hands.inline
        batch = Batch(entries, self._plans, self._terms, inline)
        await batch.take(connection, waiting, now)
        await batch.decide(connection, batch.cases)
        if hands is not None:
            hands.note(batch)
        await self._write(connection, batch)
        return [batch]

    async def _applied(self, connection: Connection, batch: Batch, asked: float) -> dict[int, Applied]:
        """Join answers with the assignments they give; by the entry's place in the batch."""
        loader = ContextLoader(self._lists)
        applied: dict[int, Applied] = {}
        given: list[tuple[int, Answer, Case, StepState]] = []
        for case in batch.cases:
            for index, answer in zip(case.indexes, case.answers or (), strict=False):
                step = granted(answer)
                if step is None or case.memory is None:
                    applied[index] = Applied(answer)
                else:
                    loader.want(case.memory, step)
                    given.append((index, answer, case, step))
        await loader.load(connection)
        for index, answer, case, step in given:
            applied[index] = _assigned(loader, answer, case, step, asked)
        return applied

    async def refused(self, entry: Entry, error: psycopg.Error) -> None:
        """Open an incident about a fact that Postgres refuses because its rows would break an invariant."""
        if not isinstance(error, psycopg.IntegrityError):
            return
        fact, plan = entry.fact, entry.plan
        no = getattr(fact, "step", None)
        step = plan.steps[no].id if plan is not None and no is not None and plan.has(no) else None
        message = str(error).strip().partition("\n")[0]
        found = StepError(code="BROKEN_INVARIANT", message=f"Postgres refuses {type(fact).__name__}: {message}")
        async with self._database.connection() as connection:
            await incidents.open_one(
                connection, IncidentKind.BROKEN_INVARIANT, entry.run_id, step, found.document(step)
            )

    # -- runs of runs --------------------------------------------------------------------------------------

    async def _pass_on(self, consequences: Consequences) -> None:
        """Tell the steps that wait for runs that have ended, and cancel the runs that nobody waits for any more.

        Whoever dies before this leaves it to the sweeper, and to the step, which looks by itself now and then.
        """
        while consequences.parents or consequences.abandoned:
            parents, consequences.parents = consequences.parents, []
            abandoned, consequences.abandoned = consequences.abandoned, []
            entries = [Entry(run_id, Woken(no, CHILD)) for run_id, no in parents]
            if abandoned:
                async with self._database.connection() as connection:
                    orphans = await runs.started_by(connection, abandoned)
                entries += [Entry(run_id, CancelRequested("flowforge", NOT_WANTED)) for run_id in orphans]
            _, more = await self._apply(entries)
            consequences.add(more)

    def _conclude(self, batches: Iterable[Batch], consequences: Consequences) -> None:
        for batch in batches:
            persisting.conclude(batch.cases, consequences, self._recent, traced=self._tracer.on)


async def _patiently(way: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Try a whole transaction again while Postgres says that only the timing was wrong."""
    for attempt in range(TRIES):
        try:
            return await way()
        except TIMING as error:
            if attempt == TRIES - 1:
                # Nothing is wrong with the facts: whoever offers them tries again later.
                raise unavailable(error) from error
            await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - jitter
    raise AssertionError  # pragma: no cover - the loop returns or raises


def _assigned(loader: ContextLoader, answer: Answer, case: Case, step: StepState, asked: float) -> Applied:
    memory, turn = case.memory, case.turn
    assert memory is not None
    assert turn is not None
    assignment = assigned(loader, turn, memory, step)
    return Applied(answer, assignment, memory.version.plan, step.dispatch_no, asked)
