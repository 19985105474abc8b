"""Capsules of runs that only happened on the bench of the decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from flowforge.model.capsule import Capsule
from flowforge.model.documents import Run, RunEvent
from flowforge.model.past import rebuilt
from flowforge.model.plan import Plan
from flowforge.model.status import RunStatus
from tests.unit.decisions.bench import Bench


def capsule(
    bench: Bench,
    *,
    outputs: dict[str, Any] | None = None,
    run_id: int = 1,
    input: Any = None,  # noqa: A002 - the word of the whole product
    **changes: Any,
) -> Capsule:
    """Return the run of a bench as a capsule; *outputs* are those of its steps."""
    run_uuid = UUID(int=run_id)
    events = tuple(
        RunEvent(run_uuid, no, one.type.value, one.at, one.step, one.attempt, one.data or {})
        for no, one in enumerate(bench.events, 1)
    )
    bare = Run(run_uuid, "test-workflow", 1, RunStatus.PENDING, input, None, None, "test", events[0].at)
    steps = rebuilt(bare, bench.plan, events).steps or ()
    known = replace(bare, steps=tuple(replace(step, output=(outputs or {}).get(step.id)) for step in steps))
    run = rebuilt(known, bench.plan, events)
    return replace(
        Capsule(run, events, definition_of(bench.plan), exported_at=bench.now, compiled=bench.plan), **changes
    )


def definition_of(plan: Plan) -> dict[str, Any]:
    """Return a definition with steps like a plan's, good enough to be opened again."""
    steps = [
        {
            "id": step.id,
            "type": "transform",
            "depends_on": [plan.steps[edge.step].id for edge in step.dependencies],
            "config": {"expression": "1"},
        }
        for step in plan.steps
    ]
    return {"name": plan.name, "concurrency": "unlimited", "steps": steps}
