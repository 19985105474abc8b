"""Simulations: what a definition would do, on a virtual clock, with nothing executed, sent or stored.

Needs no server. What steps with an effect come to, which attempts fail, who approves and which signals come is said in
a script.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from flowforge.client import publishing
from flowforge.client.script import Script, Troupe
from flowforge.client.stage import Scene, Stage
from flowforge.engine.plans import PlannedVersion
from flowforge.errors import InputError
from flowforge.model.inputs import validate
from flowforge.model.json import InvalidJson, decode, encode
from flowforge.model.plan import Plan
from flowforge.model.simulation import SimulatedAttempt, SimulatedStep, Simulation
from flowforge.model.status import StepStatus

_RUN = UUID(int=0)


def simulate(
    source: str | Path | Mapping[str, Any],
    value: object = None,
    script: Script | None = None,
    *,
    at: datetime | None = None,
    **said: Any,
) -> Simulation:
    """Play a definition (path, mapping or Workflow) with an input; what is not said is assumed to work.

    What is said is a script, or its parts by name: `stubs={"ship": {...}}`, `failures={"charge": 2}`,
    `takes={"ship": timedelta(hours=2)}`, `decisions={"release": True}`, `signals=[("paid", {...})]`.
    """
    version = PlannedVersion(0, 0, 0, publishing.loaded(source).plan)
    return play(version, value, script or Script.of(**said), at or datetime.now(UTC))


def play(version: PlannedVersion, value: object, script: Script, at: datetime) -> Simulation:
    """Play a version; raises InputError for an input that it refuses, UsageError for a script it has no use for."""
    plan = version.plan
    script.check(plan)
    given = _checked(plan, {} if value is None else value)
    troupe = Troupe(script)
    stage = Stage(Scene(_RUN, version, given, at, "simulation"), troupe)
    stage.play()
    return Simulation(
        plan.name,
        version.version or None,
        stage.state.status,
        given,
        None if stage.state.output is None else decode(stage.state.output),
        stage.state.error,
        at,
        stage.now - at,
        tuple(_steps(stage, troupe)),
        tuple(stage.events),
        _waits(stage),
    )


def _checked(plan: Plan, value: object) -> Any:
    try:
        given = decode(encode(value))
    except InvalidJson as error:
        raise InputError(f"the input {error}") from None
    if plan.input_schema is not None:
        validate(plan.input_schema, given)
    return given


def _steps(stage: Stage, troupe: Troupe) -> list[SimulatedStep]:
    attempts: dict[str, list[SimulatedAttempt]] = {}
    for span in stage.spans:
        since, until = span.started_at - stage.scene.created_at, span.finished_at or stage.now
        one = SimulatedAttempt(span.attempt, since, until - stage.scene.created_at, span.outcome)
        attempts.setdefault(span.step, []).append(one)
    found = []
    for no in stage.numbers():
        step, state = stage.plan.steps[no], stage.state.steps.get(no)
        if step.compensates is not None and step.id not in attempts:
            continue
        status, error = stage.status(no), None if state is None else state.error
        found.append(
            SimulatedStep(
                step.id,
                step.name,
                step.type,
                status,
                stage.sources.get(step.id),
                tuple(attempts.get(step.id, ())),
                stage.output(no),
                None if status is StepStatus.COMPLETED else error,
                troupe.configs.get(no),
                tuple(troupe.notes.get(no, ())),
            )
        )
    return found


def _waits(stage: Stage) -> dict[str, str]:
    """Return what keeps a run from ending."""
    if stage.state.status.final:
        return {}
    found = {}
    for no, state in sorted(stage.state.steps.items()):
        step = stage.plan.steps[no]
        if state.status is not StepStatus.WAITING or step.body is not None:
            continue
        what = {"approval": f"a decision: --approve {step.id}", "wait_signal": f"a signal: --signal {state.label}=JSON"}
        found[step.id] = what.get(step.type, "something from outside")
    return found
