"""Rehearsals: a replay that does nothing.

The decisions are the engine's own, on a run that exists only here. Steps that only compute are computed; what a step
with an effect came to is taken from the run that is replayed; what was never recorded is unknown, and completes with
null, so that what follows from it can be seen. To expressions it is the run itself that happens again: its id and its
time are theirs, so that nothing differs but for a reason.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flowforge.client.stage import Played, Scene, Stage
from flowforge.engine.plans import PlannedVersion
from flowforge.model.comparing import aligned
from flowforge.model.documents import Rehearsal, Rehearsed, Run, Step
from flowforge.model.facts import Fact, Recorded
from flowforge.model.json import decode
from flowforge.model.outcome import Completed, Failed, StepError
from flowforge.model.plan import StepPlan
from flowforge.model.state import StepState
from flowforge.model.status import StepStatus

#: Types that only compute, or wait for a time.
COMPUTED = frozenset({"conditional", "delay", "foreach", "parallel", "transform"})


def rehearse(run: Run, version: PlannedVersion, value: Any, taken: Recorded | None = None) -> Rehearsal:
    """Replay a run with an input, on a version; return what it would come to, beside what the run had come to.

    What is *taken* from the run is not even computed.
    """
    scene = Scene(run.id, version, value, run.created_at, "replay", taken)
    stage = Stage(scene, Recordings(run))
    stage.play()
    steps = tuple(
        _beside(name, before, after, stage.sources.get(name))
        for name, before, after in aligned(run.steps or (), _steps(stage).values())
    )
    return Rehearsal(
        run.id,
        stage.plan.name,
        version.version,
        run.status.value,
        stage.state.status.value,
        steps,
        run.output,
        None if stage.state.output is None else decode(stage.state.output),
        stage.state.error,
    )


def _steps(stage: Stage) -> dict[str, Step]:
    """Return what the steps came to, by id; what undoes others is not among them."""
    found: dict[str, Step] = {}
    for no in stage.numbers():
        step = stage.plan.steps[no]
        if step.compensates is None:
            found[step.id] = Step(step.id, step.name, step.type, stage.status(no), output=stage.output(no))
    return found


def _beside(name: str, before: Step | None, after: Step | None, source: str | None) -> Rehearsed:
    return Rehearsed(
        name,
        None if before is None else before.status.value,
        None if after is None else after.status.value,
        source or "none",
        None if before is None else before.output,
        None if after is None else after.output,
        (before or after or _NOBODY).type,
    )


_NOBODY = Step("", "", "", StepStatus.PENDING)


class Recordings:
    """Plays what a run has recorded."""

    def __init__(self, run: Run) -> None:
        self._recorded = {step.id: step for step in (*(run.steps or ()), *run.compensation.steps)}

    def play(self, stage: Stage, step: StepPlan, state: StepState) -> Played:  # noqa: ARG002 - asked of every cast
        """Return what the step came to in the run, or let it be computed."""
        if step.type in COMPUTED:
            return Played(None, "computed")
        known = self._recorded.get(step.id)
        return recorded(known, step, state) or Played(Completed(None), "unknown")

    def answer(self, stage: Stage, step: StepPlan, state: StepState) -> Fact | None:  # noqa: ARG002
        """Nothing comes from outside: what came is part of what was recorded."""
        return None


def recorded(known: Step | None, step: StepPlan, state: StepState) -> Played | None:
    """Return what a step came to in a run, None where it came to nothing.

    One that failed fails as often as it did, so that its error is the same; no more often, whatever its policy is now.
    """
    if known is None:
        return None
    times = known.started_at, known.finished_at
    takes = None if times[0] is None or times[1] is None else times[1] - times[0]
    if known.status in (StepStatus.COMPLETED, StepStatus.COMPENSATED):
        outcome: Completed | Failed = Completed(known.output)
    elif known.status is StepStatus.FAILED and known.error is not None:
        error = StepError.from_document(known.error)
        more = state.attempt >= known.attempts and step.retry.allows(error, state.failures + 1)
        outcome = Failed(replace(error, retryable=False) if more else error)
    else:
        return None
    return Played(outcome, "recorded") if takes is None else Played(outcome, "recorded", takes)
