"""The runs of one transaction: as far known as their facts need, and decided.

Facts are decided on what is remembered of a run, on what is read without a lock, or on what is read under it: each
way knows more and costs more. A decision that reaches beyond what is known is made again on the whole run; deciding
is pure, so that costs nothing but the reading.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from flowforge.engine import finishing
from flowforge.engine.chaining import Chain, Inline
from flowforge.engine.entries import Entry
from flowforge.engine.plans import PlannedVersion, Plans
from flowforge.engine.recent import Memory, Recent
from flowforge.errors import FlowforgeError
from flowforge.model.decide import decide
from flowforge.model.facts import Answer, Claimed, Fact, Refusal, Refused, Settled
from flowforge.model.plan import Plan
from flowforge.model.state import RunState, StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.turn import NeedsWholeRun, Terms, Turn
from flowforge.store import gates, runs, signals, steps
from flowforge.store.clock import Clock
from flowforge.store.database import Connection

log = logging.getLogger(__name__)

#: The type of steps that start runs.
CHILD = "workflow"
#: A token that nobody has.
NO_TOKEN = -1
_GIVEN_UP = frozenset({StepStatus.CANCELLED, StepStatus.FAILED, StepStatus.SKIPPED})


class Case:
    """One run of a batch, with the facts about it and what was decided."""

    __slots__ = ("answers", "entries", "indexes", "memory", "recalled", "run_id", "turn", "unreadable")

    def __init__(self, run_id: UUID) -> None:
        self.run_id = run_id
        self.entries: list[Entry] = []
        #: Places of the entries in the batch.
        self.indexes: list[int] = []
        #: What is known of the run beside its state: the shared memory for a recalled run, a new one otherwise.
        self.memory: Memory | None = None
        self.turn: Turn | None = None
        #: The state was remembered, and not read.
        self.recalled = False
        #: There is a run, but this release cannot read its definition.
        self.unreadable = False
        #: One for each entry; None while the run has to be decided again, under its lock.
        self.answers: Sequence[Answer] | None = None

    @property
    def abandoned(self) -> list[int]:
        """The steps that started a run each and do not want it any more."""
        turn = self.turn
        if turn is None:
            return []
        steps = turn.plan.steps
        return [
            no
            for no in turn.changed
            if steps[no].type == CHILD and turn.steps[no].status in _GIVEN_UP and turn.steps[no].attempt > 0
        ]

    def decide(self, chain: Chain | None = None) -> bool:
        """Apply the facts in order, and go on with what only computes; say whether enough is known of the run."""
        if self.turn is None:
            refused = Refused(Refusal.UNREADABLE if self.unreadable else Refusal.UNKNOWN)
            self.answers = [refused] * len(self.entries)
            return True
        try:
            facts = [_fact(entry, self.turn.plan) for entry in self.entries]
            answers = decide(self.turn, facts)
            if self.recalled:
                for answer in answers:
                    # A memory may be out of date, and then it must not refuse anything.
                    if isinstance(answer, Refused):
                        return False
            if chain is not None and self.memory is not None:
                turn, memory = self.turn, self.memory
                answers = [chain.follow(turn, memory, *each) for each in zip(facts, answers, strict=True)]
        except NeedsWholeRun:
            if self.memory is not None:
                self.memory.forget_outputs()
            return False
        self.answers = answers
        return True

    @property
    def changed(self) -> bool:
        """Whether anything was decided that has to be written."""
        return self.answers is not None and self.turn is not None and self.turn.touches

    @property
    def frees(self) -> int | None:
        """The gate at which the run makes room, or waits, from now on."""
        turn, memory = self.turn, self.memory
        if turn is None or memory is None or turn.status is turn.before.status or turn.status is RunStatus.RUNNING:
            return None
        return memory.row.gate_id

    @property
    def waits_for_nothing(self) -> bool:
        """Whether the run has to be admitted, and no gate says when."""
        turn, memory = self.turn, self.memory
        return turn is not None and turn.status is RunStatus.PENDING and memory is not None and not memory.row.gate_id


class Batch:
    """The cases that entries make, in order of appearance."""

    def __init__(self, entries: Sequence[Entry], plans: Plans, terms: Terms, inline: Inline | None = None) -> None:
        self._plans, self._terms = plans, terms
        self._chain = None if inline is None else Chain(inline)
        # By number, and not by UUID, whose hash is a function written in Python.
        self._by_id: dict[int, Case] = {}
        for index, entry in enumerate(entries):
            number = entry.run_id.int
            case = self._by_id.get(number)
            if case is None:
                case = self._by_id[number] = Case(entry.run_id)
            case.entries.append(entry)
            case.indexes.append(index)
        self.cases = list(self._by_id.values())
        #: Whether attempts wrote something that is stored with their outcome.
        self.writes_logs = any(entry.log is not None for entry in entries)

    def case(self, run_id: UUID) -> Case:
        """Return the case of a run."""
        return self._by_id[run_id.int]

    # -- knowing -------------------------------------------------------------------------------------------

    async def look(self, connection: Connection, recent: Recent, clock: Clock) -> list[Case]:
        """Take what is remembered, and read the rest without a lock; return the cases that do not need one."""
        wanted: list[tuple[UUID, int]] = []
        read: list[Case] = []
        recalled: list[tuple[Case, Memory, RunState, frozenset[int]]] = []
        for case in self.cases:
            numbers = needed(case.entries)
            memory = recent.get(case.run_id)
            if numbers is None or (memory is not None and memory.contested):
                continue
            state = None if memory is None else memory.state
            if memory is not None and state is not None and (extra := state.knows(numbers)) is not None:
                recalled.append((case, memory, state, extra))
            else:
                wanted += [(case.run_id, no) for no in numbers]
                read.append(case)
        if wanted:
            await self._read(connection, wanted, clock)
        if recalled:
            now = clock.now() or await _see(connection, clock)
            for case, memory, state, extra in recalled:
                case.memory, case.recalled = memory, True
                case.turn = Turn(state, max(now, memory.at), self._terms, extra)
                read.append(case)
        return read

    async def _read(self, connection: Connection, wanted: Sequence[tuple[UUID, int]], clock: Clock) -> None:
        asked = clock.asks()
        seen = await runs.look(connection, wanted)
        if seen.now is None:
            return
        clock.see(seen.now, asked)
        loaded = _by_run(wanted)
        for run_id, row in seen.rows.items():
            case = self.case(run_id)
            await self._know(connection, case, row, seen.steps[run_id], frozenset(loaded[run_id]), seen.now)
            if case.memory is not None:
                case.memory.input = seen.inputs.get(run_id)

    async def lock(self, connection: Connection) -> None:
        """Lock the runs in the caller's transaction, and read what the facts need of their steps."""
        selected: list[tuple[UUID, int]] = []
        whole: list[UUID] = []
        for case in self.cases:
            numbers = needed(case.entries)
            if numbers is None:
                whole.append(case.run_id)
            else:
                selected += [(case.run_id, no) for no in numbers]
        rows, now = await runs.lock(connection, [case.run_id for case in self.cases])
        if now is None:
            return
        found: dict[UUID, dict[int, StepState]] = {row.id: {} for row in rows}
        if selected:
            _sort(await steps.select(connection, selected), found)
        if whole:
            _sort(await steps.select_whole(connection, whole), found)
        loaded = _by_run(selected)
        for row in rows:
            known = frozenset(loaded[row.id]) if row.id in loaded else None
            await self._know(connection, self.case(row.id), row, found[row.id], known, now)
        await self._hear(connection, [self.case(run_id) for run_id in whole])

    async def take(self, connection: Connection, waiting: Sequence[gates.Waiter], now: datetime) -> None:
        """Take runs that are locked already and wait for their admission; they have steps only if they were retried."""
        ahead = [row.id for row, _ in waiting if row.rows_ahead]
        found: dict[UUID, dict[int, StepState]] = {row.id: {} for row, _ in waiting}
        if ahead:
            _sort(await steps.select_whole(connection, ahead), found)
        for row, text in waiting:
            case = self.case(row.id)
            await self._know(connection, case, row, found[row.id], None, now)
            if case.memory is not None:
                case.memory.input = text
        await self._hear(connection, [self.case(run_id) for run_id in ahead])

    async def _know(
        self,
        connection: Connection,
        case: Case,
        row: runs.RunRow,
        found: dict[int, StepState],
        loaded: frozenset[int] | None,
        now: datetime,
    ) -> None:
        version = self._plans.known(row.version_id) or await self._version(connection, row)
        case.unreadable = version is None
        if version is not None:
            case.memory = Memory(row, version, now)
            case.turn = Turn(row.state(version.plan, found, loaded), now, self._terms)

    async def _version(self, connection: Connection, row: runs.RunRow) -> PlannedVersion | None:
        """Return a run's version, None for one that this release cannot read: others must go on."""
        try:
            return await self._plans.get(connection, row.version_id)
        except FlowforgeError as error:
            log.warning("run %s waits for a release that can read version %d: %s", row.id, row.version_id, error)
            return None

    # -- deciding ------------------------------------------------------------------------------------------

    async def decide(self, connection: Connection, cases: Iterable[Case]) -> None:
        """Decide cases, and complete the runs that have nothing left to do."""
        ending = {
            id(turn): case for case in cases if case.decide(self._chain) and (turn := case.turn) and turn.awaits_output
        }
        turns = [case.turn for case in ending.values() if case.turn is not None]
        for turn in await finishing.finish(connection, turns):
            ending[id(turn)].answers = None

    async def load_whole(self, connection: Connection) -> list[Case]:
        """Read all steps of the locked runs that are not decided yet; return their cases."""
        cases = [case for case in self.cases if case.answers is None]
        found: dict[UUID, dict[int, StepState]] = {case.run_id: {} for case in cases}
        if cases:
            _sort(await steps.select_whole(connection, list(found)), found)
        for case in cases:
            assert case.turn is not None
            before = case.turn.before._replace(steps=found[case.run_id], loaded=None)
            case.turn = Turn(before, case.turn.now, self._terms)
        await self._hear(connection, cases)
        return cases

    async def _hear(self, connection: Connection, cases: Iterable[Case]) -> None:
        """Read what has come for whole runs from outside, those that can use it."""
        listening = {case.run_id: case.turn for case in cases if case.turn is not None and case.turn.plan.listens}
        if listening:
            for run_id, found in (await signals.of_runs(connection, list(listening))).items():
                turn = listening[run_id]
                turn.before = turn.before._replace(signals=found)


