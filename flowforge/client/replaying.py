"""Replays: the request of a new run that is like another one.

What comes before the step that is named is not executed again: what it came to is taken from the other run, step by
step, by id. A step that neither run nor version shares is executed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from flowforge.engine.engine import Engine
from flowforge.engine.plans import PlannedVersion
from flowforge.engine.starting import Start
from flowforge.errors import Conflict, FlowforgeError, InputError, NotFound, UsageError
from flowforge.model.capsule import Capsule
from flowforge.model.comparing import branches_of
from flowforge.model.documents import Run
from flowforge.model.facts import Recorded
from flowforge.model.inputs import validate
from flowforge.model.json import InvalidJson, encode
from flowforge.model.plan import Plan
from flowforge.model.state import StepState
from flowforge.model.status import StepStatus
from flowforge.store import steps, views, workflows
from flowforge.store.database import Connection


@dataclass(frozen=True, slots=True)
class Request:
    """A replay: the run that it is like, with what its steps came to, and the start of the new one."""

    run: Run
    start: Start


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be other than in the run that is replayed."""

    #: Id of the step to start from; what comes before it is taken from the run.
    from_step: str | None = None
    #: Values of the input, by dotted path.
    changes: Mapping[str, Any] = field(default_factory=dict)
    #: Number of another version of the workflow.
    version: int | None = None
    #: Who wants it, and why, for the history of the new run.
    actor: str | None = None
    reason: str | None = None


async def prepare(engine: Engine, connection: Connection, run_id: UUID, wanted: Wanted) -> Request:
    """Make the request; NotFound, UsageError and InputError say what is wrong with it."""
    (made,) = await prepare_many(engine, connection, [run_id], wanted)
    if isinstance(made, FlowforgeError):
        raise made
    return made


async def prepare_many(
    engine: Engine, connection: Connection, run_ids: Sequence[UUID], wanted: Wanted
) -> list[Request | FlowforgeError]:
    """Make the requests of many replays, read as a set; in place of one that cannot be made, what is wrong with it."""
    versions = [(run, await engine.plans.get(connection, no)) for run, no in await views.runs(connection, run_ids)]
    found = await views.with_steps(connection, [(run, planned.plan) for run, planned in versions])
    plans = {run.id: planned for run, planned in versions}
    runs = {run.id: run for run in found}
    rows: dict[UUID, dict[int, StepState]] = {run_id: {} for run_id in run_ids}
    if wanted.from_step is not None:
        for row in await steps.select_whole(connection, list(runs)):
            rows[row[0]][row[1]] = steps.state(row[1:])
    made: list[Request | FlowforgeError] = []
    for run_id in run_ids:
        try:
            if run_id not in runs:
                raise NotFound(f"there is no run {run_id}", hint="flowforge ps lists runs")
            known = (runs[run_id], plans[run_id], rows[run_id])
            made.append(await _request(engine, connection, known, wanted))
        except FlowforgeError as error:
            made.append(error)
    return made


async def prepare_foreign(engine: Engine, connection: Connection, capsule: Capsule, wanted: Wanted) -> Request:
    """Make the request of a rehearsal of another installation's run; another version is one of this installation."""
    run, plan = capsule.run, capsule.plan
    branches = branches_of(capsule)
    rows = {
        number: StepState(number, step.status, attempt=step.attempts, label=branches.get(step.id), error=step.error)
        for step in run.steps or ()
        if (number := plan.find(step.id)) is not None
    }
    return await _request(engine, connection, (run, PlannedVersion(0, 0, run.version, plan), rows), wanted)


async def _request(
    engine: Engine,
    connection: Connection,
    known: tuple[Run, PlannedVersion, Mapping[int, StepState]],
    wanted: Wanted,
) -> Request:
    run, planned, rows = known
    other = wanted.version is not None
    version = await version_of(engine, connection, run, wanted.version or 0) if other else planned
    value = changed(run.input, wanted.changes)
    text = _checked(value, version.plan, engine.settings.max_input_bytes)
    recorded = None
    if wanted.from_step is not None:
        recorded = _recorded(run, planned.plan, version.plan, rows, wanted.from_step)
    labels = dict(run.labels) or None
    start = Start(version, text, value, "replay", labels=labels, replay_of=run.id, recorded=recorded)
    start.actor, start.reason = wanted.actor, wanted.reason
    return Request(run, start)


async def version_of(engine: Engine, connection: Connection, run: Run, number: int) -> PlannedVersion:
    """Return another version of a run's workflow that was published."""
    found = await workflows.numbered(connection, run.workflow, number)
    if found is None:
        known = await workflows.versions(connection, run.workflow)
        listed = ", ".join(str(one.version) for one in known[:10])
        raise NotFound(f"workflow '{run.workflow}' has no version {number}", hint=f"it has: {listed}")
    if found.status == "draft":
        raise Conflict(f"version {number} of '{run.workflow}' is a draft; only published ones start")
    return await engine.plans.get(connection, found.id)


def changed(value: Any, changes: Mapping[str, Any]) -> Any:
    """Return an input with some of it changed, by dotted path: `customer.id`, with or without `input.` before it."""
    value = copy.deepcopy(value)
    for path, new in changes.items():
        names = path.removeprefix("input.").split(".")
        value = _set(value, names, new, path)
    return value


def _set(value: Any, names: list[str], new: Any, path: str) -> Any:
    if not names:
        return new
    first, *rest = names
    if isinstance(value, dict):
        value[first] = _set(value.get(first, {}), rest, new, path)
        return value
    if isinstance(value, list) and first.isdigit() and int(first) < len(value):
        value[int(first)] = _set(value[int(first)], rest, new, path)
        return value
    raise UsageError(f"'{path}' is not in the input: there is no '{first}' in {encode(value)[:60]}")


def _checked(value: Any, plan: Plan, max_bytes: int) -> str:
    try:
        text = encode(value, max_bytes=max_bytes)
    except InvalidJson as error:
        raise InputError(f"the input {error}") from None
    if plan.input_schema is not None:
        validate(plan.input_schema, value)
    return text


def _recorded(run: Run, old: Plan, new: Plan, rows: Mapping[int, StepState], from_step: str) -> Recorded:
    """Return what comes before a step: all that was done and does not follow from it."""
    first = new.find(from_step)
    if first is None or first >= len(new.steps):
        known = ", ".join(step.id for step in list(new.steps)[:20])
        raise NotFound(f"workflow '{new.name}' has no step '{from_step}'", hint=f"it has: {known}")
    behind = _behind(new, first)
    outputs = {step.id: step.output for step in run.steps or ()}
    kept: list[StepState] = []
    for step in new.steps:
        number = old.find(step.id)
        row = None if number is None else rows.get(number)
        if step.no in behind or row is None or not row.status.done:
            continue
        text = encode(outputs.get(step.id)) if row.status is not StepStatus.SKIPPED else None
        status = StepStatus.COMPLETED if row.status is StepStatus.COMPENSATED else row.status
        kept.append(
            StepState(step.no, status, label=row.label if step.branches else None, error=row.error, output=text)
        )
    return Recorded(tuple(kept))


def _behind(plan: Plan, first: int) -> set[int]:
    """Return a step with its children and all that follows from them, and the parallel steps around it."""
    found: set[int] = set()
    waiting = [(first, True)]
    while waiting:
        no, inside = waiting.pop()
        if no in found:
            continue
        found.add(no)
        step = plan.steps[no]
        waiting += [(edge.step, True) for edge in step.successors]
        waiting += [(child, True) for child in step.children if inside]
        if step.parent is not None:
            waiting.append((step.parent, False))
    return found
