"""Asking the same of many runs: chosen and planned in sets, carried out in sets, at a rate, with an answer for each.

A batch of requests is one transaction, decided run by run under the same rules as a single one, so a run that refuses
keeps no other from its answer. Invariant: a plan does nothing twice. Each request names its plan in the run's history,
and a replay has the plan in its idempotency key; whoever was interrupted carries the plan out again.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flowforge.client import replaying
from flowforge.engine.engine import Engine
from flowforge.engine.entries import Applied, Entry
from flowforge.engine.starting import Start, Started, uuid7
from flowforge.errors import FlowforgeError, NotFound
from flowforge.model.bulk import MEANT, Outcome, Plan, Result, Target, Verb, refusal
from flowforge.model.documents import Run, RunFilter
from flowforge.model.drift import Care, Expected, Seen
from flowforge.model.facts import (
    Answer,
    CancelRequested,
    Drifted,
    PauseRequested,
    Provided,
    Refused,
    Rejected,
    Request,
    ResumeRequested,
    RetryRequested,
)
from flowforge.store import outlines

#: Runs that are asked in one transaction, and that are read at once.
TOGETHER, READ = 200, 1_000

Note = Callable[[Sequence[Outcome]], None]


@dataclass(frozen=True, slots=True)
class Manner:
    """How a plan is carried out."""

    #: Runs a second; None: as fast as it goes.
    rate: float | None = None
    #: Which changes since the plan was made keep a run from being asked.
    care: Care = Care.KIND
    #: Runs that are known to be done.
    done: frozenset[UUID] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class _Able:
    """A run that is about to be asked."""

    id: UUID
    #: Id of the row of its version.
    version: int
    expected: Expected


class Bulk(ABC):
    """How a client asks many runs; a part of it."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """What it works with."""

    @abstractmethod
    def actor(self) -> str:
        """Who is acting, for the record."""

    @abstractmethod
    async def resolve(self, reference: str | UUID) -> UUID:
        """Return the id of the run that a reference means."""

    @abstractmethod
    def every(self, wanted: RunFilter) -> AsyncIterator[tuple[UUID, ...]]:
        """Yield the ids of all runs that a filter matches."""

    @abstractmethod
    async def ask_many(self, entries: Sequence[Entry]) -> list[Applied]:
        """Apply operators' facts in one transaction; answers are in order."""

    @abstractmethod
    async def start_many(self, starts: Sequence[Start]) -> list[Started]:
        """Commit several runs in one transaction."""

    @abstractmethod
    async def move(self, run_id: UUID, to_version: int, from_step: str | None) -> None:
        """Give a run that has ended another version of its workflow."""

    # -- planning ------------------------------------------------------------------------------------------

    async def plan(
        self,
        verb: Verb,
        chosen: RunFilter | Sequence[str | UUID],
        *,
        limit: int | None = None,
        options: Mapping[str, Any] | None = None,
        chosen_by: str | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Plan:
        """Say of which runs something would be asked, and how they stand; nothing is changed.

        A filter that names no status means the runs of which the verb makes a difference to.
        """
        targets: list[Target] = []
        async for ids in self._chosen(verb, chosen):
            wanted = ids if limit is None else ids[: limit - len(targets)]
            targets += await self._outlines(verb, wanted)
            progress(len(targets))
            if limit is not None and len(targets) >= limit:
                break
        given = {name: value for name, value in (options or {}).items() if value not in (None, False, {})}
        among = frozenset(chosen.statuses if isinstance(chosen, RunFilter) else ())
        return Plan(uuid7(), verb, tuple(targets), datetime.now(UTC), self.actor(), given, chosen_by, among)

    async def _chosen(self, verb: Verb, chosen: RunFilter | Sequence[str | UUID]) -> AsyncIterator[tuple[UUID, ...]]:
        if isinstance(chosen, RunFilter):
            wanted = chosen if chosen.statuses else replace(chosen, statuses=MEANT[verb])
            async for ids in self.every(wanted):
                yield ids
            return
        ids = tuple(dict.fromkeys([_whole(one) or await self.resolve(one) for one in chosen]))
        for start in range(0, len(ids), READ):
            yield ids[start : start + READ]

    async def _outlines(self, verb: Verb, ids: Sequence[UUID]) -> list[Target]:
        async with self.engine.database.connection() as connection:
            found = await outlines.read(connection, ids)
            missing = next((run_id for run_id in ids if run_id not in found), None)
            if missing is not None:
                raise NotFound(f"there is no run {missing}", hint="flowforge ps lists runs")
            undoes: dict[UUID, int] = {}
            if verb is Verb.CANCEL:
                plans = {
                    no: (await self.engine.plans.get(connection, no)).plan for no in {v for _, v in found.values()}
                }
                undoing = [run_id for run_id, (_, version) in found.items() if plans[version].compensates_on_cancel]
                for run_id, no in await outlines.completed_steps(connection, undoing) if undoing else ():
                    plan = plans[found[run_id][1]]
                    undoes[run_id] = undoes.get(run_id, 0) + (plan.steps[no].compensation is not None)
        return [replace(found[run_id][0], undoes=undoes.get(run_id, 0)) for run_id in ids]

    # -- carrying out --------------------------------------------------------------------------------------

    async def carry_out(
        self, plan: Plan, manner: Manner | None = None, *, note: Note = lambda _: None
    ) -> list[Outcome]:
        """Do what a plan says, run by run in its order; *note* is told what became of each batch.

        It may be interrupted at any time, and carried out again.
        """
        manner = manner or Manner()
        left = [target for target in plan.targets if target.id not in manner.done]
        size = TOGETHER if manner.rate is None else max(1, min(TOGETHER, int(manner.rate)))
        outcomes = [Outcome(run_id, Result.EARLIER) for run_id in manner.done]
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for start in range(0, len(left), size):
            if manner.rate is not None:
                await asyncio.sleep(begun + start / manner.rate - loop.time())
            made = await self._batch(plan, left[start : start + size], manner.care)
            outcomes += made
            note(made)
        return outcomes

    async def _batch(self, plan: Plan, targets: Sequence[Target], care: Care) -> list[Outcome]:
        """Look at some runs again, and ask those that stand as they should; that is looked at once more under lock."""
        ids = [target.id for target in targets]
        async with self.engine.database.connection() as connection:
            now = await outlines.read(connection, ids)
            touched = await outlines.touched_by(connection, ids, plan.id) if care is Care.EXACT else set()
        answers: dict[UUID, Outcome] = {}
        able: list[_Able] = []
        for target in targets:
            found = now.get(target.id)
            outcome = _before(plan, target, found and found[0], touched, care)
            if outcome is None and found is not None:
                able.append(_Able(target.id, found[1], plan.expects(target, care)))
            elif outcome is not None:
                answers[target.id] = outcome
        if able:
            made = await (self._replays if plan.verb is Verb.REPLAY else self._requests)(plan, able)
            answers |= {outcome.run: outcome for outcome in made}
        return [answers[run_id] for run_id in ids]

    async def _requests(self, plan: Plan, able: Sequence[_Able]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        entries: list[Entry] = []
        paused: Mapping[UUID, datetime] = {}
        if plan.verb is Verb.RESUME:
            async with self.engine.database.connection() as connection:
                paused = await outlines.paused_at(connection, [one.id for one in able])
        for one in able:
            try:
                request = await self._request(plan, one, paused.get(one.id))
            except FlowforgeError as error:
                outcomes.append(Outcome(one.id, Result.REFUSED, error.message))
            else:
                entries.append(Entry(one.id, Provided(request, one.expected)))
        applied = await self.ask_many(entries) if entries else []
        answered = (_after(entry.run_id, made.answer) for entry, made in zip(entries, applied, strict=True))
        return [*outcomes, *answered]

    async def _request(self, plan: Plan, one: _Able, paused_at: datetime | None) -> Request:
        actor, reason = self.actor(), plan.reason
        match plan.verb:
            case Verb.CANCEL:
                return CancelRequested(actor, reason, bool(plan.options.get("force")))
            case Verb.PAUSE:
                return PauseRequested(actor, reason)
            case Verb.RESUME:
                return ResumeRequested(actor, reason, paused_at)
            case _:
                return await self._retry(plan, one.id, one.version)

    async def _retry(self, plan: Plan, run_id: UUID, version: int) -> RetryRequested:
        to_version, from_step = plan.options.get("to_version"), plan.options.get("from_step")
        if to_version is not None:
            await self.move(run_id, to_version, from_step)
        number = None
        if from_step is not None:
            async with self.engine.database.connection() as connection:
                if to_version is not None:
                    version = (await outlines.read(connection, [run_id]))[run_id][1]
                number = (await self.engine.plans.get(connection, version)).plan.find(from_step)
            if number is None:
                raise NotFound(f"run {run_id} has no step '{from_step}'")
        return RetryRequested(self.actor(), plan.reason, number, to_version)

    async def _replays(self, plan: Plan, able: Sequence[_Able]) -> list[Outcome]:
        options = plan.options
        wanted = replaying.Wanted(options.get("from_step"), options.get("changes") or {}, options.get("version"))
        ids = [one.id for one in able]
        async with self.engine.database.connection() as connection:
            asked = replace(wanted, actor=self.actor(), reason=plan.reason)
            prepared = await replaying.prepare_many(self.engine, connection, ids, asked)
        outcomes: list[Outcome] = []
        starts: list[Start] = []
        for one, made in zip(able, prepared, strict=True):
            if isinstance(made, FlowforgeError):
                outcomes.append(Outcome(one.id, Result.REFUSED, made.message))
            elif (drift := one.expected.drift(_seen(made.run))) is not None:
                outcomes.append(Outcome(one.id, Result.CHANGED, drift))
            else:
                made.start.idempotency_key = f"{plan.id}/{one.id}"
                starts.append(made.start)
        for start, started in zip(starts, await self.start_many(starts) if starts else (), strict=True):
            assert start.replay_of is not None
            result = Result.EARLIER if started.duplicate else Result.DONE
            outcomes.append(Outcome(start.replay_of, result, started=started.id))
        return outcomes


def _whole(reference: str | UUID) -> UUID | None:
    """Return the id that is written in full."""
    if isinstance(reference, UUID):
        return reference
    try:
        return UUID(reference.strip())
    except ValueError:
        return None


def _before(plan: Plan, target: Target, now: Target | None, touched: set[UUID], care: Care) -> Outcome | None:
    """Return what is known of a run without asking it; None when it is to be asked."""
    if now is None:
        return Outcome(target.id, Result.REFUSED, "there is no such run")
    if target.id in touched:
        return Outcome(target.id, Result.EARLIER)
    if (drift := plan.expects(target, care).drift(now.seen)) is not None:
        return Outcome(target.id, Result.CHANGED, drift)
    why = refusal(plan.verb, now.status)
    return None if why is None else Outcome(target.id, Result.REFUSED, f"the run is {now.status.value}: {why}")


def _seen(run: Run) -> Seen:
    return Seen(run.status, run.seq, run.finished_at)


def _after(run_id: UUID, answer: Answer) -> Outcome:
    match answer:
        case Rejected():
            return Outcome(run_id, Result.REFUSED, answer.message)
        case Drifted():
            return Outcome(run_id, Result.CHANGED, answer.message)
        case Refused():
            return Outcome(run_id, Result.REFUSED, f"the run cannot be changed ({answer.why.value})")
        case _:
            return Outcome(run_id, Result.DONE)
