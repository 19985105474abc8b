"""Asking why: a run, or the whole installation, with everything that may explain it, read in one snapshot.

It works while Redis is down, and says so. What a run waits for that is a run itself is asked why in turn: the run that
a step has started, and the run that has been in a full gate for longest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flowforge.client.lanes import dead_letters, with_streams
from flowforge.engine.engine import Engine
from flowforge.errors import NotFound, UsageError
from flowforge.model.capsule import Capsule
from flowforge.model.circumstances import (
    OF_FAILURES,
    OF_RUN,
    OF_TIMEOUT,
    Busy,
    RunFacts,
    Standstill,
    StepGroup,
    Surroundings,
)
from flowforge.model.diagnostics import closest
from flowforge.model.endings import TIMEOUT
from flowforge.model.event import EventType
from flowforge.model.explaining import explain
from flowforge.model.explaining_all import explain_all
from flowforge.model.explaining_capsule import explain_capsule
from flowforge.model.explaining_ends import ENGINE
from flowforge.model.explanation import Cause, CauseKind, Explanation, Subject, Weight, command
from flowforge.model.plan import Plan, StepPlan
from flowforge.model.state import StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.store import circumstances, pauses, signals, standstill
from flowforge.store.circumstances import RunRow
from flowforge_streams.errors import StreamError

if TYPE_CHECKING:
    from flowforge.store.database import Connection

#: Runs that are explained on the way to one: within each other, and beside each other.
MAX_DEPTH, MAX_CHILDREN = 12, 5


class Explaining(ABC):
    """What can be asked about why; a part of the client."""

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """What it works with."""

    @abstractmethod
    async def resolve(self, reference: str | UUID) -> UUID:
        """Return the id of the run that a reference means."""

    @abstractmethod
    async def foreign(self, reference: str | UUID) -> Capsule | None:
        """Return the capsule of a run that is not this installation's own: a file's, or an imported one."""

    async def explain(self, reference: str | UUID | None = None, *, step: str | None = None) -> Explanation:
        """Say why a run, or one of its steps, does not move, or has ended as it has; without a run: what is stuck.

        A run may be another installation's, in a capsule's file or imported: then it is explained as it stood when it
        was exported. Works without Redis, and says so as a cause; DatabaseUnavailable without Postgres.
        """
        if reference is None:
            if step is not None:
                raise UsageError("a step is a step of a run: name the run as well")
            return await _installation(self.engine)
        foreign = await self.foreign(reference)
        if foreign is not None:
            return of_capsule(foreign, step)
        run_id = await self.resolve(reference)
        async with _snapshot(self.engine) as connection:
            return await _Asking(self.engine, connection).why(run_id, step)


def of_capsule(capsule: Capsule, step: str | None = None) -> Explanation:
    """Say why the run of a capsule, or one of its steps, stood where it stood; needs no server."""
    return explain_capsule(capsule, None if step is None else _number(capsule.run.id, capsule.plan, step))


@asynccontextmanager
async def _snapshot(engine: Engine) -> AsyncIterator[Connection]:
    async with engine.database.transaction() as connection:
        await circumstances.snapshot(connection)
        yield connection


# -- one run ---------------------------------------------------------------------------------------------------


class _Asking:
    """One question, and the runs that have been asked about on the way."""

    def __init__(self, engine: Engine, connection: Connection) -> None:
        self._engine, self._connection = engine, connection
        self._asked: list[UUID] = []
        self._around: Surroundings | None = None

    async def why(self, run_id: UUID, step: str | None = None) -> Explanation:
        """Explain a run; one that waits for itself in the end is told so."""
        row = await circumstances.run(self._connection, run_id)
        if row is None:
            raise NotFound(f"there is no run {run_id}", hint="flowforge ps lists runs")
        if run_id in self._asked or len(self._asked) >= MAX_DEPTH:
            return _circle(row, self._asked)
        self._asked.append(run_id)
        plan = (await self._engine.plans.get(self._connection, row.version_id)).plan
        number = None if step is None else _number(run_id, plan, step)
        facts = await self._facts(row, plan, OF_FAILURES if number is not None else _types(row))
        self._asked.pop()
        return explain(facts, number)

    async def _facts(self, row: RunRow, plan: Plan, types: Sequence[EventType]) -> RunFacts:
        connection = self._connection
        pending = row.status is RunStatus.PENDING
        steps = {} if pending else await circumstances.states(connection, row.id)
        around = await self._surroundings(row.now, plan, steps)
        events = await circumstances.told(connection, row.id, types)
        cancelled = row.status is RunStatus.CANCELLED and any(_by_engine(event.data) for event in events)
        return RunFacts(
            row.id,
            row.workflow,
            row.version,
            plan,
            row.status,
            row.created_at,
            around,
            row.started_at,
            row.finished_at,
            row.deadline_at,
            row.error,
            steps,
            await circumstances.kept(connection, row.id) if steps and not row.status.final else {},
            (await signals.of_runs(connection, [row.id]))[row.id] if plan.listens else (),
            events,
            gate=await self._gate(row) if pending else None,
            unpublished=await self._unpublished(row, plan, steps),
            children=await self._children(row, plan, steps) if plan.nests else {},
            parent=await self.why(row.parent) if cancelled and row.parent is not None else None,
        )

    async def _surroundings(self, now: datetime, plan: Plan, steps: Mapping[int, StepState]) -> Surroundings:
        """Return what is around a run; what all runs share is read once."""
        queued = {plan.steps[no].lane for no, state in steps.items() if state.status is StepStatus.QUEUED}
        if self._around is None:
            self._around = await surroundings(self._engine, self._connection, now, busy=bool(queued))
        elif queued and not any(worker.busy for worker in self._around.workers):
            self._around = await with_busy(self._engine, self._connection, self._around)
        lanes = self._around.lanes
        unknown = [lane for lane in queued if lane not in lanes or lanes[lane].waiting is None]
        if unknown and self._around.streams_down is None:
            self._around = await with_streams(self._engine, self._around, unknown)
        return self._around

    async def _gate(self, row: RunRow) -> Any:
        gate = await circumstances.gate(self._connection, row)
        if gate is None or gate.active < gate.limit or not gate.holders:
            return gate
        return replace(gate, oldest=await self.why(gate.holders[0][0]))

    async def _unpublished(self, row: RunRow, plan: Plan, steps: Mapping[int, StepState]) -> frozenset[int]:
        lanes = {plan.steps[no].lane for no, state in steps.items() if state.status is StepStatus.QUEUED}
        return await circumstances.unpublished(self._connection, row.id, sorted(lanes)) if lanes else frozenset()

    async def _children(self, row: RunRow, plan: Plan, steps: Mapping[int, StepState]) -> dict[int, Explanation]:
        """Explain the runs that its steps wait for, or failed with."""
        wanted = {StepStatus.FAILED} if row.status.final else {StepStatus.WAITING}
        # A step that has looked whether its run has ended stands still where it is in a paused run.
        wanted |= {StepStatus.QUEUED} if row.status is RunStatus.PAUSED else set()
        numbers = [no for no, state in steps.items() if state.status in wanted and plan.steps[no].type == "workflow"]
        found = await circumstances.children(self._connection, row.id, numbers, MAX_CHILDREN)
        return {no: await self.why(run_id) for no, run_id in found.items()}


def _types(row: RunRow) -> Sequence[EventType]:
    """Return which events say something about a run."""
    if row.status is not RunStatus.FAILED:
        return OF_RUN
    late = _code(row.error) == TIMEOUT or _code(((row.error or {}).get("details") or {}).get("cause")) == TIMEOUT
    return OF_TIMEOUT if late else OF_FAILURES


def _code(error: Any) -> Any:
    return error.get("code") if isinstance(error, dict) else None


def _by_engine(data: Mapping[str, Any]) -> bool:
    return data.get("actor") == ENGINE


def _number(run_id: UUID, plan: Plan, step: str) -> int:
    number = plan.find(step)
    if number is None:
        known = [one.id for one in plan.steps]
        meant = closest(step, known)
        hint = f"did you mean '{meant}'?" if meant else f"it has: {', '.join(known[:20])}"
        raise NotFound(f"run {run_id} has no step '{step}'", hint=hint)
    return number


def _circle(row: RunRow, asked: Sequence[UUID]) -> Explanation:
    """Say that a run waits for itself, or is too far away to be asked about on the way."""
    subject = Subject("run", str(row.id))
    if row.id in asked:
        text = f"run {row.id} is waited for above, and waits for that in turn: neither can go on"
        how = command("cancel", str(row.id))
        cause = Cause(CauseKind.DEADLOCK, subject, text, Weight.HELD, command=how)
    else:
        text, how = f"run {row.id} is {row.status.value}", command("explain", str(row.id))
        cause = Cause(CauseKind.WAITING, subject, text, Weight.WAITS, command=how)
    return Explanation(row.now, (cause,), row.id, row.workflow, row.version, row.status.value)


# -- what is around --------------------------------------------------------------------------------------------


async def surroundings(engine: Engine, connection: Connection, now: datetime, *, busy: bool) -> Surroundings:
    """Read what all runs share; the streams are not asked yet."""
    workers = await circumstances.present(connection)
    around = Surroundings(now, workers, await pauses.present(connection), await circumstances.lanes(connection))
    return await with_busy(engine, connection, around) if busy else around


async def with_busy(engine: Engine, connection: Connection, around: Surroundings) -> Surroundings:
    """Return surroundings with what workers do."""
    taken = []
    for row in await circumstances.busy(connection):
        step = (await engine.plans.get(connection, row.version_id)).plan.steps[row.step_no]
        what = Busy(row.workflow, step.name_in_context, row.many, row.since, row.run, step.type == "python")
        taken.append((row.worker, what))
    return replace(around, workers=circumstances.occupied(around.workers, taken))


# -- the installation ------------------------------------------------------------------------------------------


async def _installation(engine: Engine) -> Explanation:
    async with _snapshot(engine) as connection:
        around, steps, active = await in_sets(engine, connection)
        facts = Standstill(
            around,
            steps,
            await standstill.gates(connection),
            await standstill.runs(connection),
            active,
            await standstill.incidents(connection),
        )
    lanes = {one.lane for one in facts.steps} | set(around.lanes) | {"default"}
    around = await with_streams(engine, around, lanes)
    letters = await _dead_letters(engine, around, lanes)
    return explain_all(replace(facts, around=around, dead_letters=letters))


async def in_sets(engine: Engine, connection: Connection) -> tuple[Surroundings, list[StepGroup], int]:
    """Return what is around, with what workers do; the open steps of runs that are not held; how many runs are open."""
    active, now = await standstill.active(connection)
    around = await surroundings(engine, connection, now, busy=False)
    taken: list[tuple[str, Busy]] = []
    groups: list[StepGroup] = []
    gone = {worker.id for worker in around.workers if worker.status in ("lost", "stopped")}
    for row in await standstill.steps(connection):
        step = (await engine.plans.get(connection, row.version_id)).plan.steps[row.step_no]
        if row.worker is not None and row.since is not None:
            python = step.type == "python"
            taken.append((row.worker, Busy(row.workflow, step.name_in_context, row.many, row.since, row.run, python)))
        if not row.paused:
            groups.append(_group(row, step, lost=row.worker in gone))
    return replace(around, workers=circumstances.occupied(around.workers, taken)), _joined(groups), active


def _group(row: standstill.StepRow, step: StepPlan, *, lost: bool) -> StepGroup:
    where = (row.workflow, step.name_in_context, step.type, step.queue, step.lane, row.status)
    return StepGroup(*where, row.many, row.since, row.due, row.run, row.code, row.label, row.over, lost)


def _joined(groups: Iterable[StepGroup]) -> list[StepGroup]:
    """Join what differs in the number of the item or the version only."""
    joined: dict[tuple[Any, ...], StepGroup] = {}
    for one in groups:
        key = (one.workflow, one.step, one.queue, one.status, one.code, one.label, one.over, one.lost)
        known = joined.get(key)
        joined[key] = (
            one
            if known is None
            else replace(
                known,
                count=known.count + one.count,
                since=_first(known.since, one.since),
                due=_first(known.due, one.due),
            )
        )
    return list(joined.values())


def _first(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)


async def _dead_letters(engine: Engine, around: Surroundings, lanes: Iterable[str]) -> dict[str, int]:
    if around.streams_down is not None:
        return {}
    try:
        return await dead_letters(engine, lanes)
    except StreamError:
        return {}
