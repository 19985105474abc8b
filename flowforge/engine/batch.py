"""The runs of one transaction: locked, read as far as their facts need, and decided.

A decision that reaches beyond what was read is made again on the whole run; deciding is pure, so that costs nothing
but the reading.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from flowforge.engine import finishing
from flowforge.engine.entries import Entry
from flowforge.engine.plans import PlannedVersion, Plans
from flowforge.errors import FlowforgeError
from flowforge.model.decide import decide
from flowforge.model.facts import Answer, Claimed, Refusal, Refused, Settled
from flowforge.model.outcome import Completed
from flowforge.model.plan import Plan
from flowforge.model.state import StepState
from flowforge.model.turn import NeedsWholeRun, Terms, Turn
from flowforge.store import runs, steps
from flowforge.store.database import Connection

log = logging.getLogger(__name__)


class Batch:
    """Entries, the runs they are about, and what was decided."""

    def __init__(self, entries: Sequence[Entry], plans: Plans, terms: Terms) -> None:
        self.entries = entries
        self._plans, self._terms = plans, terms
        self.rows: dict[UUID, runs.LockedRun] = {}
        self.versions: dict[UUID, PlannedVersion] = {}
        self.turns: dict[UUID, Turn] = {}
        #: By the entry's index.
        self.answers: dict[int, Answer] = {}

    async def load(self, connection: Connection) -> None:
        """Lock the runs and read those of their steps that the facts are about, in one round trip."""
        selected, whole = needs(self.entries)
        locking = await runs.lock(connection, list({entry.run_id for entry in self.entries}))
        reading = []
        if selected:
            keys = [(run_id, no) for run_id, numbers in selected.items() for no in numbers]
            reading.append(await steps.select(connection, keys))
        if whole:
            reading.append(await steps.select_whole(connection, list(whole)))
        clock = await connection.cursor(binary=True).execute(runs.CLOCK)
        self.rows = {row[0]: runs.locked(row) for row in await locking.fetchall()}
        found: dict[UUID, dict[int, StepState]] = {run_id: {} for run_id in self.rows}
        for cursor in reading:
            for row in await cursor.fetchall():
                run_id, state = steps.state(row)
                if run_id in found:
                    found[run_id][state.no] = state
        (now,) = await clock.fetchone() or (None,)
        for run_id, locked in self.rows.items():
            version = await self._version(connection, locked)
            if version is None:
                continue
            self.versions[run_id] = version
            loaded = None if run_id in whole else frozenset(selected[run_id])
            before = runs.state_of(locked, version.plan, found[run_id], loaded)
            self.turns[run_id] = Turn(before, now, self._terms)

    async def _version(self, connection: Connection, row: runs.LockedRun) -> PlannedVersion | None:
        """Return a run's version, None for one that this release cannot read: others must go on."""
        try:
            return await self._plans.get(connection, row.version_id)
        except FlowforgeError as error:
            log.warning("run %s waits for a release that can read version %d: %s", row.id, row.version_id, error)
            return None

    async def decide(self, connection: Connection) -> None:
        """Apply each run's facts in order, and complete the runs that have nothing left to do."""
        facts: dict[UUID, list[int]] = {}
        for index, entry in enumerate(self.entries):
            facts.setdefault(entry.run_id, []).append(index)
        further: list[UUID] = []
        for run_id, indexes in facts.items():
            if run_id not in self.turns:
                why = Refusal.UNREADABLE if run_id in self.rows else Refusal.UNKNOWN
                self.answers.update(dict.fromkeys(indexes, Refused(why)))
                continue
            try:
                self._decide(run_id, indexes)
            except NeedsWholeRun:
                further.append(run_id)
        if further:
            await self._load_whole(connection, further)
            for run_id in further:
                self._decide(run_id, facts[run_id])
        await finishing.finish(connection, [turn for turn in self.turns.values() if turn.awaits_output])

    def _decide(self, run_id: UUID, indexes: Sequence[int]) -> None:
        answers = decide(self.turns[run_id], [self.entries[index].fact for index in indexes])
        self.answers.update(zip(indexes, answers, strict=True))

    async def _load_whole(self, connection: Connection, run_ids: Sequence[UUID]) -> None:
        cursor = await steps.select_whole(connection, run_ids)
        found: dict[UUID, dict[int, StepState]] = {run_id: {} for run_id in run_ids}
        for row in await cursor.fetchall():
            run_id, state = steps.state(row)
            found[run_id][state.no] = state
        for run_id in run_ids:
            turn = self.turns[run_id]
            before = runs.state_of(self.rows[run_id], turn.plan, found[run_id], None)
            self.turns[run_id] = Turn(before, turn.now, self._terms)


def needs(entries: Sequence[Entry]) -> tuple[dict[UUID, set[int]], set[UUID]]:
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