def _fact(entry: Entry, plan: Plan) -> Fact:
    """Return a fact as it counts: an attempt of before the run was moved to another version settles nothing."""
    fact = entry.fact
    if entry.plan is None or entry.plan is plan or entry.plan.digest == plan.digest or not isinstance(fact, Settled):
        return fact
    return replace(fact, token=NO_TOKEN)


def needed(entries: Sequence[Entry]) -> AbstractSet[int] | None:
    """Say which steps of a run have to be known to decide about entries; None: all of them, under the run's lock."""
    if len(entries) == 1:
        return _needed(entries[0])
    numbers: set[int] = set()
    for entry in entries:
        more = _needed(entry)
        if more is None:
            return None
        numbers |= more
    return numbers


def _needed(entry: Entry) -> AbstractSet[int] | None:
    fact, plan = entry.fact, entry.plan
    if isinstance(fact, Settled):
        return plan.steps[fact.step].touches if plan is not None and plan.has(fact.step) else None
    return {fact.step} if isinstance(fact, Claimed) and not fact.reclaimed else None


def _by_run(keys: Iterable[tuple[UUID, int]]) -> dict[UUID, set[int]]:
    grouped: dict[UUID, set[int]] = {}
    for run_id, no in keys:
        grouped.setdefault(run_id, set()).add(no)
    return grouped


def _sort(rows: Iterable[Any], found: dict[UUID, dict[int, StepState]]) -> None:
    """Put steps, as read behind their run's id, to the runs they belong to."""
    for run_id, *columns in rows:
        if run_id in found:
            found[run_id][columns[0]] = steps.state(columns)


async def _see(connection: Connection, clock: Clock) -> datetime:
    asked = clock.asks()
    now = await runs.clock(connection)
    clock.see(now, asked)
    return now
