"""The workflow step: a run of its own, whose outcome is the step's.

A step starts at most one run for each attempt that can be charged to it: an attempt that is lost with its worker adopts
the run that it finds. The step holds no worker while the run is under way: whoever ends the run tells it (ledger.py),
and it looks by itself now and then, because whoever ended the run may have died before that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from flowforge.engine.engine import Engine
from flowforge.engine.entries import Consequences, Entry
from flowforge.engine.plans import PlannedVersion
from flowforge.engine.starting import Start
from flowforge.errors import Conflict, GateFull, InputError
from flowforge.model.facts import CancelRequested
from flowforge.model.inputs import validate
from flowforge.model.json import InvalidJson, decode, encode
from flowforge.model.outcome import Completed, Failed, Outcome, StepError, Waiting
from flowforge.steps import waiting
from flowforge.steps.base import Assignment, Report
from flowforge.steps.failures import ConfigError, rendered
from flowforge.store import children, workflows
from flowforge.store.database import Connection

#: Runs within runs.
MAX_DEPTH = 10
#: How long a step waits to be told before it looks by itself.
LOOK_AFTER = timedelta(minutes=2)


class Children:
    """Executes steps of type `workflow`; gives `{run_id, workflow, version, output}`."""

    def __init__(self, engine: Engine, tell: Callable[[Consequences], None]) -> None:
        self._engine = engine
        #: Told what has to happen outside Postgres after each commit.
        self._tell = tell

    async def run(self, assignment: Assignment, report: Report) -> Outcome:  # noqa: ARG002 - nothing to report
        """Start the run, or see what became of it."""
        known = waiting.waited(assignment)
        deadline = waiting.deadline(assignment, None, known)
        async with self._engine.database.connection() as connection:
            found = await children.newest(connection, assignment.run_id, assignment.step.no)
        if found is not None and (not found.status.final or found.status == "completed" or _mine(known, assignment)):
            return await self._outcome(assignment, found, waiting.text(deadline))
        try:
            return await self._start(assignment, known, waiting.text(deadline))
        except GateFull as error:
            return Failed(StepError("CHILD_GATE_FULL", error.message, kinds=("conflict",), hint=error.hint))
        except (InputError, InvalidJson) as error:
            return Failed(StepError("CHILD_INPUT", f"the child's input: {error}", retryable=False))

    async def close(self) -> None:
        """Do nothing: what it uses belongs to the worker."""

    async def _outcome(self, assignment: Assignment, found: children.Found, deadline: str | None) -> Outcome:
        """Say what became of a run that exists."""
        if not found.status.final:
            if waiting.over(assignment, waiting.deadline(assignment, None, {"deadline": deadline})):
                await self._cancel(found.id, assignment)
                return Failed(_late(assignment, found))
            return self._wait(assignment, found.id, f"{found.workflow}@{found.version}", deadline)
        if found.status == "completed":
            async with self._engine.database.connection() as connection:
                output = await children.output(connection, found.id)
            about = {"run_id": str(found.id), "workflow": found.workflow, "version": found.version}
            return Completed({**about, "output": output})
        return Failed(_failed(found))

    async def _start(self, assignment: Assignment, known: dict[str, Any], deadline: str | None) -> Outcome:
        config = rendered(assignment)
        parent = (assignment.run_id, assignment.step.no)
        async with self._engine.database.connection() as connection:
            depth = await children.depth(connection, assignment.run_id)
            if depth >= MAX_DEPTH:
                return Failed(_too_deep(depth))
            ordinal = await children.count(connection, *parent)
            version = await self._version(connection, known.get("version") or _target(config))
        text, value = _input(config, self._engine.settings.max_input_bytes, version)
        start = Start(
            version,
            text,
            value,
            trigger="workflow",
            idempotency_key=f"child:{assignment.run_id}:{assignment.step.id}:{ordinal}",
            labels=_labels(config),
            traceparent=assignment.traceparent,
            parent=parent,
        )
        try:
            (started,), consequences = await self._engine.starter.start([start])
        except Conflict as error:
            # The same attempt, begun twice, with another input: an expression that is not the same every time.
            return Failed(StepError("CHILD_INPUT", error.message, retryable=False, hint=error.hint))
        self._tell(consequences)
        return self._wait(assignment, started.id, f"{version.plan.name}@{version.version}", deadline)

    @staticmethod
    def _wait(assignment: Assignment, child: UUID, version: str, deadline: str | None) -> Waiting:
        kept = {"run": str(child), "attempt": assignment.attempt, "version": version, "deadline": deadline}
        limit = waiting.deadline(assignment, None, {"deadline": deadline})
        return Waiting(waiting.earliest(limit, assignment.claimed_at + LOOK_AFTER), kept)

    async def _version(self, connection: Connection, target: str) -> PlannedVersion:
        name, _, number = target.partition("@")
        if number and not number.isdigit():
            raise ConfigError(f"'{target}' is not name@version: '{number}' is not a number")
        finding = workflows.numbered(connection, name, int(number)) if number else workflows.latest(connection, name)
        found = await finding
        if found is None or found.status == "draft":
            raise ConfigError(
                f"there is no published workflow '{target}'", hint="flowforge workflow ls lists those there are"
            )
        return await self._engine.plans.get(connection, found.id)

    async def _cancel(self, run_id: UUID, assignment: Assignment) -> None:
        reason = f"step {assignment.step.id} of run {assignment.run_id} has waited long enough"
        _, consequences = await self._engine.ledger.apply([Entry(run_id, CancelRequested("flowforge", reason))])
        self._tell(consequences)


def _mine(known: dict[str, Any], assignment: Assignment) -> bool:
    """Say whether the run that is remembered is that of this attempt, and not of one that failed before."""
    return known.get("attempt") == assignment.attempt


def _target(config: Mapping[str, Any]) -> str:
    name, version = config.get("name"), config.get("version")
    if not isinstance(name, str):
        raise ConfigError("'name' must be the name of a workflow")
    if version is None:
        return name
    if "@" in name:
        raise ConfigError("'name' and 'version' both give a version")
    return f"{name}@{version}"


def _labels(config: Mapping[str, Any]) -> dict[str, str] | None:
    labels = config.get("labels") or {}
    return {str(key): str(value) for key, value in labels.items()} or None


def _input(config: Mapping[str, Any], max_bytes: int, version: PlannedVersion) -> tuple[str, Any]:
    value = {} if config.get("input") is None else config["input"]
    text = encode(value, max_bytes=max_bytes)
    if version.plan.input_schema is not None:
        validate(version.plan.input_schema, decode(text))
    return text, value


def _failed(found: children.Found) -> StepError:
    error = found.error or {}
    reason = f": {error['message']}" if "message" in error else ""
    return StepError(
        code="CHILD_FAILED" if found.status == "failed" else "CHILD_CANCELLED",
        message=f"run {found.id} of {found.workflow}@{found.version} {found.status.value}{reason}",
        retryable=False,
        hint=f"flowforge show {found.id}",
        details={"run_id": str(found.id), "error": found.error},
    )


def _late(assignment: Assignment, found: children.Found) -> StepError:
    return StepError(
        code="TIMEOUT",
        message=f"run {found.id} of {found.workflow}@{found.version} did not end within the timeout of the step",
        kinds=("timeout",),
        retryable=False,
        hint=f"it was cancelled; flowforge show {found.id}",
        details={"run_id": str(found.id), "step": assignment.step.id},
    )


def _too_deep(depth: int) -> StepError:
    return StepError(
        code="CHILD_TOO_DEEP",
        message=f"this run is {depth} runs deep already, the most there may be",
        retryable=False,
        hint="does a workflow start itself? give it a condition that ends",
    )
