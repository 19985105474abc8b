"""Why a run stood where it stood, or ended as it did, from its capsule alone.

The history and the steps are in the file; what workers, queues and gates were at is not, and is not guessed: what
would depend on it is said to be unknown. Pure: the clock is that of the export.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flowforge.model.capsule import Capsule
from flowforge.model.circumstances import OF_TIMEOUT, RunFacts, Surroundings, Told
from flowforge.model.documents import RunEvent, Step
from flowforge.model.event import EventType
from flowforge.model.explaining import explain
from flowforge.model.explanation import Explanation
from flowforge.model.state import Signal, StepState
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.timeline import LOST
from flowforge.model.waiting import APPROVAL, ASKED

_FAILED = frozenset({EventType.STEP_RETRYING, EventType.STEP_FAILED})
#: What makes the count of failures begin anew.
_ANEW = frozenset({EventType.STEP_WOKEN, EventType.STEP_COMPLETED})


def explain_capsule(capsule: Capsule, step: int | None = None) -> Explanation:
    """Say why the run of a capsule did not move when it was exported, or has ended as it has."""
    return replace(explain(_facts(capsule), step), foreign=True)


def _facts(capsule: Capsule) -> RunFacts:
    run, plan = capsule.run, capsule.plan
    found = [
        (number, one)
        for one in (*(run.steps or ()), *run.compensation.steps)
        if (number := plan.find(one.id)) is not None
    ]
    failures, branches = _failures(capsule.events), _branches(capsule.events)
    stops = run.status is RunStatus.CANCELLING
    return RunFacts(
        *(run.id, run.workflow, run.version, plan, run.status, run.created_at),
        Surroundings(capsule.exported_at, known=False),
        *(run.started_at, run.finished_at, run.deadline_at, run.error),
        steps={
            number: _state(number, one, failures.get(one.id, 0), branches.get(one.id), stops=stops)
            for number, one in found
        },
        kept={number: (one.waits_for or {}).get("approval") for number, one in found},
        signals=_decisions(capsule),
        events=[_told(event) for event in capsule.events if event.type in OF_TIMEOUT],
        children=_children(capsule),
    )


def _state(number: int, step: Step, failures: int, branch: str | None, *, stops: bool) -> StepState:
    waits_for = step.waits_for or {}
    return StepState(
        number,
        step.status,
        open_dependencies=waits_for.get("missing", waits_for.get("open", 0)),
        attempt=step.attempts,
        failures=failures,
        crashes=step.crashes,
        worker=step.worker,
        due_at=step.due_at,
        queued_at=step.queued_at,
        started_at=step.started_at,
        finished_at=step.finished_at,
        cancel_requested=stops and step.status is StepStatus.RUNNING,
        label=branch or _label(waits_for),
        error=step.error,
    )


def _label(waits_for: Mapping[str, Any]) -> str | None:
    if "approval" in waits_for:
        return ASKED
    waited = waits_for.get("signal", waits_for.get("items"))
    return None if waited is None else str(waited)


def _failures(events: Sequence[RunEvent]) -> dict[str, int]:
    """Return how many failures were charged to each step's retry policy since it last began anew."""
    counts: dict[str, int] = {}
    for event in events:
        if event.type == EventType.RUN_RETRIED:
            for step in event.data.get("steps", ()):
                counts.pop(step, None)
        if event.step is None:
            continue
        if event.type in _ANEW:
            counts.pop(event.step, None)
        elif event.type in _FAILED and (event.data.get("error") or {}).get("code") not in LOST:
            counts[event.step] = counts.get(event.step, 0) + 1
    return counts


def _branches(events: Sequence[RunEvent]) -> dict[str, str]:
    """Return the branch that each conditional took last."""
    return {event.step: event.data["branch"] for event in events if event.step and event.data.get("branch")}


def _decisions(capsule: Capsule) -> list[Signal]:
    """Return who has approved what still waits for others."""
    since: dict[str, int] = {}
    found: list[Signal] = []
    for event in capsule.events:
        if event.step is None:
            continue
        if event.type == EventType.STEP_WAITING:
            since[event.step] = event.seq
        number = capsule.plan.find(event.step)
        if event.type == EventType.STEP_DECIDED and event.data.get("approved") and number is not None:
            found.append(Signal(event.seq, APPROVAL, event.step, str(event.data.get("actor")), event.at, number))
    return [one for one in found if one.no > since.get(one.name, 0)]


def _told(event: RunEvent) -> Told:
    return Told(event.seq, event.type, event.at, event.step, event.attempt, event.data)


def _children(capsule: Capsule) -> dict[int, Explanation]:
    """Explain the runs that lie in the capsule and that its steps wait for, or failed with; the newest of each step."""
    wanted = StepStatus.FAILED if capsule.run.status.final else StepStatus.WAITING
    stands = {one.id: one.status for one in capsule.run.steps or ()}
    found: dict[int, Capsule] = {}
    for child in capsule.children:
        _, step = child.run.parent or (None, None)
        number = None if step is None else capsule.plan.find(step)
        if step is None or number is None or stands.get(step) is not wanted:
            continue
        if number not in found or found[number].run.id < child.run.id:
            found[number] = child
    return {number: explain_capsule(child) for number, child in found.items()}
