"""In what two runs differ, and where that begins.

Substance is what a run was told, did and came to: definition, input, statuses, branches, attempts, outputs, errors.
How long it took is told beside that and is no difference. Ids, workers and times are a run's own and never compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flowforge.model.capsule import Capsule
from flowforge.model.changes import Change, changes
from flowforge.model.documents import Run, Step
from flowforge.model.event import EventType
from flowforge.model.phase import Kind, Phases, totals
from flowforge.model.plan import Plan

#: What of an error says what went wrong.
_ERROR = ("code", "message", "step")
Parts = Mapping[Kind, timedelta]
Branches = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class StepDifference:
    """One step in two runs; None where a run does not have it."""

    id: str
    before: Step | None
    after: Step | None
    #: In what they differ: missing, status, branch, attempts, output, error.
    differs: tuple[str, ...]
    outputs: tuple[Change, ...] = ()
    branches: tuple[str | None, str | None] = (None, None)
    #: What its time went into.
    times: tuple[Parts, Parts] = ({}, {})

    @property
    def same(self) -> bool:
        """Whether the step came to the same in the same way."""
        return not self.differs

    def document(self) -> dict[str, Any]:
        """Return the element of a diff document's `steps`."""
        before, after = self.before, self.after
        return {
            "id": self.id,
            "same": self.same,
            "differs": list(self.differs),
            "status": _pair(before and before.status.value, after and after.status.value),
            "branch": _pair(*self.branches),
            "attempts": _pair(before and before.attempts, after and after.attempts),
            "output": {"same": not self.outputs, "changes": [one.document() for one in self.outputs]},
            "error": _pair(before and before.error, after and after.error),
            "seconds": _pair(*map(_seconds, self.times)),
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Two runs beside each other."""

    before: Run
    after: Run
    definition: tuple[Change, ...]
    input: tuple[Change, ...]
    output: tuple[Change, ...]
    #: Every step that one of them has; in the order of the first, with what only the second has behind.
    steps: tuple[StepDifference, ...]
    #: The step where they part: of those that differ, one that no other comes before.
    first: StepDifference | None
    ledgers: tuple[Phases, Phases]

    @property
    def differs(self) -> tuple[str, ...]:
        """In what the runs as a whole differ: workflow, definition, input, status, steps, output, error."""
        before, after = self.before, self.after
        found = {
            "workflow": before.workflow != after.workflow,
            "definition": bool(self.definition),
            "input": bool(self.input),
            "status": before.status is not after.status,
            "steps": any(not step.same for step in self.steps),
            "output": bool(self.output),
            "error": _told(before.error) != _told(after.error),
        }
        return tuple(name for name, differs in found.items() if differs)

    @property
    def same(self) -> bool:
        """Whether they differ in nothing but time."""
        return not self.differs

    def document(self) -> dict[str, Any]:
        """Return the document, `flowforge/diff/v1`."""
        return {
            "schema": "flowforge/diff/v1",
            "same": self.same,
            "differs": list(self.differs),
            "before": _side(self.before, self.ledgers[0]),
            "after": _side(self.after, self.ledgers[1]),
            "first": None if self.first is None else {"step": self.first.id, "differs": list(self.first.differs)},
            "definition": _changed(self.definition),
            "input": _changed(self.input),
            "output": _changed(self.output),
            "error": _pair(self.before.error, self.after.error),
            "steps": [step.document() for step in self.steps],
        }


def compare(before: Capsule, after: Capsule) -> Difference:
    """Put two runs beside each other."""
    ledgers = before.phases(), after.phases()
    branches = branches_of(before), branches_of(after)
    steps = tuple(
        _step(name, one, two, (branches[0].get(name), branches[1].get(name)), _times(ledgers, name))
        for name, one, two in aligned(_every(before.run), _every(after.run))
    )
    differing = [step for step in steps if not step.same]
    return Difference(
        before.run,
        after.run,
        tuple(changes(before.definition, after.definition)),
        tuple(changes(before.run.input, after.run.input)),
        tuple(changes(before.run.output, after.run.output)),
        steps,
        min(differing, key=lambda step: _place(before.plan, after.plan, step.id), default=None),
        ledgers,
    )


def aligned(before: Iterable[Step], after: Iterable[Step]) -> list[tuple[str, Step | None, Step | None]]:
    """Return the steps of two runs side by side, by id; what only the second has comes last."""
    one, two = ({step.id: step for step in steps} for steps in (before, after))
    return [(name, one.get(name), two.get(name)) for name in dict.fromkeys((*one, *two))]


def _every(run: Run) -> tuple[Step, ...]:
    return (*(run.steps or ()), *run.compensation.steps)


def _step(
    name: str,
    before: Step | None,
    after: Step | None,
    branches: tuple[str | None, str | None],
    times: tuple[Parts, Parts],
) -> StepDifference:
    if before is None or after is None:
        return StepDifference(name, before, after, ("missing",), branches=branches, times=times)
    outputs = tuple(changes(before.output, after.output))
    found = {
        "status": before.status is not after.status,
        "branch": branches[0] != branches[1],
        "attempts": before.attempts != after.attempts,
        "output": bool(outputs),
        "error": _told(before.error) != _told(after.error),
    }
    differs = tuple(what for what, is_so in found.items() if is_so)
    return StepDifference(name, before, after, differs, outputs, branches, times)


def _told(error: dict[str, Any] | None) -> tuple[Any, ...] | None:
    return None if error is None else tuple(error.get(name) for name in _ERROR)


def branches_of(capsule: Capsule) -> dict[str, str | None]:
    """Return the branch that each conditional took last."""
    done = (event for event in capsule.events if event.type == EventType.STEP_COMPLETED)
    return {event.step: event.data["branch"] for event in done if event.step is not None and "branch" in event.data}


def _times(ledgers: tuple[Phases, Phases], name: str) -> tuple[Parts, Parts]:
    return totals(ledgers[0].steps.get(name, ())), totals(ledgers[1].steps.get(name, ()))


def _place(before: Plan, after: Plan, name: str) -> tuple[int, int, int]:
    """Return where in the graph a step is; what comes before it has a smaller place, what undoes others a large one."""
    for plan in (before, after):
        number = plan.find(name)
        if number is None:
            continue
        step = plan.steps[number]
        if step.compensates is not None:
            return (1, step.no, 0)
        around = step if step.foreach is None else plan.steps[step.foreach]
        return (0, around.rank, -1 if step.foreach is not None else step.no)
    return (2, 0, 0)


def _seconds(parts: Parts) -> dict[str, float]:
    return {kind.value: took.total_seconds() for kind, took in parts.items()}


def _side(run: Run, ledger: Phases) -> dict[str, Any]:
    return {
        "run": str(run.id),
        "workflow": run.workflow,
        "version": run.version,
        "status": run.status.value,
        "seconds": ledger.wall.total_seconds(),
        "parts": _seconds(ledger.parts),
    }


def _changed(found: tuple[Change, ...]) -> dict[str, Any]:
    return {"same": not found, "changes": [one.document() for one in found]}


def _pair(before: Any, after: Any) -> dict[str, Any]:
    return {"before": before, "after": after}
